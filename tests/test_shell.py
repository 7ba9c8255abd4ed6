# SPDX-License-Identifier: Apache-2.0
"""Small parts of the shell: systemd's socket, the log's two shapes, sleep."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from vici_mif.shell.clock import Sleep
from vici_mif.shell.log import Log
from vici_mif.shell.notify import notify


@pytest.mark.parametrize("address", ["@vici-mif-test", "path"])
def test_systemd_hears_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str) -> None:
    """Both kinds of NOTIFY_SOCKET: a file and an abstract name."""
    name = address.replace("@", "\0") if address.startswith("@") else str(tmp_path / address)
    monkeypatch.setenv("NOTIFY_SOCKET", address if address.startswith("@") else name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        systemd.settimeout(2)
        notify("READY=1")

        assert systemd.recv(100) == b"READY=1"


def test_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket, or one that nobody has: nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    notify("READY=1")


def test_log_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time, the level where it matters, and details only when they were asked for."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    Log(verbose=False).say("hq: up")
    Log(verbose=False).say("hq: down\nfor a reason", "warning")
    Log(verbose=False).say("detail", "debug")

    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", line) for line in lines] == [
        "hq: up",
        "warning: hq: down",
        "warning: for a reason",
    ]


def test_log_for_the_journal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The journal adds the time and reads the priority."""
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    Log(verbose=True).say("hq: down", "warning")
    Log(verbose=True).say("detail", "debug")

    assert capsys.readouterr().err == "<4>hq: down\n<7>detail\n"


def test_sleep() -> None:
    """An hour in which only the boot clock went on is noticed once; a jitter is not."""
    ahead = iter([5.0, 5.2, 3605.0, 3605.0])
    sleep = Sleep(lambda: next(ahead))

    assert [sleep.noticed(), sleep.noticed(), sleep.noticed()] == [None, 3599.8, None]
