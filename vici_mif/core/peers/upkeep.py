# SPDX-License-Identifier: Apache-2.0
"""What is kept as all peers together wish it: each is asked for until it is so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from vici_mif.core.actions import Action, Guard, KeepFootprints, Steer, StoreOrders, Watch
from vici_mif.core.ground import dataplane, guarding
from vici_mif.core.model import Footprint, Order, Steering
from vici_mif.core.peers.peer import Peer
from vici_mif.core.requests import Book, Request
from vici_mif.core.turn import Turn

Wish = TypeVar("Wish")


class Upkeep:
    """Of one controller."""

    def __init__(self) -> None:
        self._done: dict[str, object] = {"watch": (), "orders": (), "footprints": ()}
        """What was carried out last, by the kind of request. Rules and guard are not known
        before: a killed predecessor may have left something, so an empty wish is said once, too."""
        self._unsure: set[str] = set()
        """Kinds of which a request failed since."""

    # --- what is so ----------------------------------------------------------

    def orders_are(self, orders: tuple[Order, ...]) -> None:
        """Kept from before."""
        self._done["orders"] = orders

    def footprints_are(self, footprints: tuple[Footprint, ...]) -> None:
        """Laid before this start."""
        self._done["footprints"] = footprints

    def done(self, request: Request) -> bool:
        """Whether what ended well was one of these."""
        match request.action:
            case (
                Steer(_, wish) | Guard(_, wish) | Watch(_, wish)
                | StoreOrders(_, wish) | KeepFootprints(_, wish)
            ):  # fmt: skip
                self._done[str(request.key[0])] = wish
                self._unsure.discard(str(request.key[0]))
                return True
            case _:
                return False

    def failed(self, request: Request) -> None:
        """Nobody knows how much of it stands: also what stood before is asked for again."""
        self._unsure.add(str(request.key[0]))

    def has(self, kind: str, wish: object) -> bool:
        """It is as wished."""
        return kind in self._done and kind not in self._unsure and self._done[kind] == wish

    @property
    def begun(self) -> bool:
        """Rules and routes were made as they were wished once."""
        return "steer" in self._done

    @property
    def steers(self) -> bool:
        """Something of ours is in the kernel's routing."""
        return self._done.get("steer", Steering()) != Steering()

    @staticmethod
    def steady(book: Book) -> bool:
        """Nothing of the kernel is under way. A failed attempt holds nobody up."""
        return not book.about("steer") and not book.about("guard")

    # --- what is wished ------------------------------------------------------

    def store(self, turn: Turn) -> None:
        """Before what follows from an order is begun, and until it is written."""
        self._keep(turn, "orders", StoreOrders, turn.world.orders.kept)

    def watch(self, turn: Turn, peers: Iterable[Peer]) -> None:
        """After the moves: a tunnel that is under way is not measured."""
        wishes = (
            peer.probing.wish(turn, peer.shape, peer.tunnels, peer.paths, peer.moves)
            for peer in peers
        )
        self._keep(turn, "watch", Watch, tuple(wish for each in wishes for wish in each))

    def ground(self, turn: Turn, peers: Mapping[str, Peer], order: Sequence[Peer]) -> None:
        """The kernel first: rules for a link before anything leaves by it.

        `order`: whose routes count first.
        """
        self._keep(turn, "steer", Steer, dataplane.join([peer.steering(turn) for peer in order]))
        guard = guarding.join(peer.guard(turn) for peer in order)
        self._keep(turn, "guard", Guard, guard)
        left = tuple(f for peer in peers.values() if (f := peer.footprint(turn)))
        self._keep(turn, "footprints", KeepFootprints, left)

    def _keep(self, turn: Turn, kind: str, make: Callable[[str, Wish], Action], wish: Wish) -> None:
        if not self.has(kind, wish):
            turn.ask((kind, ""), lambda tag: make(tag, wish))
