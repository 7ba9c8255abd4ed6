# SPDX-License-Identifier: Apache-2.0
"""The family in use and the one that follows it, each with its tunnels and what it may have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vici_mif.core.family.children import Children, first
from vici_mif.core.family.family import Family, Tunnel
from vici_mif.core.family.growth import Growth
from vici_mif.core.family.homes import Homes
from vici_mif.core.family.mode import Shape, shape
from vici_mif.core.model import ChildTemplate, Connection, PathName, Slot
from vici_mif.core.paths.paths import Paths
from vici_mif.core.turn import Turn
from vici_mif.core.wish.config import ConnectionConfig


class Line(NamedTuple):
    """One family."""

    shape: Shape
    tunnels: tuple[Tunnel, ...] = ()
    before: tuple[Tunnel, ...] = ()
    """Those of the family that it follows."""


class Lines:
    """Families of one peer, as tunnels."""

    def __init__(self, config: ConnectionConfig) -> None:
        self._config = config
        self._homes: dict[int, Homes] = {}
        self.own = Line(Shape("one", False, 1))
        self.heir = self.own

    @property
    def homes(self) -> frozenset[PathName | None]:
        """Of all tunnels."""
        return frozenset(t.home for line in (self.own, self.heir) for t in line.tunnels)

    def see(
        self,
        turn: Turn,
        connection: Connection,
        paths: Paths,
        slots: Sequence[Slot],
        both: tuple[Family | None, Family | None],
    ) -> None:
        """`both`: the family in use and its heir; `slots`: inner addresses by place."""
        own, heir = both
        self.own = self._seen(turn, connection, paths, slots, own)
        self.heir = self._seen(turn, connection, paths, slots, heir, self.own.tunnels)
        self._homes = {f.key: self._homes[f.key] for f in both if f}

    def _seen(
        self,
        turn: Turn,
        connection: Connection,
        paths: Paths,
        slots: Sequence[Slot],
        family: Family | None,
        before: tuple[Tunnel, ...] = (),
    ) -> Line:
        members = family.members if family else ()
        its = shape(self._config, connection, members, paths.count, turn.world.patched)
        if family is None:
            return Line(its)
        homes = self._homes.setdefault(family.key, Homes(self._config.links))
        one = None if its.per_path else first(members)
        tunnels = homes.see(members, paths, one, its.limit, turn.now, slots, before)
        return Line(its, tunnels, before)

    @property
    def all(self) -> tuple[Line, ...]:
        return (self.own, self.heir) if self.heir.tunnels else (self.own,)

    @property
    def tunnels(self) -> tuple[Tunnel, ...]:
        """Of both."""
        return (*self.own.tunnels, *self.heir.tunnels)

    def configure(self, config: ConnectionConfig) -> None:
        """Another configuration holds."""
        self._config = config
        for homes in self._homes.values():
            homes.configure(config.links)

    def open(
        self, turn: Turn, children: Children, paths: Paths, templates: Sequence[ChildTemplate]
    ) -> None:
        """Children of both."""
        for it in self.all:
            if it.shape.word != "passive":
                children.step(turn, it.tunnels, paths, it.shape, templates, it.before)

    def grow(self, turn: Turn, growth: Growth, paths: Paths) -> None:
        """The last of them: what is followed needs no more members."""
        it = self.all[-1]
        if it.shape.word != "passive":
            growth.step(turn, it.tunnels, paths, it.shape, it.before)

    def ripe(
        self,
        turn: Turn,
        growth: Growth,
        children: Children,
        paths: Paths,
        templates: Sequence[ChildTemplate],
    ) -> bool:
        """The heir has all that it can have now."""
        heir, peer = self.heir, children.peer
        missing = growth.missing(heir.tunnels, paths, heir.shape, heir.before) > 0
        refused = turn.book.failure(("clone", peer)) is not None
        closed = children.missing(heir.tunnels, heir.shape, templates)
        moves = [turn.book.under_way(("move", peer, t.ike_id)) for t in heir.tunnels]
        return bool(heir.tunnels) and not (closed or any(moves) or (missing and not refused))

    def rename(self, old_id: int, new_id: int) -> None:
        for homes in self._homes.values():
            homes.rename(old_id, new_id)

    def reset(self) -> None:
        """charon is gone; what each was is seen again."""
        self.own = Line(self.own.shape)
        self.heir = self.own
