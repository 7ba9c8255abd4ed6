# SPDX-License-Identifier: Apache-2.0
"""What a peer's delete of one member may say about the others.

A gateway that shuts down tells only the members whose windows are free (RFC 7296, 2.3): those on
which it has an exchange outstanding are forgotten without a word. One that deletes a member on
purpose keeps the others. So those with a home are asked, each by one empty exchange, as where a
tunnel is silent. Where none of them answers, no path is known to work: to move from one to the
next would only take time.
"""

from __future__ import annotations

from collections.abc import Iterable

from vici_mif.core.family.closing import DELETE
from vici_mif.core.family.family import Tunnel
from vici_mif.core.model import Sa
from vici_mif.core.paths.path import PathFact
from vici_mif.core.paths.paths import Paths
from vici_mif.core.seats.moves import Moves
from vici_mif.core.turn import Turn

HINT_DELAY = 0.1
"""Seconds in which a peer that deletes them all tells of the others: these need no question."""

CALM_DELAY = 5.0
"""Seconds between two rounds of questions: a peer may delete one member after the other."""

NOBODY = "the peer deleted an IKE SA, and no other one answers"

PATIENCE = 15.0
"""Seconds in which a member is asked again whose window is not free."""


class Suspicion:
    """Of the members of one peer's family."""

    def __init__(self) -> None:
        self._family: int | None = None
        self._ask_at: float | None = None
        self._calm_at = 0.0
        self._open: dict[int, float] = {}
        """Whose answer is missing, and until when it is waited for."""
        self._begun_at = 0.0
        self._heard = False
        """A member answered since then."""

    def closed(self, sa: Sa, now: float) -> None:
        """A member went down: by whom is in its tasks."""
        self._open.pop(sa.unique_id, None)
        if DELETE in sa.tasks_passive and self._ask_at is None:
            self._family = sa.family
            self._ask_at = max(now + HINT_DELAY, self._calm_at)

    def waits(self, now: float) -> bool:
        """Nothing may be asked of the others before this: what is not answered fills a window."""
        return self._ask_at is not None and now < self._ask_at <= now + HINT_DELAY

    def step(
        self,
        turn: Turn,
        tunnels: Iterable[Tunnel],
        paths: Paths,
        moves: Moves,
        answering: Iterable[int],
    ) -> None:
        """`answering`: IKE_SAs inside which something answers; these need no question."""
        known = {t.ike_id: t for t in tunnels if t.movable and t.home is not None}
        self._begin(turn, known.values(), answering)
        self._open = {i: at for i, at in self._open.items() if i in known and turn.now < at}
        for ike_id in self._open:
            path = paths.get(known[ike_id].current)
            if path is not None and path.pair is not None and not moves.moving(turn, ike_id):
                moves.test(turn, paths, ike_id, path.name)

    def _begin(self, turn: Turn, tunnels: Iterable[Tunnel], answering: Iterable[int]) -> None:
        if self._ask_at is None:
            return
        if turn.now < self._ask_at:
            turn.wake(self._ask_at)
            return
        self._ask_at, self._calm_at = None, turn.now + CALM_DELAY
        members = {t.ike_id for t in tunnels if t.sa.family == self._family}
        asked = members.difference(answering)
        self._begun_at, self._heard = turn.now, asked != members
        self._open = dict.fromkeys(sorted(asked), turn.now + PATIENCE)

    def answered(self, ike_id: int) -> None:
        """It lives."""
        self._heard |= self._open.pop(ike_id, None) is not None

    def unanswered(self, turn: Turn, paths: Paths, ike_id: int) -> bool:
        """It did not answer, with all transmissions: whether nobody does."""
        asked = self._open.pop(ike_id, None) is not None
        if not asked or self._open or self._heard:
            return False
        for path in paths.usable():
            if (paths.tested_at(path.name) or 0.0) < self._begun_at:
                paths.fact(path.name, PathFact.TEST_FAILED, turn.now, NOBODY)
        return True

    def rename(self, old_id: int, new_id: int) -> None:
        if old_id in self._open:
            self._open[new_id] = self._open.pop(old_id)

    def reset(self) -> None:
        """charon is gone with all of them."""
        self._ask_at = None
        self._open.clear()
