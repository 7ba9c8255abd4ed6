# SPDX-License-Identifier: Apache-2.0
"""Peers that were taken out of the configuration, until nothing of them is left.

A peer closes itself, and an order to retire is kept meanwhile. It names keys and what was loaded,
so the successor of a controller that dies in between, which does not know the peer, goes on
with that and with nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

from vici_mif.core.actions import Unload
from vici_mif.core.events import OrderCleared
from vici_mif.core.family.closing import Closing
from vici_mif.core.model import Order
from vici_mif.core.orders import keys_of, means
from vici_mif.core.peers.peer import Peer
from vici_mif.core.requests import Request
from vici_mif.core.turn import Turn


class Retired:
    """Of one controller."""

    def __init__(self) -> None:
        self._closings: dict[str, Closing] = {}

    @staticmethod
    def keep(turn: Turn, peers: Mapping[str, Peer], given: str) -> None:
        """After another configuration was read: who is retired now, and who is no longer."""
        back = [name for name, peer in peers.items() if not peer.retired]
        orders = turn.world.orders.readmit(back)
        known = {order.peer for order in orders.retired()}
        for name, peer in peers.items():
            if peer.retired and name not in known:
                keys = keys_of(turn.world.named(name))
                orders = orders.retire(name, given, keys, peer.loading.undo(turn))
        turn.world.orders = orders

    def step(self, turn: Turn, peers: Collection[str]) -> None:
        """`peers`: those that close themselves."""
        for order in turn.world.orders.retired():
            if order.peer not in peers:
                self._finish(turn, order)

    def _finish(self, turn: Turn, order: Order) -> None:
        closing = self._closings.setdefault(order.peer, Closing(order.peer))
        left = [sa for sa in turn.world.named(order.peer) if means(order, sa)]
        closing.watch(turn, left)
        closing.terminate(turn, left)
        if not left and self._unload(turn, order):
            turn.world.orders = turn.world.orders.clear(OrderCleared(id=order.id))
            turn.say(f"{order.peer}: no longer configured, and nothing of it is left")

    @staticmethod
    def _unload(turn: Turn, order: Order) -> bool:
        for entry in order.loaded[:1]:
            command, _, name = entry.partition(" ")
            turn.ask(("stray", order.peer), partial(Unload, command=command, name=name))
        return not order.loaded

    def ended(self, turn: Turn, request: Request) -> None:
        """Well or badly: what cannot be unloaded mostly was not there any more."""
        if request.key[0] == "stray" and isinstance(request.action, Unload):
            entry = f"{request.action.command} {request.action.name}"
            turn.world.orders = turn.world.orders.unloaded(str(request.key[1]), entry)
            turn.book.forgive(request.key)

    def charon_gone(self) -> None:
        """And all of it with it."""
        self._closings.clear()
