# SPDX-License-Identifier: Apache-2.0
"""How late answers are, by questions put evenly, whether or not those before were answered.

Who asks one after the other meets a stall once, however long it lasts. Here each question that
falls into it waits for its end, so that a share of the answers is a share of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

EVERY = 0.02
"""Seconds between two questions."""
MOST = 64
"""Questions that wait for an answer at a time: fewer than a listening socket has room for."""


async def during(
    act: Callable[[], Coroutine[Any, Any, None]],
    ask: Callable[[], object],
    *,
    every: float = EVERY,
    most: int = MOST,
) -> list[float]:
    """Seconds from when each question was due to its answer, until `act` has ended.

    What is due beyond `most` waits for its turn, and that counts. Raises what `ask` raises.
    """

    def put(due_at: float) -> float:
        ask()
        return time.monotonic() - due_at

    loop, work = asyncio.get_running_loop(), asyncio.create_task(act())
    with ThreadPoolExecutor(most) as pool:
        asked, begun = [], time.monotonic()
        for number in count():
            due_at = begun + number * every
            await asyncio.sleep(due_at - time.monotonic())
            if work.done():
                break
            asked.append(loop.run_in_executor(pool, put, due_at))
        await work
        return await asyncio.gather(*asked)
