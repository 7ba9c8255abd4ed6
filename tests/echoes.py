# SPDX-License-Identifier: Apache-2.0
"""The prober of the simulated world: its echoes go where the tunnel goes at that moment.

Everything but the sockets is the controller's own (core/health/watching.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import count
from typing import Protocol

from vici_mif.core import events as e
from vici_mif.core.health.watching import Request, Watching
from vici_mif.core.model import Echo, IPAddress, Pair, ProbeWish, Sa


class Stage(Protocol):
    """What the echoes have to know of the world they run in."""

    now: float
    sas: dict[int, Sa]
    unmapped: set[int]

    def later(self, delay: float, act: Callable[[], None]) -> None: ...
    def feed(self, event: e.Event) -> object: ...
    def reaches(self, pair: Pair) -> bool: ...
    def link_of(self, address: IPAddress) -> str: ...


@dataclass
class Echoes:
    """Carries out Watch."""

    stage: Stage
    mute: set[str] = field(default_factory=set)
    """Targets that answer nobody."""
    alive: set[str] | None = None
    """The only targets there are; None: any address is one."""
    esp_dead: set[str] = field(default_factory=set)
    """Links on which IKE passes and ESP does not."""
    rtt: dict[str, float] = field(default_factory=dict)
    """By link; seconds."""
    every: dict[str, int] = field(default_factory=dict)
    """By link: of so many requests one is lost."""

    def __post_init__(self) -> None:
        self.watching = Watching()
        self._sent = count(1)
        self._turn = 0

    def watch(self, wishes: tuple[ProbeWish, ...]) -> None:
        for last in self.watching.set(wishes, self.stage.now):
            self.stage.feed(last)
        self._beat()

    def _beat(self) -> None:
        now = self.stage.now
        for request in self.watching.due(now):
            self._send(request)
        for change in self.watching.changes(now):
            self.stage.feed(change)
        self._arm()

    def _arm(self) -> None:
        at = self.watching.next_deadline(self.stage.now)
        self._turn += 1
        turn = self._turn
        if at is not None:
            delay = max(0.0, at - self.stage.now)
            self.stage.later(delay, lambda: self._beat() if turn == self._turn else None)

    def _send(self, request: Request) -> None:
        echo = request.wish.echoes[request.target]
        link = self._link(echo)
        lost = next(self._sent) % self.every[link] == 0 if link in self.every else False
        if link and not lost:
            back = lambda: self._back(request, echo)  # noqa: E731
            self.stage.later(self.rtt.get(link, 0.02), back)

    def _back(self, request: Request, echo: Echo) -> None:
        if self._link(echo):
            wish, target, number = request.wish, request.target, request.sequence
            change = self.watching.answered(wish, target, number, self.stage.now)
            if change is not None:
                self.stage.feed(change)

    def _link(self, echo: Echo) -> str:
        """The link by which an echo passes now; empty where it does not."""
        target = str(echo.target)
        if target in self.mute or (self.alive is not None and target not in self.alive):
            return ""
        for sa in self.stage.sas.values():
            inside = any(_within(echo.source, c.local_ts) for c in sa.children)
            link = self.stage.link_of(sa.local)
            lost = link in self.esp_dead or sa.unique_id in self.stage.unmapped
            if inside and self.stage.answered(sa, sa.pair) and not lost:
                return link
        return ""

    def report(self) -> None:
        for health in self.watching.reports(self.stage.now):
            self.stage.feed(health)


def _within(address: IPAddress, selectors: tuple[str, ...]) -> bool:
    return any(ip_address(address) in ip_network(ts.partition("[")[0]) for ts in selectors)
