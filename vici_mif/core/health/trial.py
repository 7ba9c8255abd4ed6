# SPDX-License-Identifier: Apache-2.0
"""Whether a poor path that was left is good again, by the tests that IKE makes there. Pure."""

from __future__ import annotations

from collections import deque

from vici_mif.core.model import Limit, PathName

ENOUGH = 10
"""Tests in a row that are looked at together."""


class Trial:
    """Round trips of the tests; None where the first transmission was not answered."""

    def __init__(self, loss: Limit | None, delay: Limit | None) -> None:
        self._loss, self._delay = loss, delay
        self._seen: dict[PathName, deque[float | None]] = {}

    def passed(self, path: PathName, rtt_delay: float | None) -> bool:
        """Another test; True once the last ones keep both recovery values."""
        seen = self._seen.setdefault(path, deque(maxlen=ENOUGH))
        seen.append(rtt_delay)
        if len(seen) < ENOUGH or not self._good(seen):
            return False
        self.end(path)
        return True

    def _good(self, seen: deque[float | None]) -> bool:
        known = [rtt for rtt in seen if rtt is not None]
        loss = 1 - len(known) / len(seen)
        mean = sum(known) / len(known) if known else float("inf")
        return _within(self._loss, loss) and _within(self._delay, mean)

    def end(self, path: PathName) -> None:
        self._seen.pop(path, None)


def _within(limit: Limit | None, value: float) -> bool:
    return limit is None or value <= limit.recovery
