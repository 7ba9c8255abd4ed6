# SPDX-License-Identifier: Apache-2.0
"""The only place that asks what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from vici_mif.core.journal.lines import Moment

NOTICED_SLEEP = 1.0  # seconds the boot clock must run ahead of the monotonic one


def monotonic() -> float:
    """Seconds that stand still while the machine sleeps."""
    return time.monotonic()


def utc() -> datetime:
    return datetime.now(UTC)


def stamp() -> str:
    """Now, as RFC 3339 UTC."""
    return utc().isoformat(timespec="seconds").replace("+00:00", "Z")


def ahead() -> float:
    """Seconds the boot clock is ahead of the monotonic one: all that was ever slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


def moment(now: float) -> Moment:
    """`now` of the monotonic clock, and what the others show."""
    wall = utc().isoformat(timespec="microseconds").replace("+00:00", "Z")
    return Moment(monotonic=now, boot=now + ahead(), wall=wall)


class Sleep:
    """Notices that the machine slept: the boot clock goes on, the monotonic one does not."""

    def __init__(self, ahead: Callable[[], float] = ahead) -> None:
        self._ask = ahead
        self._ahead = ahead()

    def noticed(self) -> float | None:
        """Seconds slept since the last call; None where it was no sleep."""
        before, self._ahead = self._ahead, self._ask()
        slept = self._ahead - before
        return slept if slept >= NOTICED_SLEEP else None
