# SPDX-License-Identifier: Apache-2.0
"""What the ends of the lab's streams write down, one line for each thing that happened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

Flow = tuple[str, str, str]
"""`udp` or `tcp`, source and destination address."""

SENT, GOT, FAILED = "sent", "got", "failed"


@dataclass(frozen=True, slots=True)
class Mark:
    """One datagram or block."""

    number: int
    at: float
    """Seconds since 1970, as in captures."""
    size: int
    """Bytes of payload."""


@dataclass(slots=True)
class StreamLog:
    """The lines of all ends."""

    sent: dict[Flow, list[Mark]] = field(default_factory=lambda: defaultdict(list))
    got: dict[Flow, list[Mark]] = field(default_factory=lambda: defaultdict(list))
    failures: list[tuple[float, Flow, str]] = field(default_factory=list)
    """What a socket said: when, whose, why."""

    def blocks(self, flow: Flow, since: float, until: float) -> dict[int, int]:
        """Number and payload bytes of what left in this time."""
        marks = self.sent.get(flow, ())
        return {mark.number: mark.size for mark in marks if since <= mark.at < until}

    def gap(self, flow: Flow, since: float, until: float) -> float:
        """The longest silence at the receiver within this time, its edges included."""
        inside = [mark.at for mark in self.got.get(flow, ()) if since <= mark.at < until]
        return max(b - a for a, b in pairwise([since, *inside, until]))

    def resumed(self, flow: Flow, since: float) -> float | None:
        """When the first datagram came of those that were sent after this moment."""
        later = {mark.number for mark in self.sent.get(flow, ()) if mark.at >= since}
        came = (mark.at for mark in self.got.get(flow, ()) if mark.number in later)
        return min(came, default=None)

    def lost(self, flow: Flow, since: float, until: float) -> int:
        """Datagrams sent in this time that never came."""
        came = {mark.number for mark in self.got.get(flow, ())}
        return sum(number not in came for number in self.blocks(flow, since, until))

    def late(self, flow: Flow, since: float, until: float = float("inf")) -> int:
        """Datagrams that came after one with a higher number, within this time."""
        highest, late = -1, 0
        for mark in (mark for mark in self.got.get(flow, ()) if since <= mark.at < until):
            late += mark.number < highest
            highest = max(highest, mark.number)
        return late


def line(what: str, flow: Flow, number: int, at: float, detail: object) -> str:
    """One line; `detail` is the size, or the reason of a failure."""
    return f"{what} {' '.join(flow)} {number} {at:.6f} {detail}\n"


def read(paths: Iterable[Path]) -> StreamLog:
    """All lines of these files; a last one that is still being written is left out."""
    return Growing(paths).read()


class Growing:
    """Logs that are still being written: each line is read once."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._read = dict.fromkeys(paths, 0)
        self._log = StreamLog()

    def read(self) -> StreamLog:
        """All lines up to now."""
        for path, offset in self._read.items():
            with path.open("rb") as file:
                file.seek(offset)
                whole = file.read().rpartition(b"\n")[0]
            for text in whole.decode().splitlines():
                _take(self._log, text)
            self._read[path] = offset + len(whole) + bool(whole)
        return self._log


def _take(log: StreamLog, text: str) -> None:
    what, kind, src, dst, number, at, detail = text.split(" ", 6)
    flow = (kind, src, dst)
    if what == FAILED:
        log.failures.append((float(at), flow, detail))
        return
    side = log.sent if what == SENT else log.got
    side[flow].append(Mark(int(number), float(at), int(detail)))
