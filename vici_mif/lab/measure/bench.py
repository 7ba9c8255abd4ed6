# SPDX-License-Identifier: Apache-2.0
"""A lab to measure in: a controller that is up, numbered datagrams both ways, and stopwatches.

What counts is what both ends of the streams wrote down, never what a log of ours says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from vici_mif.core.status import TunnelStatus
from vici_mif.lab.controller import Controller, link_of
from vici_mif.lab.errors import LabError
from vici_mif.lab.installation import default_prefix
from vici_mif.lab.lab import Lab, Setup
from vici_mif.lab.sas import agreed
from vici_mif.lab.streams.log import Flow, StreamLog
from vici_mif.lab.streams.streams import Streams, far_address
from vici_mif.lab.topology import Wish, bare
from vici_mif.lab.wires.impair import Impairment

PATIENCE = 60.0
"""Seconds until all is at home again."""
RETURN_PATIENCE = 60.0
"""Seconds for the first datagram after something happened."""
RATE = 200.0
"""Datagrams a second in each direction."""
ARRIVAL_DELAY = 3.0
"""Seconds a datagram may take on a machine that is busy, before it is lost."""
CALM = 8
"""Failures in one lab: each doubles the hold-down of its path, and the way home takes minutes."""
HOLD_DOWN = 0.1
"""Seconds; it doubles with each break, and here a path breaks all the time."""

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass
class Stage:
    """A lab whose controller is up, with streams through every tunnel."""

    lab: Lab
    controller: Controller
    absent: tuple[str, ...] = ()
    """Links that were not there when it began."""
    spares: int = 0
    tunnels: dict[str, str] = field(default_factory=dict)
    """Inner address of each tunnel by its home's link; `spare` has none."""
    streams: Streams | None = None

    @property
    def flows(self) -> dict[str, tuple[Flow, Flow]]:
        """Up and down, by link."""
        far = far_address(self.lab)
        return {k: (("udp", a, far), ("udp", far, a)) for k, a in self.tunnels.items()}

    def log(self) -> StreamLog:
        """Of the streams that were begun last."""
        assert self.streams is not None
        return self.streams.log()

    def settle(self) -> list[TunnelStatus]:
        """Until every tunnel is at home and carries. Raises LabError."""
        return self._until(self._home, "not at home again")

    def rest(self) -> None:
        """Until the gateway, too, sends to where they are: the next cut hits what is sent there.
        Raises LabError."""
        self.settle()
        ends = self.lab.client.vici_socket, self.lab.host("gateway").vici_socket
        self._until(lambda: agreed(*ends), "the gateway did not follow")

    def _until(self, look: Callable[[], T], wrong: str) -> T:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.05)
        raise LabError(f"{wrong} within {PATIENCE:g} s:\n{self.controller.table()}")

    def _home(self) -> list[TunnelStatus]:
        status = self.controller.ask_status()
        if status is None:
            return []
        tunnels = list(status.peers[0].tunnels)
        wanted = len(self.lab.uplinks) - len(self.absent)
        homes = [t for t in tunnels if t.home is not None]
        there = all(t.children for t in tunnels) and all(t.current == t.home for t in homes)
        complete = len(homes) >= wanted and len(tunnels) >= wanted + self.spares
        return tunnels if there and complete else []


@contextmanager
def stage(
    name: str,
    *,
    uplinks: int = 3,
    absent: int = 0,
    spares: int = 0,
    delay_s: float = 0.0,
    keys: Mapping[str, object] = MappingProxyType({}),
) -> Iterator[Stage]:
    """A lab for one measurement, gone at its end; `delay_s`: one way, on each uplink."""
    prefix = default_prefix()
    with Lab.up(Wish(name=name, uplinks=uplinks), Setup(prefix, prefix), keep=False) as lab:
        away = lab.uplinks[uplinks - absent :]
        for link in away:
            lab.link_down(link)
        wish = {"links": list(lab.uplinks), "hold_down": HOLD_DOWN, "spares": spares}
        for link in lab.uplinks if delay_s else ():
            lab.impair(link, Impairment(delay_s=delay_s))
        controller = Controller(lab, lambda _: None)
        controller.configure({"version": 1, "connections": {"hq": {**wish, **keys}}})
        controller.run()
        made = Stage(lab, controller, away, spares)
        try:
            for tunnel in made.settle():
                link = link_of(tunnel) if tunnel.home else "spare"
                made.tunnels[link] = bare(tunnel.inner[0])
            yield made
        finally:
            with suppress(LabError):
                controller.stop()


@contextmanager
def streaming(
    at: Stage, rate: float = RATE, links: tuple[str, ...] = (), *, download: bool = False
) -> Iterator[None]:
    """Streams through these tunnels, or all; `download`: towards the client alone."""
    far = far_address(at.lab)
    pairs = [(a, far) for k, a in at.tunnels.items() if not links or k in links]
    at.streams = Streams(at.lab, at.lab.client)
    with at.streams.going(pairs, rate, download=download):
        yield


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was done, in seconds since 1970."""

    begun: float
    done: float
    """It had happened for certain."""


def happens(act: Callable[[], None]) -> Moment:
    """Do something, and when it was."""
    begun = time.time()
    act()
    return Moment(begun, time.time())


def silence(at: Stage, flow: Flow, moment: Moment) -> float:
    """Seconds in which the receiver heard nothing, around what happened.

    They end with the first datagram that was sent after it: that one came another way.
    """
    came_at = resumed(at, flow, moment.done)
    return at.log().gap(flow, moment.begun, came_at)


def resumed(at: Stage, flow: Flow, since: float) -> float:
    """When the first datagram came that was sent after this moment, in seconds since 1970.
    Raises LabError."""
    deadline = time.monotonic() + RETURN_PATIENCE
    while time.monotonic() < deadline:
        came_at = at.log().resumed(flow, since)
        if came_at is not None:
            return came_at
        time.sleep(0.1)
    raise LabError(f"nothing came within {RETURN_PATIENCE:g} s: {' '.join(flow)}")


def wait_for(check: Callable[[], bool], what: str) -> None:
    """Polls. Raises LabError."""
    deadline = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > deadline:
            raise LabError(f"waited {PATIENCE:g} s for {what}")
        time.sleep(0.02)


def in_turns(n: int) -> list[range]:
    """Runs, so many to a lab."""
    return [range(first, min(first + CALM, n)) for first in range(0, n, CALM)]


def lost_and_late(at: Stage, link: str, times: Iterable[Moment]) -> tuple[list[int], list[int]]:
    """Of both directions together, for each time."""
    log, flows = at.log(), at.flows[link]
    windows = [(moment.begun, moment.done) for moment in times]
    lost = [sum(log.lost(flow, *window) for flow in flows) for window in windows]
    late = [sum(log.late(flow, *window) for flow in flows) for window in windows]
    return lost, late
