# SPDX-License-Identifier: Apache-2.0
"""What was counted of the probes on one path: observations in buckets. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

RTT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds."""


class Histogram:
    """How many observations were how large."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """A bound belongs to its bucket: `le` is less or equal."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Each bound with all that was not larger, the infinite one last."""
        so_far = 0
        for bound, count in zip((*self.bounds, float("inf")), self._counts, strict=True):
            so_far += count
            yield bound, so_far


class Tally:
    """Echo requests on one path since the start."""

    def __init__(self) -> None:
        self.sent = 0
        self.lost = 0
        """Too old for an answer to count."""
        self.rtt = Histogram(RTT_BOUNDS)
