# SPDX-License-Identifier: Apache-2.0
"""Payload in the simulated world: in which direction of which inner address it arrives."""

from __future__ import annotations

from itertools import product

from tests.simulated import World
from vici_mif.core.model import Sa
from vici_mif.lab.wires.impair import DOWN, UP

Stream = tuple[str, str]
"""An inner address or network, and a direction: the two say nothing about each other."""


class Streams:
    """When each stream was heard last, and for how long it was not."""

    def __init__(self) -> None:
        self._silences: dict[Stream, list[tuple[float, float]]] = {}
        self._quiet_since: dict[Stream, float] = {}

    def start(self, world: World) -> None:
        """One in each direction of what there is."""
        self._silences = {stream: [] for stream in arriving(world)}
        self.look(world)

    def look(self, world: World) -> None:
        """Nothing changes between two happenings, so looking after each is exact."""
        now, heard = world.now, arriving(world)
        for stream, silences in self._silences.items():
            if heard.get(stream):
                silences.append((self._quiet_since.pop(stream, now), now))
            else:
                self._quiet_since.setdefault(stream, now)
        self._now = now

    def longest(self, since: float) -> dict[str, float]:
        """The longest silence of each from a moment to now."""
        found = {}
        for stream, silences in self._silences.items():
            going_on = [(at, self._now) for name, at in self._quiet_since.items() if name == stream]
            spans = (end - max(begin, since) for begin, end in [*silences, *going_on])
            found[" ".join(stream)] = max(spans, default=0.0)
        return found

    def lost(self, world: World) -> list[str]:
        """Inner addresses that are there no more."""
        return sorted({inner for inner, _ in self._silences.keys() - arriving(world).keys()})


def arriving(world: World) -> dict[Stream, bool]:
    """Both directions of each inner address or network, and whether their payload arrives."""
    found: dict[Stream, bool] = {}
    for sa, direction in product(world.sas.values(), (UP, DOWN)):
        for inner in (inner for child in sa.children for inner in child.local_ts):
            there = found.get((inner, direction), False)
            found[inner, direction] = there or arrives(world, sa, direction)
    return found


def arrives(world: World, sa: Sa, direction: str) -> bool:
    """Payload of this IKE SA's children."""
    works = any(child.works for child in sa.children)
    return sa.established and works and world.delivers(sa, direction)


def carries(world: World, sa: Sa) -> bool:
    """There and back."""
    return arrives(world, sa, UP) and arrives(world, sa, DOWN)
