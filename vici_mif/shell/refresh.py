# SPDX-License-Identifier: Apache-2.0
"""Fresh counters for who asks, where they can be had soon: charon may have thousands of SAs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from vici_mif.shell import clock

LEAST_DELAY = 1.0
"""Seconds between two looks at everything."""

SHARE = 20.0
"""A look is as far from the next as it took, times this."""

PATIENCE = 0.4
"""Seconds an answer waits; what is read later is in the next one."""


class Refresh:
    """At most one look at a time."""

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        self._task: asyncio.Task[None] | None = None
        self._next_at = 0.0

    async def ask(self) -> None:
        """Returns when it is read, or after a moment."""
        if self._task is None and clock.monotonic() >= self._next_at:
            self._task = asyncio.create_task(self._measured())
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PATIENCE)

    async def _measured(self) -> None:
        begun = clock.monotonic()
        try:
            await self._look()
        finally:
            took = clock.monotonic() - begun
            self._next_at = begun + max(LEAST_DELAY, SHARE * took)
            self._task = None
