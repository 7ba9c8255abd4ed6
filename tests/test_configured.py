# SPDX-License-Identifier: Apache-2.0
"""The files read again: what stays in force, since when, and what is said of a broken one."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from vici_mif.core.status import DaemonStatus
from vici_mif.core.wish.config import ConfigError
from vici_mif.edges.files import FileError, TooLarge
from vici_mif.shell import places
from vici_mif.shell.cli import main
from vici_mif.shell.configured import Configured
from vici_mif.shell.daemon import Daemon, Settings
from vici_mif.shell.exits import CONFIG
from vici_mif.shell.log import Log
from vici_mif.shell.notify import Health

GOOD = "version: 1\nconnections:\n  hq: {links: [eth0]}\ndaemon: {journal: off}\n"
DAEMON = DaemonStatus(version="1", charon="6.1.0", patched=True, config="c", since="")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def configured(file: Path) -> Configured:
    return Configured(places.read(file), str(file))


def test_the_same_is_no_change(configured: Configured, file: Path) -> None:
    """Also where only the words around it are others."""
    file.write_text(f"# a comment\n{GOOD}")

    assert not configured.read(())


def test_a_difference_and_a_file_beside_it(configured: Configured, file: Path) -> None:
    """conf.d counts, too."""
    more = file.parent / "conf.d"
    more.mkdir()
    (more / "log.yaml").write_text("daemon: {rules: 150-169}\n")
    assert not configured.read(())
    file.write_text(GOOD.replace("eth0", "eth1"))

    assert configured.read(())
    assert configured.config.connections["hq"].links[0].match == "eth1"


def test_a_broken_file_changes_nothing(configured: Configured, file: Path) -> None:
    """Its mistake is in the status until a good one is read."""
    before = configured.config
    file.write_text("version: 1\nconnections:\n  hq: {link: [eth0]}\n")
    with pytest.raises(ConfigError):
        configured.read(())
    assert configured.config is before
    assert f"{file}:3:8" in configured.shown(DAEMON).config_refused
    file.write_text(GOOD)

    assert not configured.read(())
    assert configured.shown(DAEMON).config_refused == ""
    assert configured.shown(DAEMON).config_since.startswith("20")


def test_a_file_that_is_gone(configured: Configured, file: Path) -> None:
    """The same as a broken one."""
    file.unlink()
    with pytest.raises(FileError):
        configured.read(())

    assert "config.yaml" in configured.shown(DAEMON).config_refused


def test_systemd_hears_of_each_reload(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELOADING=1 with the time, READY=1 at its end, whatever came of it (Type=notify-reload).

    Before the first READY=1 there is nothing to say: that comes by itself.
    """
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    settings = Settings(places.read(file), str(file), str(tmp_path / "vici"), tmp_path, tmp_path)
    daemon = Daemon(settings, Log(verbose=False))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(2)
        daemon._service.round(0.0, Health(ready=True, alive=True, status=""))
        assert systemd.recv(200) == b"READY=1"
        for text, code in ((GOOD, None), ("version: 2\n", 78), (GOOD.replace("0", "1"), None)):
            file.write_text(text)
            answer = asyncio.run(daemon.asked({"ask": "reload"}))

            assert answer.get("exit") == code
            begun, usec = systemd.recv(200).decode().split("\nMONOTONIC_USEC=")
            assert begun == "RELOADING=1"
            assert 0 <= time.monotonic() - int(usec) / 1e6 < 60
            assert systemd.recv(200) == b"READY=1"
    assert answer == {"ok": True, "changed": True}


def test_what_vici_cannot_carry(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All certificates of the system where one is wanted: refused by a reload, and by `check`."""
    configured = Configured(places.read(file), str(file))
    (tmp_path / "all.pem").write_bytes(b"x" * 220_000)
    file.write_text(
        "version: 1\nconnections:\n  hq:\n    links: [eth0]\n    connection:\n"
        "      remote_addrs: 203.0.113.1\n      children: {net: {}}\n"
        "      local: {certs: not-there.pem}\n      remote: {cacerts: all.pem}\n"
        "      secrets: {ike: {secret: {file: not-there-yet}}}\ndaemon: {journal: off}\n"
    )
    with pytest.raises(TooLarge):
        configured.read(())
    assert configured.config.connections["hq"].connection is None
    assert "all.pem: larger than 65535 bytes" in configured.shown(DAEMON).config_refused
    assert main(["check", "-c", str(file)]) == CONFIG
    assert "all.pem: larger than 65535 bytes" in capsys.readouterr().err
    (tmp_path / "all.pem").write_bytes(b"x" * 65_535)

    assert configured.read(())


def test_a_secret_behind_the_same_words(tmp_path: Path, file: Path) -> None:
    """Another content of a file that an inline connection names is a difference."""
    (tmp_path / "psk").write_text("one")
    file.write_text(
        "version: 1\nconnections:\n  hq:\n    links: [eth0]\n    connection:\n"
        "      remote_addrs: 203.0.113.1\n      children: {net: {}}\n"
        "      secrets: {ike: {secret: {file: psk}}}\n"
    )
    configured = Configured(places.read(file), str(file))
    assert not configured.read(())
    (tmp_path / "psk").write_text("two")
    assert configured.read(())
    assert configured.renewed == {"hq"}
    assert not configured.read(())
    (tmp_path / "psk").unlink()

    assert configured.read(())
