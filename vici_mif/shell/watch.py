# SPDX-License-Identifier: Apache-2.0
"""`status --watch`: the same table, drawn again each second until somebody ends it.

On a terminal with rich installed (the extra `tui`) states have colours; without it the lines are
written over the old ones; into a pipe goes one block after the other.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from vici_mif.core.status import Status
from vici_mif.edges.control import NoController
from vici_mif.shell import asking, clock, render
from vici_mif.shell.columns import Rates
from vici_mif.shell.exits import NO_CONTROLLER
from vici_mif.shell.places import Places

LOOK_DELAY = 1.0
HOME, END_OF_LINE, REST = "\x1b[H", "\x1b[K", "\x1b[J"
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The terminal's second page, without a cursor; and back."""

Draw: TypeAlias = Callable[[str], None]


class Pace:
    """Bytes a second between two looks."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[int, int]] = {}
        self._at = 0.0

    def rates(self, status: Status, now: float) -> Rates | None:
        """None at the first look. A rekeyed or moved SA counts from nothing: that is no rate."""
        found = {
            (peer.name, path.name): (path.tx_bytes, path.rx_bytes)
            for peer in status.peers
            for path in peer.paths
        }
        last, span = self._last, now - self._at
        self._last, self._at = found, now
        if not last or span <= 0:
            return None
        return {
            key: (max(0, sent - last[key][0]) / span, max(0, received - last[key][1]) / span)
            for key, (sent, received) in found.items()
            if key in last
        }


def watch(where: Places, peer: str | None, *, json: bool) -> int:
    """Until Ctrl-C; the exit status is that of the last look. Raises Refused at the first."""
    code, pace = NO_CONTROLLER, Pace()
    with _screen() as draw:
        try:
            while True:
                try:
                    found = asking.status(where, peer)
                except NoController as nobody:
                    code = NO_CONTROLLER
                    _tell(draw, str(nobody), json=json)
                else:
                    code = found.exit_code
                    _show(draw, found, pace, json=json)
                asking.wait(LOOK_DELAY)
        except (KeyboardInterrupt, BrokenPipeError):
            return code


def _show(draw: Draw, found: Status, pace: Pace, *, json: bool) -> None:
    rates = pace.rates(found, clock.monotonic())
    if json:
        print(found.model_dump_json(by_alias=True), flush=True)
        return
    draw(f"{_time()}\n" + render.status(found, clock.utc(), width(), rates))


def _tell(draw: Draw, text: str, *, json: bool) -> None:
    if json:
        print(text, file=sys.stderr, flush=True)
    else:
        draw(f"{_time()}\n{text}")


def _time() -> str:
    return f"vici-mif  {clock.stamp()}"


def width() -> int | None:
    """Columns of the terminal; None into a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@contextmanager
def _screen() -> Iterator[Draw]:
    """How a text is shown, for as long as it is watched."""
    if not sys.stdout.isatty():
        yield lambda text: print(f"{text}\n", flush=True)
    elif importlib.util.find_spec("rich") is not None:
        from vici_mif.shell import tui

        with tui.screen() as draw:
            yield draw
    else:
        with _plain() as draw:
            yield draw


@contextmanager
def _plain() -> Iterator[Draw]:
    """Over the old lines, without wiping the page first: nothing flickers."""

    def draw(text: str) -> None:
        height = shutil.get_terminal_size().lines
        shown = render.cut(text.splitlines(), height)
        sys.stdout.write(HOME + "\n".join(line + END_OF_LINE for line in shown) + REST)
        sys.stdout.flush()

    sys.stdout.write(ENTER)
    try:
        yield draw
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
