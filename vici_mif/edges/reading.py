# SPDX-License-Identifier: Apache-2.0
"""What charon has, asked on a connection of its own: its IKE_SAs and its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from vici_mif.core import events, swan
from vici_mif.core.model import Connection as ConnectionSeen
from vici_mif.core.model import Sa
from vici_mif.edges import vici
from vici_mif.edges.vici import Connection, Tree

CONNECTIONS_DELAY = 5.0  # one local request, answered from charon's memory


class Reader:
    """Tells what it reads as facts. Raises ViciError, SwanError."""

    def __init__(self, connection: Connection, emit: Callable[[events.Event], None]) -> None:
        self.connection = connection
        self._emit = emit
        self._reading = asyncio.Lock()
        self._loaded: tuple[ConnectionSeen, ...] | None = None
        self.heard_at = asyncio.get_running_loop().time()
        """When charon answered last, in the event loop's time."""

    async def read_all(self) -> None:
        """list-conns and list-sas."""
        await self._read_connections(only_changes=False)
        await self.read_sas()

    async def read_sas(self) -> None:
        """All of them; the loop goes round meanwhile."""
        async with self._reading:
            found: list[Sa] = []
            for item in await self.connection.stream("list-sas", "list-sa"):
                found += swan.sas(item)
                if len(found) % vici.AT_A_TIME == 0:
                    await asyncio.sleep(0)
            self._emit(events.SasSeen(tuple(found)))

    async def read_sa(self, ike_id: int) -> None:
        """list-sas of one: SaSeen or SaGone. Never told before an older look at all."""
        async with self._reading:
            found = await self.sa(ike_id)
            for sa in found:
                self._emit(events.SaSeen(sa))
            if not found:
                self._emit(events.SaGone(ike_id))

    async def sa(self, ike_id: int) -> tuple[Sa, ...]:
        """The same, told to who asks; empty where there is none."""
        return _sas(await self.connection.stream("list-sas", "list-sa", {"ike-id": ike_id}))

    async def watch_connections(self) -> None:
        """`swanctl --load-all` raises no event: look, and tell what differs."""
        while True:
            await asyncio.sleep(CONNECTIONS_DELAY)
            await self._read_connections(only_changes=True)

    async def _read_connections(self, *, only_changes: bool) -> None:
        loaded = _connections(await self.connection.stream("list-conns", "list-conn"))
        self.heard_at = asyncio.get_running_loop().time()
        if loaded != self._loaded or not only_changes:
            self._loaded = loaded
            self._emit(events.ConnectionsSeen(loaded))


def _sas(items: list[Tree]) -> tuple[Sa, ...]:
    return tuple(sa for item in items for sa in swan.sas(item))


def _connections(items: list[Tree]) -> tuple[ConnectionSeen, ...]:
    return tuple(found for item in items for found in swan.connections(item))
