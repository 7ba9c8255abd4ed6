# SPDX-License-Identifier: Apache-2.0
"""The lab's command line: what it says when it cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vici_mif.lab.cli import ENTRIES, FAILED, NOT_PERMITTED, main

root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: without it every answer is 77"
)


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    status = main(["lab", *argv])
    return status, capsys.readouterr().err


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_every_command_has_help(entry: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lab", entry.name, "--help"])  # type: ignore[attr-defined]
    assert ended.value.code == 0
    assert entry.help in " ".join(capsys.readouterr().out.split())  # type: ignore[attr-defined]


@pytest.fixture
def not_root() -> Iterator[None]:
    """Root becomes somebody else for the test; anybody else is so already."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.mark.usefixtures("not_root")
def test_without_root_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    status, error = said(capsys, "list")
    assert status == NOT_PERMITTED
    assert "root" in error


@root_only
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("exec", "--name", "nowhere", "client", "--", "true"), "there is no lab nowhere"),
        (("status", "--name", "nowhere"), "lab up --name nowhere"),
        (("down", "--name", "nowhere"), "there is no lab nowhere"),
        (("up", "--name", "No-Good", "--charon", "/"), "lower-case"),
        (("up", "--name", "x", "--charon", "/nonexistent"), "no charon below /nonexistent"),
        (("up", "--name", "x", "--charon", "/", "--uplinks", "99"), "from 1 to 8"),
        (("up", "--name", "x", "--charon", "/", "--max-clones", "-1"), "0 or more"),
        (("play", "/bin/true"), "/bin/true: not UTF-8"),
        (("play", "/nowhere.yaml"), "/nowhere.yaml"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    argv: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, error = said(capsys, argv[0], "--lab-dir", str(tmp_path), *argv[1:])
    assert status == FAILED
    assert words in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        "impair eth0 --delay nan", "impair eth0 --loss 101", "impair eth0 --rate -1",
        "impair eth0 --jitter inf", "address eth0 add 192.168.1.9", "address eth0 add eth0/24",
        "link client eth0 explode", "up --debug 9", "up --outer 5", "capture",
    ],
)  # fmt: skip
def test_words_that_mean_nothing(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The usage, and the word that is wrong."""
    with pytest.raises(SystemExit) as ended:
        main(["lab", *words.split()])
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err
