# SPDX-License-Identifier: Apache-2.0
"""What operators ordered of one peer: which orders make sense, and revoking seen through.

An order to revoke holds the SPIs of the keys that have to die and is kept until nothing with them
is left, so a controller that dies in between has a successor that goes on. Only what an operator
revoked is closed while it works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vici_mif.core.byhand.progress import unknown
from vici_mif.core.events import OrderCleared, OrderGiven
from vici_mif.core.family.closing import Closing
from vici_mif.core.family.family import Tunnel
from vici_mif.core.model import Order, OrderKind, Sa
from vici_mif.core.orders import covers, means, spis, whole
from vici_mif.core.paths.paths import Paths
from vici_mif.core.turn import Turn
from vici_mif.core.wish.config import ConnectionConfig
from vici_mif.core.world import World


@dataclass(slots=True)
class ByHand:
    """Orders of one peer."""

    peer: str
    closing: Closing

    def refuses(
        self, event: OrderGiven, config: ConnectionConfig, paths: Paths, tunnels: Sequence[Tunnel]
    ) -> str:
        """Why this order cannot be taken; empty where it can."""
        if event.kind in {OrderKind.DRAIN, OrderKind.PREFER}:
            return unknown(event.path, config, [path.name for path in paths.all()])
        if event.kind is OrderKind.REVOKE and event.path and not _homes(tunnels, event.path):
            homes = ", ".join(str(t.home) for t in tunnels if t.home) or "none"
            return f"{self.peer} has no tunnel of '{event.path}'; tunnels: {homes}"
        return ""

    def addressed(self, world: World, event: OrderGiven, tunnels: Sequence[Tunnel]) -> OrderGiven:
        """The order for this peer; what is to be revoked is named by its keys."""
        if event.kind is not OrderKind.REVOKE:
            return replace(event, peer=self.peer)
        meant = _homes(tunnels, event.path) if event.path else world.named(self.peer)
        keys = [spi for sa in meant if not sa.closing for spi in spis(sa)]
        # a clone that is under way has no SPI yet, and its keys come from the ones to be revoked
        families = [] if event.path else sorted({whole(sa) for sa in meant})
        return replace(event, peer=self.peer, spis=(*keys, *families))

    def obey(self, world: World, paths: Paths, now: float) -> None:
        """Tells the paths what is ordered of each."""
        orders, names = world.orders, [path.name for path in paths.all()]
        paths.obey(
            [name for name in names if orders.drain(self.peer, name)],
            [name for name in names if orders.prefer(self.peer, name)],
            now,
        )

    # --- revoking ------------------------------------------------------------

    def doomed(self, world: World) -> tuple[Sa, ...]:
        """What is to be closed and is still there."""
        orders = world.orders.revokes(self.peer)
        return tuple(sa for sa in world.named(self.peer) if any(means(o, sa) for o in orders))

    def spared(self, world: World) -> list[Sa]:
        """All the others."""
        doomed = self.doomed(world)
        return [sa for sa in world.named(self.peer) if sa not in doomed]

    def revoke(self, turn: Turn) -> None:
        """Close what is left; an act of which nothing is left is over."""
        self.closing.terminate(turn, self.doomed(turn.world))
        for order in turn.world.orders.revokes(self.peer):
            if not any(means(order, sa) for sa in turn.world.named(self.peer)):
                self._end(turn, order)

    def _end(self, turn: Turn, order: Order) -> None:
        turn.world.orders = turn.world.orders.clear(OrderCleared(id=order.id))
        what = f"the tunnel of {order.path}" if order.path else "the whole family"
        turn.say(f"{self.peer}: {what} was revoked: its keys are gone")


def _homes(tunnels: Sequence[Tunnel], path: str) -> list[Sa]:
    return [t.sa for t in tunnels if t.home is not None and covers(path, t.home)]
