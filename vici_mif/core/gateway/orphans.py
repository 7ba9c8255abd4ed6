# SPDX-License-Identifier: Apache-2.0
"""IKE_SAs that nobody at the other end knows any more.

A peer that crashed leaves them, and they hold leases and count for its limit. One through which
nothing came between two looks at everything is asked: at once where the same peer is heard
elsewhere, else after an hour. Who does not answer is closed by charon, when its retransmissions
come to their end. charon also closes a family when its authentication runs out.
"""

from __future__ import annotations

from vici_mif.core.actions import AskPeer
from vici_mif.core.gateway.families import Families, Family
from vici_mif.core.model import Sa
from vici_mif.core.requests import Key
from vici_mif.core.turn import Turn

QUIET_DELAY = 60.0
"""Seconds between two looks that can be compared."""

LOST_DELAY = 3600.0
"""Seconds in which no member of a family was heard: laptops sleep, and want their tunnels back."""

MOST_ASKED = 16


class Orphans:
    """Those that are quiet, and since when."""

    def __init__(self) -> None:
        self._heard: dict[int, int] = {}
        """Bytes that had come in, by unique id, at the last look."""
        self._heard_at: float | None = None
        self._quiet: dict[int, float] = {}
        """Since when, by unique id."""

    def forget(self) -> None:
        self._heard, self._heard_at = {}, None
        self._quiet.clear()

    def looked(self, families: Families, now: float) -> None:
        """Everything was read: who sent nothing since the last time?"""
        if self._heard_at is not None and now - self._heard_at < QUIET_DELAY:
            return
        before, since_at = self._heard, self._heard_at or now
        self._heard = {}
        for family in families.all():
            for ike_id, sa in family.members.items():
                self._heard[ike_id] = received = _received(sa)
                if before.get(ike_id) == received:
                    self._quiet.setdefault(ike_id, since_at)
                else:
                    self._quiet.pop(ike_id, None)
        self._heard_at = now

    def answered(self, ike_id: int) -> None:
        """It lives."""
        self._quiet.pop(ike_id, None)

    def act(self, turn: Turn, families: Families) -> None:
        """A few at a time."""
        if not self._quiet or not turn.world.patched:
            return
        room = MOST_ASKED - len(turn.book.about("mute"))
        for ike_id in list(self._quiet):
            family = families.of(ike_id)
            if family is None:
                del self._quiet[ike_id]
            elif room > 0 and self._may_ask(turn, family, ike_id):
                room -= self._ask(turn, family.members[ike_id])

    def _may_ask(self, turn: Turn, family: Family, ike_id: int) -> bool:
        """To ask who is away is to close it: charon gives up some minutes later."""
        elsewhere = any(other not in self._quiet for other in family.members)
        due_at = self._quiet[ike_id] + LOST_DELAY
        turn.wake(due_at)
        return elsewhere or due_at <= turn.now

    def _ask(self, turn: Turn, sa: Sa) -> bool:
        key: Key = ("mute", sa.unique_id)
        return turn.ask(key, lambda tag: AskPeer(tag, sa.unique_id, sa.local, tries=3))


def _received(sa: Sa) -> int:
    return sum(child.bytes_in for child in sa.children)
