# SPDX-License-Identifier: Apache-2.0
"""Grows a family: a clone per path that has no tunnel, then spares, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vici_mif.core.actions import Clone, ReadSa
from vici_mif.core.family.family import Tunnel
from vici_mif.core.family.mode import Shape
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import quality
from vici_mif.core.turn import Turn

CLONE_DELAY = 40.0
"""Seconds for one CREATE_CHILD_SA exchange with retransmissions."""

PATIENCE = {"limit": 60.0, "disabled": 60.0, "not-negotiated": 300.0}
"""Seconds to leave a refusal alone that will not change by itself; else the book's back-off."""

ADVICE = {
    "disabled": "charon.clone_ike_sa.max_clones is 0 in strongswan.conf: set it, reload, and "
    "authenticate again",
    "limit": "the family has all the members that this end or the peer grants",
}


class Growth:
    """Clones of one peer."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._key = ("clone", peer)
        self.count = 0
        """Clones made since the start."""
        self.refused: Counter[str] = Counter()
        """Those that did not come, by reason."""

    def step(
        self,
        turn: Turn,
        tunnels: Sequence[Tunnel],
        paths: Paths,
        shape: Shape,
        before: Sequence[Tunnel] = (),
    ) -> None:
        missing = self.missing(tunnels, paths, shape, before)
        if missing <= 0 or (missing <= shape.spares and self._moving(turn, tunnels)):
            return
        parent = self._parent(turn, tunnels, paths)
        if parent is not None:
            ike_id = parent.ike_id
            turn.ask(self._key, lambda tag: Clone(tag, ike_id), CLONE_DELAY)

    @staticmethod
    def _moving(turn: Turn, tunnels: Sequence[Tunnel]) -> bool:
        """A spare is taken at this moment: the one in its place can wait."""
        return any(t.fresh for t in tunnels) or bool(turn.book.about("move"))

    @staticmethod
    def missing(
        tunnels: Sequence[Tunnel], paths: Paths, shape: Shape, before: Sequence[Tunnel] = ()
    ) -> int:
        """How many tunnels paths and spares would take beyond those we have.

        `before`: those of the family that these follow; no inner address is lost.
        """
        homes = {t.home for t in (*tunnels, *before) if t.home is not None}
        wanted = homes | {p.name for p in paths.seats()}
        return min(shape.limit, len(wanted)) + shape.spares - len(tunnels)

    def _parent(self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths) -> Tunnel | None:
        """Any member may be cloned. The first IKE_SA first; after a failure the next one."""
        able = [t for t in tunnels if self._able(turn, t, paths)]
        able.sort(key=lambda t: (t.sa.cloned, t.ike_id))
        if not able:
            return None
        return able[turn.book.failures(self._key) % len(able)]

    def _able(self, turn: Turn, tunnel: Tunnel, paths: Paths) -> bool:
        if tunnel.current is None or not tunnel.sa.clone_supported:
            return False
        moving = turn.book.under_way(("move", self._peer, tunnel.ike_id)) is not None
        return not moving and quality(paths.state(tunnel.current)) < 2

    def done(self, turn: Turn, ike_id: int | None) -> None:
        self.count += 1
        turn.book.forgive(self._key)
        if ike_id is not None and ike_id not in (turn.world.sas or {}):
            turn.ask(("look", self._peer, ike_id), lambda tag: ReadSa(tag, ike_id))

    def failed(self, turn: Turn, reason: str, text: str) -> None:
        self.refused[reason] += 1
        said = ADVICE.get(reason, text or reason)
        turn.book.fail(self._key, turn.now, reason, said, PATIENCE.get(reason))
