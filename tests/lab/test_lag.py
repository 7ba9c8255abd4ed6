# SPDX-License-Identifier: Apache-2.0
"""Questions put evenly: a stall is seen by each that falls into it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from tests.namespace import eventually
from vici_mif.lab.measure import lag

EVERY = 0.002


class Stalled:
    """Answers nobody until it is told to."""

    def __init__(self) -> None:
        self.waiting = self.most = 0
        self.goes_on = threading.Event()
        self._lock = threading.Lock()

    def ask(self) -> None:
        with self._lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        self.goes_on.wait()
        with self._lock:
            self.waiting -= 1

    async def answers_once(self, check: Callable[[], bool]) -> None:
        try:
            await asyncio.to_thread(eventually, check)
        finally:
            self.goes_on.set()


async def test_a_stall_is_seen_by_all_that_fall_into_it() -> None:
    """The first waits for all of it, each later one for what is left."""
    loop = Stalled()

    async def stall() -> None:
        await loop.answers_once(lambda: loop.waiting >= 10)

    found = await lag.during(stall, loop.ask, every=EVERY)

    assert len(found) >= 10
    assert all(late >= (9 - number) * EVERY for number, late in enumerate(found[:10]))


async def test_who_has_to_wait_for_his_turn_waits() -> None:
    """No more are asked at a time than may be; what is due meanwhile is late all the same."""
    loop, begun = Stalled(), time.monotonic()

    async def stall() -> None:
        late = begun + 30 * EVERY
        await loop.answers_once(lambda: loop.waiting == 4 and time.monotonic() > late)

    found = await lag.during(stall, loop.ask, every=EVERY, most=4)

    assert loop.most == 4
    assert found[0] >= 25 * EVERY
    assert found[10] >= 15 * EVERY
