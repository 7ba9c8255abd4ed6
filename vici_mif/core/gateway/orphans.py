# SPDX-License-Identifier: Apache-2.0
"""IKE_SAs that nobody at the other end knows any more.

A peer that crashed leaves them, and they hold leases and count for its limit. One through which
nothing came between two looks at everything is asked: at once where the same peer is heard
elsewhere, else after an hour. Who does not answer is closed by charon, when its retransmissions
come to their end. charon also closes a family when its authentication runs out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from vici_mif.core.actions import AskPeer
from vici_mif.core.gateway.families import Families
from vici_mif.core.model import Sa
from vici_mif.core.requests import Key
from vici_mif.core.turn import Turn

LOST_DELAY = 3600.0
"""Seconds in which no member of a family was heard: laptops sleep, and want their tunnels back."""

MOST_ASKED = 16


class Orphans:
    """Those that are quiet, and since when."""

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._quiet: dict[int, float] = {}
        """Since when, by unique id."""
        self._due: deque[int] = deque()
        """Who is to be asked."""
        self._sort_at: float | None = None
        """When the quiet ones are to be sorted again: there may be thousands."""

    def forget(self) -> None:
        self._looked_at = self._sort_at = None
        self._quiet.clear()
        self._due.clear()

    def looked(self, quiet: Iterable[int], now: float) -> None:
        """Everything was read: through these nothing came since the last time."""
        since_at = now if self._looked_at is None else self._looked_at
        self._quiet = {number: self._quiet.get(number, since_at) for number in quiet}
        self._looked_at = self._sort_at = now

    def answered(self, ike_id: int) -> None:
        """It lives."""
        self._quiet.pop(ike_id, None)

    def act(self, turn: Turn, families: Families) -> None:
        """A few at a time."""
        if not turn.world.patched:
            return
        if self._sort_at is not None and self._sort_at <= turn.now:
            self._sort(families, turn.now)
        room = MOST_ASKED - len(turn.book.about("mute")) if self._due else 0
        while self._due and room > 0:
            sa = families.sa(self._due.popleft())
            room -= sa is not None and self._ask(turn, sa)
        if self._sort_at is not None:
            turn.wake(self._sort_at)

    def _sort(self, families: Families, now: float) -> None:
        """To ask who is away is to close it: charon gives up some minutes later."""
        self._due.clear()
        later = []
        for ike_id, since_at in self._quiet.items():
            family = families.of(ike_id)
            if family is None:
                continue
            heard = any(member not in self._quiet for member in family.members)
            if heard or since_at + LOST_DELAY <= now:
                self._due.append(ike_id)
            else:
                later.append(since_at + LOST_DELAY)
        self._sort_at = min(later, default=None)

    def _ask(self, turn: Turn, sa: Sa) -> bool:
        key: Key = ("mute", sa.unique_id)
        return turn.ask(key, lambda tag: AskPeer(tag, sa.unique_id, sa.local, tries=3))
