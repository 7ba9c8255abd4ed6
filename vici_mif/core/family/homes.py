# SPDX-License-Identifier: Apache-2.0
"""Which tunnel is at home where: read from the children's names, else given and remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vici_mif.core.family.family import Tunnel, is_called_spare, used_slots
from vici_mif.core.family.orphans import Orphans
from vici_mif.core.model import PathName, Sa, Slot
from vici_mif.core.paths.paths import Paths
from vici_mif.core.wish.links import LinkMatch


class Homes:
    """Remembers the homes of members whose children do not tell them."""

    def __init__(self, links: Sequence[LinkMatch] = ()) -> None:
        self._homes: dict[int, PathName] = {}
        self._fresh: set[int] = set()
        self._homed: frozenset[int] = frozenset()
        """Who had a home a moment ago: traffic may be on it."""
        self._orphans = Orphans(links)
        self._inherited: list[PathName] = []

    def configure(self, links: Sequence[LinkMatch]) -> None:
        """Other links are configured now."""
        self._orphans.configure(links)

    def rename(self, old_id: int, new_id: int) -> None:
        """Rekeyed: the SA lives on under another number."""
        if old_id in self._homes:
            self._homes[new_id] = self._homes.pop(old_id)
        if old_id in self._fresh:
            self._fresh = self._fresh - {old_id} | {new_id}
        self._orphans.rename(old_id, new_id)

    def see(
        self,
        members: Sequence[Sa],
        paths: Paths,
        carrier: int | None,
        limit: int,
        now: float,
        slots: Sequence[Slot] = (),
        before: Sequence[Tunnel] = (),
    ) -> tuple[Tunnel, ...]:
        """The members as tunnels. `carrier`: mode `one`, this one's home is the best path.

        At most `limit` are given a home, the others are spares. `before`: tunnels that these
        follow, so their homes are given as well while the link is away.
        """
        self._inherited = [t.home for t in before if t.home is not None]
        self._homed = frozenset(self._homes)
        self._homes = self._one_each(members, paths)
        if carrier is not None and paths.first is not None:
            self._give(carrier, paths.first.name)
        self._homes = self._best(paths, limit)
        self._homes = self._orphans.see(self._homes, members, paths, limit, now)
        for sa in sorted(members, key=self._turn):
            if len(self._homes) < limit:
                self._settle(sa, paths)
        tunnels = tuple(
            Tunnel(sa, self._homes.get(sa.unique_id), paths.of(sa.pair), used_slots(sa, slots))
            for sa in members
        )
        self._fresh &= {t.ike_id for t in tunnels if t.current != t.home}
        return tuple(replace(t, fresh=t.ike_id in self._fresh) for t in tunnels)

    def _best(self, paths: Paths, limit: int) -> dict[int, PathName]:
        """One tunnel per home; where fewer are wanted, the best ranked ones keep theirs."""
        rank = {path.name: path.rank for path in paths.all()}
        ordered = sorted(self._homes.items(), key=lambda item: rank.get(item[1], len(rank)))
        first: dict[PathName, int] = {}
        for ike_id, home in ordered:
            first.setdefault(home, ike_id)
        return {ike_id: home for home, ike_id in list(first.items())[:limit]}

    def _turn(self, sa: Sa) -> tuple[bool, bool, bool, int]:
        """Who is given a home first: the first IKE_SA, then what is ready and idle."""
        return sa.cloned, self._orphans.has(sa.unique_id), not sa.children, sa.unique_id

    def _one_each(self, members: Sequence[Sa], paths: Paths) -> dict[int, PathName]:
        """A home was given away, and who had it is back: whose child is named after it has it."""
        found: dict[PathName, int] = {}
        for sa in sorted(members, key=lambda sa: (not self._orphans.home(sa), sa.unique_id)):
            if home := self._known(sa, paths):
                found.setdefault(home, sa.unique_id)
        return {ike_id: home for home, ike_id in found.items()}

    def _known(self, sa: Sa, paths: Paths) -> PathName | None:
        known = (self._orphans.home(sa), self._homes.get(sa.unique_id))
        return next((home for home in known if home and paths.possible(home)), None)

    def _give(self, ike_id: int, home: PathName) -> None:
        """Whoever had this home gets another one."""
        self._homes = {i: h for i, h in self._homes.items() if h != home}
        self._homes[ike_id] = home

    def _settle(self, sa: Sa, paths: Paths) -> None:
        """Where it stands if that is free, else the best free path that has a link.

        A clone without children stands where it was made, not where it belongs.
        """
        if sa.unique_id in self._homes:
            return
        taken = set(self._homes.values())
        free = [p.name for p in paths.best() if p.name not in taken]
        free += [p for p in self._inherited if p in paths and p not in {*taken, *free}]
        here = paths.of(sa.pair)
        if here in free and (sa.children or not sa.cloned):
            self._homes[sa.unique_id] = here
            return
        if free:
            self._homes[sa.unique_id] = free[0]
            self._fresh |= {sa.unique_id} if self._is_idle(sa) else set()

    def _is_idle(self, sa: Sa) -> bool:
        """A spare until now: nothing was led to it."""
        seated = sa.unique_id in self._homed or self._orphans.has(sa.unique_id)
        return is_called_spare(sa) and not seated
