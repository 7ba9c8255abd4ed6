# SPDX-License-Identifier: Apache-2.0
"""Tells the peers their roles, by how they stand beside each other."""

from __future__ import annotations

from collections.abc import Mapping

from vici_mif.core.paths.ranking import quality
from vici_mif.core.peers.alternatives import Alternatives, Rival, protects
from vici_mif.core.peers.peer import Peer
from vici_mif.core.turn import Turn


class Rivalry:
    """All peers of one controller."""

    def __init__(self, peers: Mapping[str, Peer]) -> None:
        self._peers = peers
        self._alternatives = Alternatives()

    def give_roles(self, turn: Turn) -> None:
        """After all have looked at the world, before any of them acts."""
        rivals = [rival(peer, turn) for peer in self._peers.values()]
        for name, role in self._alternatives.see(rivals, turn.now).items():
            self._peers[name].role = role
        for at in self._alternatives.wakes:
            turn.wake(at)

    def order(self, turn: Turn) -> list[Peer]:
        """Whose routes count first."""
        rivals = [rival(peer, turn) for peer in self._peers.values()]
        return [self._peers[name] for name in self._alternatives.order(rivals, turn.now)]


def rival(peer: Peer, turn: Turn) -> Rival:
    """What the others have to know of a peer."""
    states = {path.name: peer.paths.state(path.name) for path in peer.paths.all()}
    sound = [t for t in peer.tunnels if t.current and quality(states[t.current]) == 0]
    untried = any(quality(states[path.name]) < 2 for path in peer.paths.usable())
    refused = turn.book.failure(("auth", peer.name)) is not None
    return Rival(
        peer.name,
        peer.rank,
        protects(peer.templates()),
        peer.config.hold_down,
        wanted=not peer.wants_down(turn),
        carries=any(t.carries for t in sound),
        stands=any(peer.paths.tested_at(t.current) is not None for t in sound if t.current),
        alive=bool(peer.tunnels),
        hopeless=refused or peer.shape.refused or not untried,
        leaves=peer.paths.wholly_drained,
    )
