# SPDX-License-Identifier: Apache-2.0
"""A NAT that forgot: IKE is answered on a path, and the tunnel's own packets are not.

With MOBIKE the peer sends ESP to the port it was told last, whatever port our requests come
from (RFC 4555, 3.8). A NAT that gave a new one therefore lets IKE pass and no tunnel, until an
UPDATE_SA_ADDRESSES from this end. Where the silence has another reason it changes nothing, so
it is repeated after the book's back-off only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from vici_mif.core.actions import Migrate
from vici_mif.core.model import Sa
from vici_mif.core.requests import Key
from vici_mif.core.turn import Turn

IDLE_DELAY = 60.0
"""Seconds that a tunnel into which nothing is sent may be still: that is mostly how it should be,
and a NAT that forgot stops what the peer wants to send."""

IDLE = "nothing is sent"
TOLD = "the peer was told"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Tells the peer of one connection again where its tunnels are."""

    peer: str

    def still(self, turn: Turn, ike_ids: Iterable[int], *, idle: bool = False) -> None:
        """IKE was answered where these are, and nothing came out of them. `idle`: nor was
        anything sent into them. What is not watched and stands there, too, shares the NAT."""
        sas, still = turn.world.named(self.peer), set(ike_ids)
        pairs = {sa.pair for sa in sas if sa.unique_id in still}
        for sa in sas:
            movable = sa.established and sa.mobike and sa.original_initiator
            if sa.pair in pairs and sa.nat_local and movable:
                self._tell(turn, sa, idle)

    def _tell(self, turn: Turn, sa: Sa, idle: bool) -> None:
        moving = turn.book.under_way(("move", self.peer, sa.unique_id)) is not None
        if self._is_time(turn, sa.unique_id, idle) and not moving:
            make = partial(Migrate, ike_id=sa.unique_id, pair=sa.pair, pin_delay=0)
            turn.ask(("update", self.peer, sa.unique_id), make)
            self._wait(turn, sa.unique_id, idle)

    def _is_time(self, turn: Turn, ike_id: int, idle: bool) -> bool:
        before = turn.book.failure(self._key(ike_id))
        if idle and before is None:
            self._wait(turn, ike_id, idle)
        elif not idle and before is not None and before.reason == IDLE:
            turn.book.forgive(self._key(ike_id))
        return turn.book.free(self._key(ike_id), turn.now)

    def _wait(self, turn: Turn, ike_id: int, idle: bool) -> None:
        reason, delay = (IDLE, IDLE_DELAY) if idle else (TOLD, None)
        turn.book.fail(self._key(ike_id), turn.now, reason, delay=delay)

    def heard(self, turn: Turn, ike_id: int) -> None:
        """Something came out of the tunnel."""
        turn.book.forgive(self._key(ike_id))

    def _key(self, ike_id: int) -> Key:
        """Under which it waits; that the peer answered does not say that it helped."""
        return ("mapping", self.peer, ike_id)
