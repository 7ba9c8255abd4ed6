# SPDX-License-Identifier: Apache-2.0
"""What is only counted of a gateway's families: `status` tells it, nothing is decided upon it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vici_mif.core.gateway.families import family_of
from vici_mif.core.model import Sa, SourceCounts


@dataclass(slots=True)
class Counted:
    """Of one family."""

    members: dict[int, Sa] = field(default_factory=dict)
    """As they were read last."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Refused clones we were told of, by reason. A peer may ask faster than charon tells."""
    refused: int = 0
    """Clones refused to it, by charon's own count."""
    past_in: int = 0
    """Bytes of CHILD_SAs that were replaced or went."""
    past_out: int = 0

    @property
    def rx_bytes(self) -> int:
        return self.past_in + sum(c.bytes_in for sa in self.members.values() for c in sa.children)

    @property
    def tx_bytes(self) -> int:
        return self.past_out + sum(c.bytes_out for sa in self.members.values() for c in sa.children)

    def take(self, sa: Sa) -> None:
        before = self.members.get(sa.unique_id)
        self.members[sa.unique_id] = sa
        self._keep(before)

    def leave(self, unique_id: int) -> None:
        self._keep(self.members.pop(unique_id, None))

    def _keep(self, before: Sa | None) -> None:
        """What is not there any more was counted all the same. A rekeyed IKE_SA hands on its
        children."""
        if before is None or not before.children:
            return
        kept = {child.unique_id for sa in self.members.values() for child in sa.children}
        for child in before.children:
            if child.unique_id not in kept:
                self.past_in += child.bytes_in
                self.past_out += child.bytes_out


class Counts:
    """Of all families, since charon was reached."""

    def __init__(self) -> None:
        self.sources = SourceCounts()
        self.read_at: float | None = None
        """When everything was read last."""
        self.refused = 0
        """Clones refused to all of them; only grows while charon is there."""
        self._by_family: dict[int, Counted] = {}
        self._of: dict[int, int] = {}

    def of(self, family: int) -> Counted:
        return self._by_family.get(family) or Counted()

    def see(self, sa: Sa) -> None:
        """As it is now."""
        number = family_of(sa)
        if self._of.get(sa.unique_id, number) != number:
            self.gone(sa.unique_id)
        counted = self._by_family.setdefault(number, Counted())
        counted.take(sa)
        self._of[sa.unique_id] = number
        self._refused(counted, sa.clones_refused)

    def gone(self, unique_id: int) -> None:
        number = self._of.pop(unique_id, None)
        if number is None:
            return
        counted = self._by_family[number]
        counted.leave(unique_id)
        if not counted.members:
            del self._by_family[number]

    def refuse(self, unique_id: int, reason: str, count: int) -> bool:
        """A clone was refused to a member: whether it is the first of its family for that."""
        counted = self._by_family[self._of[unique_id]]
        counted.refusals[reason] += 1
        self._refused(counted, max(count, counted.refusals.total()))
        return counted.refusals[reason] == 1

    def forget(self) -> None:
        """charon went: the next one counts from nothing."""
        self._by_family.clear()
        self._of.clear()
        self.refused = 0

    def _refused(self, counted: Counted, refused: int) -> None:
        self.refused += max(0, refused - counted.refused)
        counted.refused = max(counted.refused, refused)
