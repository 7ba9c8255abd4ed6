# SPDX-License-Identifier: Apache-2.0
"""Taking a peer down, and telling who closed an IKE_SA.

What the peer closes is healed. What is closed from this end and not by us was closed by the
operator (`swanctl --terminate`): that is an order, once no member is left. charon that shuts
down closes its SAs too: then it goes within a moment, and nothing was ordered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from vici_mif.core.actions import ReadAll, ReadSa, Terminate
from vici_mif.core.model import Order, OrderKind, Sa
from vici_mif.core.turn import Turn

SUSPECT_DELAY = 1.0
"""Seconds to wait whether the other members, or charon itself, go as well."""

FORCE_DELAY = 3.0
"""Seconds for the peer to confirm a deletion."""

GONE_DELAY = 1.0
"""Seconds between two looks at an IKE_SA that is closing: its end has no event of its own."""

FIRST_GONE_DELAY = 0.1
"""Seconds until the first of these looks: mostly it is gone by then."""

EXPIRY_DELAY = 5.0
"""An SA this close to its end was closed by charon and not by the operator."""

DELETE = "IKE_DELETE"


@dataclass(slots=True)
class Closing:
    """What is known about SAs of one peer that go."""

    peer: str
    _asked_at: dict[int, float] = field(default_factory=dict)
    """SAs we closed, and when it was asked last."""
    _looked_at: dict[int, float] = field(default_factory=dict)
    _suspect_at: float | None = None
    _given: str = ""

    def terminate(self, turn: Turn, sas: Iterable[Sa], *, replaced: bool = False) -> None:
        """Close these; what a silent peer keeps alive is closed without its answer.

        `replaced`: others carry what these did, so nothing is sent on them any more.
        """
        for ike_id in [sa.unique_id for sa in sas]:
            first = ike_id not in self._asked_at
            if first or turn.now >= self._asked_at[ike_id] + FORCE_DELAY:
                self.terminate_one(turn, ike_id, force=not first, replaced=replaced)
            turn.wake(self._asked_at[ike_id] + FORCE_DELAY)

    def abandon(self, turn: Turn, ike_ids: Iterable[int]) -> None:
        """Close without waiting for a peer that does not answer."""
        for ike_id in ike_ids:
            self.terminate_one(turn, ike_id, force=True)

    def terminate_one(
        self, turn: Turn, ike_id: int, *, force: bool, replaced: bool = False
    ) -> None:
        self._asked_at[ike_id] = turn.now
        make = partial(Terminate, ike_id=ike_id, force=force, replaced=replaced)
        turn.ask(("terminate", self.peer, ike_id), make)

    def closed(self, sa: Sa, now: float, given: str = "") -> None:
        """An SA went down."""
        if sa.unique_id not in self._asked_at and DELETE in sa.tasks_active and not expiring(sa):
            self._suspect_at = now
            self._given = given

    def suspects(self, turn: Turn, sas: Iterable[Sa]) -> bool:
        """True while it is open whether an operator took the peer down: heal nothing yet."""
        if self._suspect_at is None:
            return False
        due_at = self._suspect_at + SUSPECT_DELAY
        if turn.now < due_at:
            turn.wake(due_at)
            return True
        if turn.world.sas_at < due_at:
            turn.ask(("read", self.peer), ReadAll)
            return True
        self._suspect_at = None
        if not any(sa.established for sa in sas):
            self._order(turn)
        return False

    def _order(self, turn: Turn) -> None:
        order = Order(0, OrderKind.DOWN, self.peer, self._given, "swanctl")
        turn.world.orders = turn.world.orders.add(order)
        turn.say(
            f"{self.peer}: its IKE SAs were terminated by hand; it stays down until "
            f"`vici-mif up {self.peer}`",
            "warning",
        )

    def watch(self, turn: Turn, sas: Iterable[Sa]) -> None:
        """Look after closing SAs until charon says that they are gone."""
        closing = [sa.unique_id for sa in sas if sa.closing]
        first = turn.now - GONE_DELAY + FIRST_GONE_DELAY
        self._looked_at = {i: self._looked_at.get(i, first) for i in closing}
        for ike_id, looked_at in list(self._looked_at.items()):
            if turn.now >= looked_at + GONE_DELAY:
                self._looked_at[ike_id] = turn.now
                turn.ask(("look", self.peer, ike_id), partial(ReadSa, ike_id=ike_id))
            turn.wake(self._looked_at[ike_id] + GONE_DELAY)

    def reset(self) -> None:
        """charon is gone, and what it closed on its way is no order."""
        self._suspect_at = None
        self._asked_at.clear()
        self._looked_at.clear()


def expiring(sa: Sa) -> bool:
    """charon ends it by itself: its time is over."""
    ends = [at for at in (sa.rekey_delay, sa.reauth_delay) if at is not None]
    return any(at <= EXPIRY_DELAY for at in ends)
