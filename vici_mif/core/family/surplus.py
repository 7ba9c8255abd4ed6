# SPDX-License-Identifier: Apache-2.0
"""IKE_SAs of a connection that nobody needs: a crash in mid-clone, an answer that came late.

Only what carries nothing is closed, and only after it has been useless for a while: a family
that is being built looks the same for a moment. Where the operator wants fewer tunnels than there
are, those without a home go, too: first those that were used least, never the last that carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vici_mif.core.family.closing import Closing
from vici_mif.core.family.family import Tunnel
from vici_mif.core.family.mode import Shape
from vici_mif.core.model import Sa
from vici_mif.core.turn import Turn

SURPLUS_DELAY = 30.0
"""Seconds without a use."""


class Surplus:
    """Since when which SA of a peer has had no use."""

    def __init__(self, closing: Closing) -> None:
        self._closing = closing
        self._since_at: dict[int, float] = {}
        self.shrunk = False
        """The configuration has changed: tunnels with children may be too many."""

    def step(self, turn: Turn, sas: Iterable[Sa], tunnels: Sequence[Tunnel], shape: Shape) -> None:
        idle = {sa.unique_id: sa for sa in self._useless(sas, tunnels, shape)}
        self._since_at = {i: self._since_at.get(i, turn.now) for i in idle}
        for ike_id, since_at in self._since_at.items():
            if turn.now >= since_at + SURPLUS_DELAY:
                self._closing.terminate(turn, [idle[ike_id]])
            turn.wake(since_at + SURPLUS_DELAY)

    def _useless(self, sas: Iterable[Sa], tunnels: Sequence[Tunnel], shape: Shape) -> list[Sa]:
        members = {t.ike_id for t in tunnels}
        beside = [sa for sa in sas if sa.unique_id not in members]
        spares = [t for t in tunnels if t.home is None]
        if self.shrunk:
            spares.sort(key=_used, reverse=True)
        excess = spares[shape.spares :]
        self.shrunk = self.shrunk and bool(excess)
        useless = [sa for sa in (*beside, *(t.sa for t in excess)) if _ours_and_empty(sa)]
        return useless + (self._excess(excess, tunnels) if self.shrunk else [])

    @staticmethod
    def _excess(excess: Sequence[Tunnel], tunnels: Sequence[Tunnel]) -> list[Sa]:
        """Tunnels that carry, while another one carries beside them."""
        stays = any(t.carries for t in tunnels if t not in excess)
        return [t.sa for t in excess if t.sa.children and t.movable] if stays else []


def _used(tunnel: Tunnel) -> int:
    return sum(c.packets_in + c.packets_out for c in tunnel.sa.children)


def _ours_and_empty(sa: Sa) -> bool:
    return sa.established and sa.original_initiator and not sa.children
