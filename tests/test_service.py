# SPDX-License-Identifier: Apache-2.0
"""What systemd is told, heard on a socket as systemd's own; and the units it is told by."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.namespace import eventually, own_namespace
from vici_mif.shell import units
from vici_mif.shell.cli import main
from vici_mif.shell.notify import Health, Service, one_line, watchdog_delay

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "vici_mif/units").glob("*.service"))
ANALYZE = shutil.which("systemd-analyze")
NEEDS_SYSTEMD = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze: systemd")
MOST_EXPOSED = 2.5
"""By `systemd-analyze security`, out of 10."""


class Systemd:
    """Its end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)

    def listen(self) -> list[str]:
        """All lines that were told so far."""
        while True:
            try:
                self.heard += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.heard

    def count(self, line: str) -> int:
        return self.listen().count(line)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    found = Systemd(tmp_path / "notify")
    yield found
    found.close()


@pytest.fixture
def service(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.path)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    return Service()


def health(*, ready: bool = True, alive: bool = True, status: str = "hq: up") -> Health:
    return Health(ready=ready, alive=alive, status=status)


def test_ready_is_told_once_and_not_too_early(service: Service, systemd: Systemd) -> None:
    """Not before the first snapshot; a reload before it does not tell it either."""
    service.round(0.0, health(ready=False))
    service.reloaded()
    assert systemd.count("READY=1") == 0

    service.round(1.0, health())
    service.round(2.0, health())
    assert systemd.count("READY=1") == 1


def test_the_status_is_told_when_it_changes(service: Service, systemd: Systemd) -> None:
    """One datagram for each sentence."""
    for status in ("hq: up", "hq: up", "hq: down: no path answers"):
        service.round(0.0, health(status=status))

    told = [line for line in systemd.listen() if line.startswith("STATUS=")]
    assert told == ["STATUS=hq: up", "STATUS=hq: down: no path answers"]


def test_the_watchdog_is_told_in_half_its_time(service: Service, systemd: Systemd) -> None:
    """30 s of watchdog: a sign of life at 0, 15 and 30, however often the loop goes round."""
    for now in (0.0, 1.0, 14.9, 15.0, 15.1, 30.0):
        service.round(now, health())

    assert systemd.count("WATCHDOG=1") == 3
    assert service.next_deadline() == 45.0


def test_no_sign_of_life_while_charon_is_neither_heard_nor_explained(
    service: Service, systemd: Systemd
) -> None:
    """The loop alone is not enough; the next due round asks again."""
    service.round(0.0, health(alive=False))
    assert systemd.count("WATCHDOG=1") == 0
    assert service.next_deadline() == 15.0

    service.round(15.0, health())
    assert systemd.count("WATCHDOG=1") == 1


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", None, 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_whom_the_watchdog_is_for(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, expected: float | None
) -> None:
    """WATCHDOG_PID names another process: it is not ours (sd_watchdog_enabled(3))."""
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)

    assert watchdog_delay() == expected


def test_what_a_peer_says_is_no_assignment() -> None:
    """A line feed in STATUS= would begin MAINPID= or WATCHDOG=; a long text would not arrive."""
    assert one_line("hq: down: bad\nMAINPID=1\x00\u2028x") == "hq: down: bad MAINPID=1  x"
    assert len(one_line("x" * 999)) == 256


# --- the controller itself -----------------------------------------------------------


@pytest.fixture
def controller(tmp_path: Path, systemd: Systemd) -> Iterator[subprocess.Popen[str]]:
    """`vici-mif run` without a charon, as systemd would begin it."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "version: 1\nconnections:\n  hq: {links: [eth0]}\n"
        f"daemon: {{vici: {tmp_path}/none, run_dir: {tmp_path}/run, state_dir: {tmp_path}/state, "
        f"journal: {tmp_path}/journal}}\n"
    )
    with own_namespace():
        child = subprocess.Popen(
            [sys.executable, "-m", "vici_mif", "run", "-c", str(file)],
            cwd=ROOT,
            env=os.environ | {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "400000"},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()
            child.communicate()


@pytest.mark.real
def test_a_life_under_systemd(controller: subprocess.Popen[str], systemd: Systemd) -> None:
    """Ready with the reason why charon is not there, alive, reloading, stopping."""
    eventually(lambda: systemd.count("READY=1") == 1)
    assert any("no charon" in line for line in systemd.listen() if line.startswith("STATUS="))
    eventually(lambda: systemd.count("WATCHDOG=1") > 3)

    controller.send_signal(signal.SIGHUP)
    eventually(lambda: systemd.count("READY=1") == 2)
    assert systemd.count("RELOADING=1") == 1
    assert any(re.fullmatch(r"MONOTONIC_USEC=\d+", line) for line in systemd.listen())

    controller.terminate()
    assert controller.wait(20) == 0
    assert systemd.count("STOPPING=1") == 1


@pytest.mark.real
def test_who_hangs_is_silent_and_says_where(
    controller: subprocess.Popen[str], systemd: Systemd
) -> None:
    """Stopped, it gives no sign of life; the watchdog's SIGABRT leaves a traceback."""
    eventually(lambda: systemd.count("WATCHDOG=1") > 1)
    controller.send_signal(signal.SIGSTOP)
    os.waitpid(controller.pid, os.WUNTRACED)
    systemd.listen()
    before = systemd.count("WATCHDOG=1")
    with pytest.raises(subprocess.TimeoutExpired):
        controller.wait(1.0)
    assert systemd.count("WATCHDOG=1") == before

    controller.send_signal(signal.SIGABRT)
    controller.send_signal(signal.SIGCONT)
    assert controller.wait(10) == -signal.SIGABRT
    assert controller.stderr is not None
    assert "most recent call first" in controller.stderr.read()


# --- the units -----------------------------------------------------------------------


def test_there_are_two_units() -> None:
    """The controller and what stands before it."""
    assert [unit.name for unit in UNITS] == ["vici-mif-guard.service", "vici-mif.service"]


@NEEDS_SYSTEMD
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing to say; the program is one that is there."""
    for name, text in units.files(sys.executable):
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )

    # what it says of the machine's own units is not ours
    assert [line for line in done.stderr.splitlines() if "vici-mif" in line] == []


@NEEDS_SYSTEMD
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_units_expose_little(unit: Path) -> None:
    """systemd's own measure, without a running systemd."""
    argv = [str(ANALYZE), "security", "--offline=yes", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze judges no files: --offline came with 250")
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)

    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSED


def test_the_units_name_this_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written for where the program stands; a second time nothing is written."""
    installed = tmp_path / "bin" / "vici-mif"
    installed.parent.mkdir()
    installed.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(installed)])
    target = tmp_path / "system"
    target.mkdir()

    assert main(["units", str(target)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(UNITS)
    text = (target / "vici-mif.service").read_text()
    assert f"ExecStart={installed} run\n" in text
    assert "/usr/bin/vici-mif" not in text
    assert main(["units", str(target)]) == 0
    assert capsys.readouterr().out == ""


def test_the_units_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a directory; as a module where no program is installed."""
    assert main(["units"]) == 0

    assert f"ExecStart={sys.executable} -m vici_mif guard\n" in capsys.readouterr().out


def test_units_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file and the reason."""
    assert main(["units", str(tmp_path / "none")]) == 1

    assert "none/vici-mif" in capsys.readouterr().err
