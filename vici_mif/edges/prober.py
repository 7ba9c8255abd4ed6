# SPDX-License-Identifier: Apache-2.0
"""Prober: echo requests inside the tunnels, in the rhythm that core/health/watching.py gives.

It tells a change of a verdict and nothing else, so twenty answers a second from each tunnel
wake nobody. A request that the kernel does not take is a lost one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from vici_mif.core.events import PathHealth
from vici_mif.core.health.tally import Tally
from vici_mif.core.health.watching import Request, Watching
from vici_mif.core.model import Echo, IPAddress, PathKey, ProbeWish
from vici_mif.edges.echo import Echoes

Emit = Callable[[PathHealth], None]
Sources = dict[IPAddress, Echoes]


class Prober:
    """Carries out `actions.Watch`."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._watching = Watching()
        self._sockets: dict[ProbeWish, Sources] = {}
        self._timer: asyncio.TimerHandle | None = None

    def apply(self, wish: Iterable[ProbeWish]) -> None:
        """Watch exactly these from now on."""
        self._take_all()
        wanted = tuple(wish)
        for last in self._watching.set(wanted, self._now()):
            self._close(self._sockets.pop(last.wish))
            self._emit(last)
        for known in wanted:
            self._sockets.setdefault(known, {})
        self._beat()

    def report(self) -> None:
        """Tell all that is known now."""
        self._take_all()
        for health in self._watching.reports(self._now()):
            self._emit(health)

    @property
    def tallies(self) -> Mapping[PathKey, Tally]:
        """What was sent and answered since the start, by peer and path."""
        return self._watching.tallies

    def close(self) -> None:
        self.apply(())
        if self._timer is not None:
            self._timer.cancel()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _beat(self) -> None:
        """What came while we were held up is heard before anybody is judged."""
        self._take_all()
        now = self._now()
        for request in self._watching.due(now):
            self._send(request)
        for change in self._watching.changes(now):
            self._emit(change)
        self._arm(now)

    def _arm(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self._watching.next_deadline(now)
        loop = asyncio.get_running_loop()
        self._timer = None if at is None else loop.call_at(at, self._beat)

    # --- sockets -----------------------------------------------------------------

    def _send(self, request: Request) -> None:
        echo = request.wish.echoes[request.target]
        socket = self._socket(request.wish, echo)
        if socket is not None:
            socket.send(echo.target, request.sequence)

    def _socket(self, wish: ProbeWish, echo: Echo) -> Echoes | None:
        """None where there is none to be had: without the right, or without IPv6."""
        sources = self._sockets[wish]
        if echo.source not in sources:
            try:
                made = Echoes(echo.source)
            except OSError:
                return None
            sources[echo.source] = made
            asyncio.get_running_loop().add_reader(made.fileno(), self._take, wish, made)
        return sources[echo.source]

    def _close(self, sources: Sources) -> None:
        for socket in sources.values():
            asyncio.get_running_loop().remove_reader(socket.fileno())
            socket.close()

    def _take_all(self) -> None:
        for wish, sources in self._sockets.items():
            for socket in sources.values():
                self._take(wish, socket)

    def _take(self, wish: ProbeWish, socket: Echoes) -> None:
        now = self._now()
        for sender, number in socket.receive():
            for index, echo in enumerate(wish.echoes):
                if str(echo.target) == sender:
                    change = self._watching.answered(wish, index, number, now)
                    if change is not None:
                        self._emit(change)
