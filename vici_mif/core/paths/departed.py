# SPDX-License-Identifier: Apache-2.0
"""Paths of links that fitted a pattern and went: spoken of for a while, then forgotten.

A dial-up link may have another name each time. Whoever asks what happened finds the last ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from vici_mif.core.model import PathName

SPOKEN_DELAY = 3600.0
"""Seconds for which such a path is shown."""

MOST_SPOKEN = 64
"""Of one peer; older ones are forgotten before their time."""


class Departed:
    """Since when each is gone."""

    def __init__(self) -> None:
        self._since: dict[PathName, float] = {}

    def over(self, gone: Iterable[PathName], now: float) -> set[PathName]:
        """Those of the paths that are gone which are not spoken of any more."""
        self._since = {name: self._since.get(name, now) for name in gone}
        oldest = sorted(self._since, key=lambda name: self._since[name])
        surplus = oldest[: max(0, len(oldest) - MOST_SPOKEN)]
        return {*surplus, *(n for n in oldest if self._since[n] + SPOKEN_DELAY <= now)}
