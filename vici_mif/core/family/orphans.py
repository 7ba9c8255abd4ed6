# SPDX-License-Identifier: Apache-2.0
"""Tunnels whose home is gone for good: a modem was unplugged, another one has another name.

Only links that are matched by a pattern come under new names, again and again. When all seats are
taken and a link of the same pattern appears, it gets the seat of one that has long been away. The
tunnel itself stays, with its child and its inner address: it becomes a spare, or moves there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vici_mif.core.family.family import home_of
from vici_mif.core.model import PathName, Sa
from vici_mif.core.paths.paths import Paths
from vici_mif.core.wish.links import LinkMatch

GONE_DELAY = 600.0
"""Seconds without its link after which a home may be given up: a modem that is reset, a train
in a tunnel and a reboot of a router in between take minutes."""


class Orphans:
    """What is known about homes without a link."""

    def __init__(self, links: Sequence[LinkMatch]) -> None:
        self._links = links
        self._gone_at: dict[PathName, float] = {}
        self._lost: dict[int, PathName] = {}
        """Homes that stand in a child's name and hold no more."""

    def configure(self, links: Sequence[LinkMatch]) -> None:
        """Other links are configured now."""
        self._links = links

    def rename(self, old_id: int, new_id: int) -> None:
        if old_id in self._lost:
            self._lost[new_id] = self._lost.pop(old_id)

    def has(self, ike_id: int) -> bool:
        """This tunnel was at home somewhere and may be in use."""
        return ike_id in self._lost

    def home(self, sa: Sa) -> PathName | None:
        """The home in the child's name, unless it was given up."""
        home = home_of(sa)
        return None if home == self._lost.get(sa.unique_id) else home

    def see(
        self,
        homes: Mapping[int, PathName],
        members: Sequence[Sa],
        paths: Paths,
        limit: int,
        now: float,
    ) -> dict[int, PathName]:
        """The homes that still hold."""
        self._lost = {i: p for i, p in self._lost.items() if i in {m.unique_id for m in members}}
        absent = {p for p in homes.values() if (there := paths.get(p)) is None or not there.pair}
        self._gone_at = {p: self._gone_at.get(p, now) for p in absent}
        kept = {i: p for i, p in homes.items() if not self._moved_on(i, homes, members, paths)}
        for new in [p.name for p in paths.best() if p.name not in kept.values()]:
            old = self._given_up(new, kept, now) if len(kept) >= limit else None
            if old is not None:
                self._lost[old] = kept.pop(old)
        return kept

    def _given_up(self, new: PathName, homes: Mapping[int, PathName], now: float) -> int | None:
        """The tunnel that has been away longest from a link of the same pattern."""
        pattern = self.pattern(new.link)
        long = {
            i: self._gone_at[p]
            for i, p in homes.items()
            if p in self._gone_at and now >= self._gone_at[p] + GONE_DELAY
            if pattern is not None and self.pattern(p.link) == pattern
        }
        return min(long, key=lambda i: long[i], default=None)

    def pattern(self, link: str) -> str | None:
        """The pattern that alone matches this link; None where it is named exactly."""
        fitting = [match for match in self._links if match.fits(link)]
        exact = any(match.exact for match in fitting)
        return fitting[0].match if fitting and not exact else None

    def _moved_on(
        self, ike_id: int, homes: Mapping[int, PathName], members: Sequence[Sa], paths: Paths
    ) -> bool:
        """After a restart: it stands, alone, where a link of its pattern is; its own is not."""
        sa = next(m for m in members if m.unique_id == ike_id)
        here, home = paths.of(sa.pair), homes[ike_id]
        if here is None or paths.get(home) is not None or here in homes.values():
            return False
        pattern = self.pattern(home.link)
        if pattern is None or self.pattern(here.link) != pattern:
            return False
        self._lost[ike_id] = home
        return True
