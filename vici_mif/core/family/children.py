# SPDX-License-Identifier: Apache-2.0
"""Opens the children of each tunnel: `<template>@<path>`, one inner address each.

A spare's are called `<template>@spare`, also when it has taken a home.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from vici_mif.core.actions import CreateChild, ReadSa, TerminateChild
from vici_mif.core.family.family import SPARE, Tunnel, template_of
from vici_mif.core.family.mode import Shape
from vici_mif.core.family.slots import own
from vici_mif.core.model import ChildTemplate, IPAddress, PathName, Sa, Slot
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import quality
from vici_mif.core.requests import Key
from vici_mif.core.selectors import host
from vici_mif.core.turn import Turn
from vici_mif.core.wish.numbers import Numbers

UNSEEN_DELAY = 3.0
"""Seconds for a child that was opened to show itself."""

CHILD_DELAY = 40.0
"""Seconds for one CREATE_CHILD_SA exchange with retransmissions."""

DYNAMIC = "dynamic"
"""The word in a selector for our virtual IP."""


@dataclass(slots=True)
class Children:
    """Children of one peer."""

    peer: str
    numbers: Numbers
    slots: tuple[Slot, ...] = ()
    """Inner addresses of all families, by place."""
    _inherited: dict[PathName | None, int] = field(default_factory=dict)
    _slots: dict[int, int] = field(default_factory=dict)
    """Inner address of a tunnel whose child is not open yet."""

    def step(
        self,
        turn: Turn,
        tunnels: Sequence[Tunnel],
        paths: Paths,
        shape: Shape,
        templates: Sequence[ChildTemplate],
        before: Sequence[Tunnel] = (),
    ) -> None:
        """`before`: tunnels that these follow; what is at home at one place keeps its address."""
        self._inherited = {t.home: t.slots[0] for t in before if t.slots}
        slots = self.slots if tunnels and tunnels[0].sa.local_vips else ()
        self._assign(turn, tunnels)
        for tunnel in self._wanted(tunnels, shape):
            if self._stands(turn, tunnel, paths):
                self._open(turn, tunnel, slots if shape.per_path else (), templates)

    def missing(
        self, tunnels: Sequence[Tunnel], shape: Shape, templates: Sequence[ChildTemplate]
    ) -> bool:
        """A child that is wanted is not open."""
        wanted = self._wanted(tunnels, shape)
        return not wanted or any(t.child(x.name) is None for t in wanted for x in templates)

    @staticmethod
    def _wanted(tunnels: Sequence[Tunnel], shape: Shape) -> Sequence[Tunnel]:
        """A spare has its child from the start: when a link comes, one exchange is enough."""
        if not shape.per_path:
            return carrier(tunnels)
        seated = [t for t in tunnels if t.home is not None]
        spares = [t for t in tunnels if t.home is None]
        return (*seated[: shape.limit], *spares[: shape.spares])

    def close(
        self,
        turn: Turn,
        tunnels: Sequence[Tunnel],
        templates: Sequence[ChildTemplate],
        before: Collection[str],
    ) -> None:
        """Children of templates that are no longer wanted, once those that are wanted work."""
        dropped = set(before) - {template.name for template in templates}
        for tunnel in tunnels:
            wanted = [tunnel.child(template.name) for template in templates]
            if not wanted or not all(child is not None and child.works for child in wanted):
                continue
            for child in tunnel.sa.children:
                if template_of(child) in dropped and child.works:
                    make = partial(TerminateChild, child_id=child.unique_id)
                    turn.ask(("unchild", self.peer, child.unique_id), make)

    def _assign(self, turn: Turn, tunnels: Sequence[Tunnel]) -> None:
        """Truth first, then what was chosen before, then the lowest that is free."""
        before, mine = self._slots, {t.ike_id for t in tunnels}
        alive = (turn.world.sas or {}).keys() - mine
        self._slots = {i: slot for i, slot in before.items() if i in alive}
        taken = {i for t in tunnels for i in t.slots}
        for tunnel in (t for t in tunnels if t.slots):
            self._slots[tunnel.ike_id] = tunnel.slots[0]
        for tunnel in (t for t in tunnels if not t.slots):
            old = before.get(tunnel.ike_id)
            free = [i for i in own(self.slots, tunnel.sa.local_vips) if i not in taken]
            chosen = (old, self._inherited.get(tunnel.home), *free)
            slot = next((i for i in chosen if i is not None and i in free), None)
            if slot is not None:
                self._slots[tunnel.ike_id] = slot
                taken.add(slot)

    def opened(self, turn: Turn, key: Key, ike_id: int, template: str) -> None:
        """Never a second one because the first is not seen yet."""
        sa = (turn.world.sas or {}).get(ike_id)
        if sa is not None and not any(template_of(c) == template for c in sa.children):
            turn.book.fail(key, turn.now, "not seen", delay=UNSEEN_DELAY)
            turn.ask(("look", self.peer, ike_id), partial(ReadSa, ike_id=ike_id))

    def rename(self, old_id: int, new_id: int) -> None:
        if old_id in self._slots:
            self._slots[new_id] = self._slots.pop(old_id)

    def slot(self, ike_id: int) -> int | None:
        return self._slots.get(ike_id)

    def _stands(self, turn: Turn, tunnel: Tunnel, paths: Paths) -> bool:
        """On a path that is not known to fail, and not between two paths."""
        moving = turn.book.under_way(("move", self.peer, tunnel.ike_id)) is not None
        there = tunnel.current is not None and quality(paths.state(tunnel.current)) < 2
        return there and not moving

    def _open(
        self,
        turn: Turn,
        tunnel: Tunnel,
        slots: Sequence[Slot],
        templates: Sequence[ChildTemplate],
    ) -> None:
        index = self._slots.get(tunnel.ike_id)
        if slots and index is None:
            return
        for template in templates:
            if tunnel.child(template.name) is None:
                inner = slots[index] if slots and index is not None else ()
                self._ask(turn, tunnel, template, inner, index)

    def _ask(
        self,
        turn: Turn,
        tunnel: Tunnel,
        template: ChildTemplate,
        inner: Sequence[IPAddress],
        index: int | None,
    ) -> None:
        ours = bool(inner) and DYNAMIC in template.local_ts
        numbered = ours and turn.world.kernel_esp and template.if_id_out == "0"
        turn.ask(
            ("child", self.peer, tunnel.ike_id, template.name),
            lambda tag: CreateChild(
                tag,
                tunnel.ike_id,
                template.name,
                f"{template.name}@{tunnel.home or SPARE}" if inner else template.name,
                tuple(str(host(a)) for a in inner) if ours else (),
                (),
                self.numbers.if_id(index or 0) if numbered else None,
            ),
            CHILD_DELAY,
        )


def carrier(tunnels: Sequence[Tunnel]) -> list[Tunnel]:
    """Mode one: the tunnel that has the children, else the first IKE_SA."""
    ordered = sorted(tunnels, key=lambda t: (not t.sa.children, t.sa.cloned, t.ike_id))
    return ordered[:1]


def first(members: Sequence[Sa]) -> int | None:
    """The IKE_SA of that one, before homes are known."""
    bare = [Tunnel(sa, None, None, ()) for sa in members]
    return next((tunnel.ike_id for tunnel in carrier(bare)), None)
