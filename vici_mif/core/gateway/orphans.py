# SPDX-License-Identifier: Apache-2.0
"""IKE_SAs that nobody at the other end knows any more.

A peer that crashed leaves them, and they hold leases and count for its limit. One through which
nothing came between two looks at everything is asked; it is closed when nothing is answered for
long, sooner where the same peer is heard elsewhere. charon closes a family itself when its
authentication runs out.
"""

from __future__ import annotations

from dataclasses import dataclass

from vici_mif.core.actions import AskPeer, Terminate
from vici_mif.core.gateway.families import Families, Family
from vici_mif.core.model import Sa
from vici_mif.core.requests import Key
from vici_mif.core.turn import Turn

QUIET_DELAY = 60.0
"""Seconds between two looks that can be compared."""

ORPHAN_DELAY = 120.0
"""Seconds without an answer, where another member of the family is heard."""

LOST_DELAY = 3600.0
"""Seconds without an answer of any member: a laptop sleeps no shorter than that, mostly."""

MOST_ASKED = 16


@dataclass(slots=True)
class Quiet:
    """One that said nothing."""

    since_at: float | None = None
    """When it did not answer first; None: it was not asked yet."""
    last_at: float = 0.0
    """When it did not answer last."""


class Orphans:
    """Those that are quiet, and how long."""

    def __init__(self) -> None:
        self._heard: dict[int, int] = {}
        """Bytes that had come in, by unique id, at the last look."""
        self._heard_at: float | None = None
        self._quiet: dict[int, Quiet] = {}

    def forget(self) -> None:
        self._heard, self._heard_at = {}, None
        self._quiet.clear()

    def looked(self, families: Families, now: float) -> None:
        """Everything was read: who sent nothing since the last time?"""
        if self._heard_at is not None and now - self._heard_at < QUIET_DELAY:
            return
        before, self._heard = self._heard, {}
        for family in families.all():
            for ike_id, sa in family.members.items():
                self._heard[ike_id] = received = _received(sa)
                if before.get(ike_id) == received:
                    self._quiet.setdefault(ike_id, Quiet())
                else:
                    self._quiet.pop(ike_id, None)
        self._heard_at = now

    def answered(self, ike_id: int) -> None:
        """It lives."""
        self._quiet.pop(ike_id, None)

    def unanswered(self, turn: Turn, ike_id: int, reason: str) -> None:
        """Any other end than no answer tells nothing."""
        quiet = self._quiet.get(ike_id)
        if quiet is not None and reason == "timeout":
            quiet.last_at = turn.now
            if quiet.since_at is None:
                quiet.since_at = turn.now

    def act(self, turn: Turn, families: Families) -> None:
        if not self._quiet or not turn.world.patched:
            return
        room = MOST_ASKED - len(turn.book.about("mute"))
        for ike_id, quiet in list(self._quiet.items()):
            family = families.of(ike_id)
            if family is None:
                del self._quiet[ike_id]
            elif self._is_lost(family, quiet):
                self._close(turn, family, ike_id)
            elif room > 0:
                room -= self._ask(turn, family.members[ike_id])

    def _is_lost(self, family: Family, quiet: Quiet) -> bool:
        if quiet.since_at is None:
            return False
        elsewhere = any(ike_id not in self._quiet for ike_id in family.members)
        delay = ORPHAN_DELAY if elsewhere else LOST_DELAY
        return quiet.last_at - quiet.since_at >= delay

    def _ask(self, turn: Turn, sa: Sa) -> bool:
        key: Key = ("mute", sa.unique_id)
        return turn.ask(key, lambda tag: AskPeer(tag, sa.unique_id, sa.local, tries=3))

    def _close(self, turn: Turn, family: Family, ike_id: int) -> None:
        key: Key = ("lost", ike_id)
        if turn.ask(key, lambda tag: Terminate(tag, ike_id, force=True)):
            turn.say(f"gateway: IKE SA #{ike_id} of {family.identity} is closed: no answer")


def _received(sa: Sa) -> int:
    return sum(child.bytes_in for child in sa.children)
