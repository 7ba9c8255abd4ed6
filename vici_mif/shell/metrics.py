# SPDX-License-Identifier: Apache-2.0
"""`daemon.metrics`: what Prometheus is told, and how late our own loop is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from vici_mif.core import events
from vici_mif.core.events import Event
from vici_mif.core.figures import figures, text
from vici_mif.core.figures.figures import Counted
from vici_mif.core.peers.peer import Peer
from vici_mif.core.status import Status
from vici_mif.core.world import World
from vici_mif.edges.prober import Prober
from vici_mif.edges.scrapes import Scrapes

LAG_DELAY = 0.5
LAG_LOOKS = 120
"""A minute."""

Look = Callable[[], Awaitable[Status]]


class Metrics:
    """Counts beside the planner and answers scrapes."""

    def __init__(self, address: str, prober: Prober, look: Look) -> None:
        """`look` gives a fresh status."""
        self._peers: Mapping[str, Peer] = {}
        self._prober = prober
        self._look = look
        self._counted = Counted()
        self._lags: deque[float] = deque(maxlen=LAG_LOOKS)
        self._scrapes = Scrapes(address, text.CONTENT_TYPE, self.page)

    async def serve(self) -> None:
        """For ever. Raises OSError where the address cannot be had."""
        await self._scrapes.serve()

    def step(self, event: Event, peers: Mapping[str, Peer], world: World, now: float) -> None:
        """After each turn of the planner."""
        self._peers = peers
        if isinstance(event, events.CharonConnected):
            self._counted.connects += 1
        self._counted.failovers.step(peers, world, now)

    async def page(self) -> str:
        """One answer."""
        status = await self._look()
        self._counted.tallies = self._prober.tallies
        self._counted.refused = {name: p.growth.refused for name, p in self._peers.items()}
        self._counted.lag_s = max(self._lags, default=0.0)
        return figures.text(status, self._counted)

    async def watch_the_loop(self) -> None:
        """For ever: how much later than it asked for it is woken."""
        loop = asyncio.get_running_loop()
        while True:
            wanted = loop.time() + LAG_DELAY
            await asyncio.sleep(LAG_DELAY)
            self._lags.append(max(0.0, loop.time() - wanted))
