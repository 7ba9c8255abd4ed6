# SPDX-License-Identifier: Apache-2.0
"""Whether a peer still knows a family: what was heard of its members, and what was asked in vain.

A gateway that was restarted has forgotten all SAs, answers nothing of theirs, and tells nobody
(RFC 7296, 2.4: what is not protected is only a hint). A host that is cut off looks the same, so
this is no more than a reason to ask by a new IKE_SA_INIT, which the one answers and the other
does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vici_mif.core.model import Sa

SILENT_DELAY = 12.0
"""Seconds in which no member was heard of: longer than moving to any path takes."""


@dataclass(slots=True)
class Silence:
    """Of one family."""

    _heard_at: float = 0.0
    _vain: bool = False
    nobody: bool = False
    """The peer deleted a member, and no other one answered."""
    _packets: dict[int, int] = field(default_factory=dict)
    _asking: set[int] = field(default_factory=set)

    def see(self, members: Sequence[Sa], now: float) -> None:
        """A member that is new, into which packets came, or whose exchange ended, was heard of."""
        before, asking = self._packets, self._asking
        self._packets = {
            sa.unique_id: sum(child.packets_in for child in sa.children) for sa in members
        }
        self._asking = {sa.unique_id for sa in members if sa.tasks_active}
        ended = asking & self._packets.keys() - self._asking  # unanswered, it would be repeated
        if ended or any(count > before.get(i, -1) for i, count in self._packets.items()):
            self.heard(now)

    def heard(self, now: float) -> None:
        """A move or a test was answered."""
        self._heard_at, self._vain, self.nobody = now, False, False

    def unanswered(self, *, nobody: bool = False) -> None:
        """A move or a test was not, with all its transmissions."""
        self._vain, self.nobody = True, self.nobody or nobody

    def lasts(self, since: float) -> bool:
        """Nothing was heard since then."""
        return self._heard_at < since

    @property
    def suspect_at(self) -> float | None:
        """From when on the peer may have forgotten the family; None as long as nothing says so."""
        if not self._vain:
            return None
        return self._heard_at + (0.0 if self.nobody else SILENT_DELAY)
