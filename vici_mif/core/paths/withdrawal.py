# SPDX-License-Identifier: Apache-2.0
"""Paths that the configuration no longer has while a tunnel is still on them.

A line taken out of the configuration is a change like any other: the tunnel leaves for a path that
was tested, and the path is forgotten after that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from vici_mif.core.paths.ranking import Path
from vici_mif.core.wish.config import ConnectionConfig

Candidates = Callable[[ConnectionConfig], Sequence[Path]]
"""The paths there are by one configuration."""


class Withdrawal:
    """Former wishes of one peer that are not used up."""

    def __init__(self) -> None:
        self._former: tuple[ConnectionConfig, ...] = ()

    def note(self, before: ConnectionConfig) -> None:
        """Another configuration came."""
        self._former = (*self._former, before)

    def keep(
        self, found: Sequence[Path], by: Candidates, occupied: Collection[object]
    ) -> tuple[Path, ...]:
        """Paths of before on which a tunnel is and that are not to be used now, at the end."""
        allowed = {path.name for path in found if not path.denied}
        kept = {
            path.name: path
            for before in self._former
            for path in by(before)
            if path.pair is not None and path.name in occupied and path.name not in allowed
        }
        if not kept:
            self._former = ()
        return tuple(replace(p, rank=p.rank + len(found)) for p in kept.values())
