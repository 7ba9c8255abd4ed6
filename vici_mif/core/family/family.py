# SPDX-License-Identifier: Apache-2.0
"""The IKE_SAs of one authentication, seen as tunnels: which is at home where.

Truth is read from charon: home from the child's name (`net@eth0/203.0.113.1`), inner addresses
from its selectors. Only what has no child yet is remembered here, and is found again without
that: a childless clone simply takes a free home.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from vici_mif.core.model import Child, IPAddress, PathName, Sa, Slot
from vici_mif.core.selectors import network

SPARE = "spare"
"""Stands in a child's name for the home: no path is called so."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One member of the family with its CHILD_SAs."""

    sa: Sa
    home: PathName | None
    """None: a spare."""
    current: PathName | None
    """None: on an address that is no longer ours."""
    slots: tuple[int, ...]
    """Which of the family's inner addresses its children have."""
    fresh: bool = False
    """A spare that has just been given its home, and stands elsewhere."""

    @property
    def ike_id(self) -> int:
        return self.sa.unique_id

    @property
    def carries(self) -> bool:
        """Traffic may be on it."""
        return any(child.works for child in self.sa.children)

    @property
    def movable(self) -> bool:
        """MOBIKE was agreed, and only the original initiator may move (RFC 4555, 3.3)."""
        return self.sa.mobike and self.sa.original_initiator

    def child(self, template: str) -> Child | None:
        return next((c for c in self.sa.children if template_of(c) == template), None)


def template_of(child: Child) -> str:
    return child.name.partition("@")[0]


def is_called_spare(sa: Sa) -> bool:
    """It was opened as a spare, all of it."""
    return bool(sa.children) and all(c.name.partition("@")[2] == SPARE for c in sa.children)


def home_of(sa: Sa) -> PathName | None:
    """The home written in a child's name."""
    homes = (PathName.parse(c.name.partition("@")[2]) for c in sa.children if "@" in c.name)
    return next((home for home in homes if home), None)


def slots_of(vips: Sequence[IPAddress]) -> tuple[Slot, ...]:
    """The family's inner addresses, one slot per tunnel, in charon's order."""
    by_version = ([a for a in vips if a.version == 4], [a for a in vips if a.version == 6])
    return tuple(tuple(a for a in both if a is not None) for both in zip_longest(*by_version))


def used_slots(sa: Sa, slots: Sequence[Slot]) -> tuple[int, ...]:
    """Slots whose addresses stand in the selectors of the SA's children."""
    nets = [net for c in sa.children for ts in c.local_ts if (net := network(ts))]
    hosts = {net.network_address for net in nets if net.prefixlen == net.max_prefixlen}
    return tuple(i for i, slot in enumerate(slots) if hosts.intersection(slot))


@dataclass(frozen=True, slots=True)
class Family:
    """The established members of one family."""

    members: tuple[Sa, ...]
    """Oldest first."""

    @property
    def key(self) -> int:
        """clone-family: what is authenticated later has a higher one."""
        return self.members[0].family or self.members[0].unique_id

    @property
    def ours(self) -> bool:
        """This end began it, so this end may move it."""
        return self.members[0].original_initiator

    @property
    def clones(self) -> bool:
        return any(sa.clone_supported for sa in self.members)

    @property
    def carrying(self) -> int:
        """Members on which traffic may be."""
        return sum(any(child.works for child in sa.children) for sa in self.members)

    @property
    def vips(self) -> tuple[IPAddress, ...]:
        return self.members[0].local_vips


def families(sas: Iterable[Sa]) -> tuple[Family, ...]:
    """Oldest first."""
    found: dict[tuple[bool, int], list[Sa]] = {}
    for sa in sas:
        if sa.established:
            found.setdefault((sa.family is None, sa.family or sa.unique_id), []).append(sa)
    return tuple(sorted((Family(tuple(m)) for m in found.values()), key=lambda f: f.key))


def strongest(found: Iterable[Family]) -> Family | None:
    """The one that carries most, else the newest."""
    weight = lambda f: (f.carrying, f.clones, max(sa.unique_id for sa in f.members))  # noqa: E731
    return max(found, key=weight, default=None)


def choose(sas: Iterable[Sa]) -> tuple[Sa, ...]:
    """The established members of the family to use."""
    family = strongest(families(sas))
    return family.members if family else ()
