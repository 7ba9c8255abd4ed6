# SPDX-License-Identifier: Apache-2.0
"""How long a tunnel was without a path that works. Pure.

From the moment at which its path is known to have failed until the tunnel of that home carries on
one that works: there again, elsewhere, or in a family that was authenticated anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from vici_mif.core.family.family import Tunnel
from vici_mif.core.health.tally import Histogram
from vici_mif.core.model import PathName
from vici_mif.core.paths.path import PathState
from vici_mif.core.peers.peer import Peer
from vici_mif.core.world import World

BOUNDS = (0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 180.0)
"""Seconds. 165 s is what charon takes by itself with its default retransmission."""

LINK, SILENT, REFUSED = "link", "silent", "refused"
REASONS = (LINK, SILENT, REFUSED)
"""The link or its address went; nothing is answered; the peer does not accept the addresses."""

Broken = tuple[float, str]
"""Since when, and why."""


class Failovers:
    """Of one peer."""

    def __init__(self) -> None:
        self.durations = Histogram(BOUNDS)
        self.reasons: Counter[str] = Counter()
        self._broken: dict[PathName, Broken] = {}

    def step(self, peer: Peer, world: World, now: float) -> None:
        """After each turn of the planner."""
        if peer.retired or world.orders.down(peer.name) is not None:
            self._broken.clear()  # somebody wanted it so
            return
        for tunnel in peer.tunnels:
            if tunnel.home is not None and tunnel.carries:
                self._look(peer, tunnel, tunnel.home, now)

    def _look(self, peer: Peer, tunnel: Tunnel, home: PathName, now: float) -> None:
        found = broken(peer, tunnel, now)
        if found is not None:
            self._broken.setdefault(home, found)
            return
        before = self._broken.pop(home, None)
        if before is not None:
            since_at, reason = before
            self.durations.observe(max(0.0, now - since_at))
            self.reasons[reason] += 1


def broken(peer: Peer, tunnel: Tunnel, now: float) -> Broken | None:
    """Since when and why nothing gets through where the tunnel is; None while it does."""
    if tunnel.current is None:
        return now, LINK
    path, life = peer.paths.get(tunnel.current), peer.paths.life(tunnel.current)
    if path is None or path.pair is None:
        return (life.since_at if life.state is PathState.FAILED else now), LINK
    if life.state is PathState.FAILED:
        return life.since_at, SILENT
    if life.state is PathState.DENIED:
        return life.since_at, REFUSED
    return None


class AllFailovers:
    """Of all peers, as long as they are configured."""

    def __init__(self) -> None:
        self._of: dict[str, Failovers] = {}

    def step(self, peers: Mapping[str, Peer], world: World, now: float) -> None:
        self._forget(peers)
        for name, peer in peers.items():
            self._of.setdefault(name, Failovers()).step(peer, world, now)

    def _forget(self, present: Iterable[str]) -> None:
        for name in self._of.keys() - set(present):
            del self._of[name]

    def of(self, peer: str) -> Failovers:
        return self._of.get(peer) or Failovers()
