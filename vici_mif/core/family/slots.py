# SPDX-License-Identifier: Apache-2.0
"""Inner addresses of all families of a peer, each at a place of its own.

The place decides about table, rule and interface id, so what has one keeps it. While a family
follows another one both have their addresses here; the same address has one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vici_mif.core.family.family import slots_of
from vici_mif.core.model import IPAddress, Slot


def merged(before: Sequence[Slot], families: Iterable[Sequence[IPAddress]]) -> tuple[Slot, ...]:
    """The places after a look at what each family has. An empty one is free."""
    known: list[Slot] = [slot for slot in before if slot]
    wanted: list[Slot] = []
    for vips in families:
        mine = [known[i] for i in own(known, vips)]
        placed = {address for slot in mine for address in slot}
        fresh = slots_of([a for a in vips if a not in placed])
        known += fresh
        wanted += [*mine, *fresh]
    places: list[Slot] = [slot if slot in wanted else () for slot in before]
    for slot in dict.fromkeys(wanted):
        if slot not in places:
            _place(places, slot)
    while places and not places[-1]:
        places.pop()
    return tuple(places)


def _place(places: list[Slot], slot: Slot) -> None:
    if () in places:
        places[places.index(())] = slot
    else:
        places.append(slot)


def own(slots: Sequence[Slot], vips: Iterable[IPAddress]) -> tuple[int, ...]:
    """The places of one family."""
    given = set(vips)
    return tuple(i for i, slot in enumerate(slots) if slot and given.issuperset(slot))
