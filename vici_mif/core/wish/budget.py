# SPDX-License-Identifier: Apache-2.0
"""How the routing tables of `daemon.tables` are divided: links, one for all, inner ones. Pure.

A peer's inner tables begin where its place in the file says, in steps of a unit: another tunnel
or one more peer at the end does not renumber the others, whose interfaces stand in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LINKS = 40
"""Tables kept for links; behind them come T_default and the inner tables."""

DEFAULT_TUNNELS = 4
"""At most so many without `tunnels:`: each takes an inner address at the gateway."""

UNIT = 10
"""Inner tables are given to a peer by so many: two for each tunnel, since a family that follows
another one may be given other addresses, and both have theirs for a moment."""


def firsts(tunnels: Mapping[str, int]) -> dict[str, int]:
    """By peer, in the order of the file: how many inner tables the peers before have.

    `tunnels`: with spares, at most.
    """
    found, first = {}, 0
    for name, most in tunnels.items():
        found[name] = first
        first += _needed(most)
    return found


def surplus(tables: tuple[int, int], tunnels: Mapping[str, int]) -> str | None:
    """The first peer for which there are not enough tables."""
    room = tables[1] - tables[0] + 1 - LINKS - 1
    starts = firsts(tunnels)
    return next((name for name in starts if starts[name] + _needed(tunnels[name]) > room), None)


class Places:
    """Where the inner tables of each running peer begin: who runs keeps its numbers."""

    def __init__(self, tables: tuple[int, int]) -> None:
        self._room = tables[1] - tables[0] + 1 - LINKS - 1
        self._taken: dict[str, tuple[int, int]] = {}

    def take(self, name: str, tunnels: int) -> int | None:
        """The first gap that is large enough; None where there is none."""
        size, first = _needed(tunnels), 0
        for start, end in sorted(self._taken.values()):
            if first + size <= start:
                break
            first = max(first, end)
        if first + size > self._room:
            return None
        self._taken[name] = (first, first + size)
        return first

    def leave(self, name: str) -> None:
        """Nothing of it is left."""
        self._taken.pop(name, None)


def grows(before: int, after: int) -> bool:
    """A peer with so many tunnels needs more tables than it has."""
    return _needed(after) > _needed(before)


def wanted(tunnels: Iterable[int]) -> int:
    """Tables that these peers need altogether."""
    return LINKS + 1 + sum(map(_needed, tunnels))


def _needed(tunnels: int) -> int:
    return UNIT * -(-2 * tunnels // UNIT)
