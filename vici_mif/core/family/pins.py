# SPDX-License-Identifier: Apache-2.0
"""Pins are leases: while one lasts, charon's own roaming leaves the IKE_SA to us.

They run out by themselves, so a killed controller leaves a host that roams by stock rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from vici_mif.core.actions import Migrate, Unpin
from vici_mif.core.family.family import Tunnel
from vici_mif.core.paths.paths import Paths
from vici_mif.core.turn import Turn

PIN_DELAY = 30
"""Seconds one lease lasts."""

RENEW_DELAY = 10.0
"""Seconds after which it is renewed: two renewals may be lost."""


class Pins:
    """When each IKE_SA was pinned last."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._renewed_at: dict[int, float] = {}
        self._given_back: set[int] = set()

    def renewed(self, ike_id: int, now: float) -> None:
        self._renewed_at[ike_id] = now

    def forget(self, ike_id: int) -> None:
        """Gone, or rekeyed: then the new number is pinned at once."""
        self._renewed_at.pop(ike_id, None)

    def forget_all(self) -> None:
        self._renewed_at.clear()

    def step(self, turn: Turn, tunnels: Iterable[Tunnel], paths: Paths) -> None:
        """Renew what is due. To the pair an SA is on, `migrate` sends nothing."""
        for tunnel in tunnels:
            if tunnel.movable and self._stands(turn, tunnel, paths):
                self._renew(turn, tunnel)

    def _stands(self, turn: Turn, tunnel: Tunnel, paths: Paths) -> bool:
        path = paths.get(tunnel.current)
        moving = turn.book.under_way(("move", self._peer, tunnel.ike_id))
        return path is not None and path.pair is not None and moving is None

    def _renew(self, turn: Turn, tunnel: Tunnel) -> None:
        due_at = self._renewed_at.get(tunnel.ike_id, turn.now - RENEW_DELAY) + RENEW_DELAY
        if turn.now < due_at:
            turn.wake(due_at)
            return
        turn.ask(
            ("pin", self._peer, tunnel.ike_id),
            lambda tag: Migrate(tag, tunnel.ike_id, tunnel.sa.pair, PIN_DELAY),
        )

    def give_back(self, turn: Turn, tunnels: Iterable[Tunnel]) -> None:
        """We stop and the tunnels stay: charon roams them from now on."""
        for ike_id in [t.ike_id for t in tunnels if t.movable and t.ike_id not in self._given_back]:
            self._given_back.add(ike_id)
            turn.ask(("unpin", self._peer, ike_id), partial(Unpin, ike_id=ike_id))
