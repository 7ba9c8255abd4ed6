# SPDX-License-Identifier: Apache-2.0
"""The end of tasks that run for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_DELAY = 0.5


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them until they have ended, whatever they end with.

    Once is not enough: a TaskGroup that fails at the moment when it is cancelled raises its own
    errors and forgets the cancellation (before Python 3.13), and whoever begins it again goes on.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_DELAY)
        for task in done:
            task.cancelled() or task.exception()  # fetched, so that nobody complains of it
