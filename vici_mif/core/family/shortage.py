# SPDX-License-Identifier: Apache-2.0
"""A family has fewer inner addresses than tunnels are wanted, as fewer were asked for. Pure.

They are asked for once, in IKE_AUTH (RFC 7296, 2.19): where there are more links later than the
family and its spares can have tunnels, another family has to ask. Where the peer gave less than it
was asked for, asking again would not help.
"""

from __future__ import annotations

from collections.abc import Iterable

from vici_mif.core.family.family import Family, families, slots_of
from vici_mif.core.model import Sa


class Shortage:
    """What each family of a peer was asked for."""

    def __init__(self) -> None:
        self._asked: dict[int, int] = {}
        self._tunnels = 0

    def see(self, sas: Iterable[Sa], tunnels: int, spares: int) -> None:
        """`tunnels`: with an inner address each, so that each link has one; 0: they share one.

        A family that somebody else authenticated is taken for one that was asked for all.
        """
        self._tunnels = tunnels
        seen = {f.key: self._asked.get(f.key, tunnels + spares) for f in families(sas)}
        newer = {key: n for key, n in self._asked.items() if key > max(seen, default=0)}
        self._asked = seen | newer

    def asked(self, family: int, addresses: int) -> None:
        """It was authenticated by us, with that many of each IP version."""
        self._asked[family] = addresses

    def of(self, family: Family) -> bool:
        """Whether another one would get more."""
        return family.clones and self._asked[family.key] <= _given(family) < self._tunnels

    def stays(self, family: Family, heir: Family) -> bool:
        """The heir, which asked for more, got no more: the family would only be made smaller."""
        if heir.clones and _given(heir) > _given(family):
            return False
        self._asked[family.key] = max(self._asked[family.key], self._asked[heir.key])
        return True

    def reset(self) -> None:
        """charon is gone: its numbers begin anew."""
        self._asked.clear()


def _given(family: Family) -> int:
    return len(slots_of(family.vips))
