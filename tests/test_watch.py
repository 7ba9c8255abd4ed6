# SPDX-License-Identifier: Apache-2.0
"""`status --watch` on a real terminal, in a pipe, with and without rich."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.namespace import eventually
from tests.test_cli import controller
from tests.test_render import NOW, crowded
from vici_mif.core.status import Status
from vici_mif.shell import render
from vici_mif.shell.watch import ENTER, LEAVE, Pace

ROOT = Path(__file__).parent.parent
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
WITHOUT_RICH = (
    "import importlib.util as u, sys; found = u.find_spec; "
    "u.find_spec = lambda name, *a: None if name == 'rich' else found(name, *a); "
    "from vici_mif.shell.cli import main; sys.exit(main(sys.argv[1:]))"
)

LISTENING = ("env", "--default-signal=INT")
"""A shell lets what it starts in the background ignore it, and so do its children."""


class Terminal:
    """A terminal of 80 × 24 with `status --watch` on it."""

    def __init__(self, run_dir: Path, *before: str) -> None:
        self._near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.set_blocking(self._near, False)
        self._child = subprocess.Popen(
            [*LISTENING, sys.executable, *(before or ("-m", "vici_mif")),
             "status", "--watch", "--run-dir", str(run_dir)],
            cwd=ROOT, stdin=far, stdout=far, stderr=far, start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(far)
        self._got = b""

    def shown(self) -> str:
        try:
            while more := os.read(self._near, 65536):
                self._got += more
        except OSError:  # nothing more, or the other side is gone
            pass
        return COLOURS.sub("", self._got.decode(errors="replace"))

    def interrupt(self) -> int:
        self._child.send_signal(signal.SIGINT)
        return self._child.wait(10)

    def close(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        os.close(self._near)


@contextmanager
def terminal(run_dir: Path, *before: str) -> Iterator[Terminal]:
    found = Terminal(run_dir, *before)
    try:
        yield found
    finally:
        found.close()


@pytest.mark.parametrize("before", [(), ("-c", WITHOUT_RICH)], ids=["rich", "plain"])
def test_it_follows_and_leaves_the_terminal_as_it_was(
    tmp_path: Path, before: tuple[str, ...]
) -> None:
    """Each look is drawn over the last one; Ctrl-C ends it with the state's exit status."""
    if not before:
        pytest.importorskip("rich", reason="needs the extra `tui`: rich")
    with controller(tmp_path, "down", "degraded"), terminal(tmp_path, *before) as screen:
        eventually(lambda: "degraded" in screen.shown())
        assert screen.interrupt() == 1
        said = screen.shown()

    assert "down" in said
    assert ENTER.partition("h")[0] in said
    assert "\x1b[?1049l" in said
    assert "\x1b[?25h" in said
    assert "Traceback" not in said


def test_the_plain_one_never_wipes_the_page(tmp_path: Path) -> None:
    """Wiping before drawing is what flickers: between entering and leaving there is none."""
    with controller(tmp_path, "up"), terminal(tmp_path, "-c", WITHOUT_RICH) as screen:
        eventually(lambda: screen.shown().count("peer hq") > 1)
        screen.interrupt()
        said = screen.shown()

    assert "\x1b[2J" not in said.partition(ENTER)[2].partition(LEAVE)[0]


def test_it_waits_for_a_controller(tmp_path: Path) -> None:
    """Nobody there: it says so, goes on, and shows the one that comes; 3 if none came."""
    with terminal(tmp_path) as screen:
        eventually(lambda: "no controller runs here" in screen.shown())
        with controller(tmp_path, "up"):
            eventually(lambda: "peer hq" in screen.shown())
        eventually(lambda: screen.shown().rpartition("peer hq")[2].count("no controller") > 0)
        assert screen.interrupt() == 3


def test_into_a_pipe(tmp_path: Path) -> None:
    """One JSON object on each line, without escape sequences."""
    argv = [sys.executable, "-m", "vici_mif", "status", "--watch", "--json"]
    with controller(tmp_path, "up"):
        child = subprocess.Popen(
            [*LISTENING, *argv, "--run-dir", str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        looks = [json.loads(child.stdout.readline()) for _ in range(2)]
        child.send_signal(signal.SIGINT)
        child.communicate()

    assert [Status.model_validate(look).peers[0].state for look in looks] == ["up", "up"]
    assert child.returncode == 0


def test_rich_shows_the_same_characters() -> None:
    """Colours are all that it adds."""
    pytest.importorskip("rich", reason="needs the extra `tui`: rich")
    from vici_mif.shell import tui

    text = render.status(crowded(), NOW, 80)

    assert tui.coloured(text, 99).plain == text
    assert {str(span.style) for span in tui.coloured(text, 99).spans} >= {"green", "bold red"}


def test_pace() -> None:
    """Bytes a second since the last look; a counter that began anew is no rate."""
    pace, key = Pace(), ("hq", "eth0/203.0.113.1")
    first = crowded()
    hq = first.peers[0]
    path = hq.paths[0].model_copy(update={"tx_bytes": 3000, "rx_bytes": 0})
    grown = first.model_copy(
        update={"peers": (hq.model_copy(update={"paths": (path, *hq.paths[1:])}),)}
    )

    assert pace.rates(first, 10.0) is None
    assert (pace.rates(grown, 12.0) or {})[key] == (1500.0, 0.0)
    assert (pace.rates(first, 13.0) or {})[key] == (0.0, 0.0)
