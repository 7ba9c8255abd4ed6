# SPDX-License-Identifier: Apache-2.0
"""What operators asked for by hand, as a whole. Pure; an order for a path may come before it.

A path is named as LINK/REMOTE, or LINK for all paths of a link; each part may be a pattern as in
the configuration.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from vici_mif.core.events import OrderCleared, OrderGiven
from vici_mif.core.model import Order, OrderKind, PathName, Sa


@dataclass(frozen=True, slots=True)
class Orders:
    """All that hold, oldest first."""

    kept: tuple[Order, ...] = ()

    # --- looking -----------------------------------------------------------

    def down(self, peer: str) -> Order | None:
        """The order that keeps this peer down."""
        return next(self._of(OrderKind.DOWN, peer), None)

    def drain(self, peer: str, path: PathName) -> Order | None:
        """The order that takes this path out of use."""
        return next((o for o in self._of(OrderKind.DRAIN, peer) if covers(o.path, path)), None)

    def prefer(self, peer: str, path: PathName) -> Order | None:
        """The order that puts this path first."""
        return next((o for o in self._of(OrderKind.PREFER, peer) if covers(o.path, path)), None)

    def revokes(self, peer: str) -> tuple[Order, ...]:
        """Acts that have not come to their end."""
        return tuple(self._of(OrderKind.REVOKE, peer))

    def retired(self) -> tuple[Order, ...]:
        """Peers that were taken out of the configuration, and of which something is left."""
        return tuple(o for o in self.kept if o.kind is OrderKind.RETIRE)

    def revokes_sa(self, peer: str, sa: Sa) -> bool:
        """Whether it was an operator who ended this IKE_SA, by an order of his to us."""
        return any(means(order, sa) for order in self.revokes(peer))

    def _of(self, kind: OrderKind, peer: str) -> Iterator[Order]:
        return (o for o in self.kept if o.kind is kind and o.peer in {"", peer})

    # --- changing ----------------------------------------------------------

    def give(self, event: OrderGiven) -> Orders:
        """A state that is asked for again is still one order."""
        order = Order(
            0,
            event.kind,
            event.peer,
            event.given,
            path=event.path,
            spis=event.spis,
            identity=event.identity,
        )
        if event.kind is OrderKind.REVOKE:
            return self.add(order) if order.spis else self
        if event.kind is OrderKind.PREFER:
            return self._without(OrderKind.PREFER, event.peer).add(order)
        return self if _about(order) in [_about(o) for o in self.kept] else self.add(order)

    def add(self, order: Order) -> Orders:
        """With the next number."""
        number = max((o.id for o in self.kept), default=0) + 1
        return Orders((*self.kept, replace(order, id=number)))

    def retire(self, peer: str, given: str, keys: tuple[str, ...], loaded: list[str]) -> Orders:
        """A peer is no longer configured."""
        order = Order(
            0,
            OrderKind.RETIRE,
            peer,
            given,
            "configuration",
            spis=keys,
            loaded=tuple(loaded),
        )
        return self.readmit([peer]).add(order)

    def readmit(self, peers: Collection[str]) -> Orders:
        """They are configured, or nothing is left of them."""
        return Orders(
            tuple(o for o in self.kept if o.kind is not OrderKind.RETIRE or o.peer not in peers)
        )

    def unloaded(self, peer: str, entry: str) -> Orders:
        """charon has forgotten something of a peer that is retired."""

        def after(order: Order) -> Order:
            left = tuple(x for x in order.loaded if x != entry)
            return replace(order, loaded=left) if order.peer == peer else order

        return Orders(tuple(map(after, self.kept)))

    def clear(self, event: OrderCleared) -> Orders:
        return Orders(tuple(o for o in self.kept if not _cleared(o, event)))

    def _without(self, kind: OrderKind, peer: str) -> Orders:
        return Orders(tuple(o for o in self.kept if (o.kind, o.peer) != (kind, peer)))


def covers(text: str, path: PathName) -> bool:
    """Whether an order's words mean this path."""
    link, _, remote = text.partition("/")
    return fnmatchcase(path.link, link) and (not remote or fnmatchcase(path.remote, remote))


def spis(sa: Sa) -> tuple[str, ...]:
    """Whose keys an IKE_SA and its CHILD_SAs have: what stays of them until they are rekeyed."""
    return (f"{sa.spi_in}:{sa.spi_responder}", *(child.spi_in for child in sa.children))


def whole(sa: Sa) -> str:
    """Stands among SPIs for all members of a family, also those to come."""
    return f"family {sa.family}"


def keys_of(sas: Iterable[Sa]) -> tuple[str, ...]:
    """What names all keys of these, and those of clones that are under way."""
    alive = [sa for sa in sas if not sa.closing]
    families = {whole(sa) for sa in alive if sa.family is not None}
    return (*(spi for sa in alive for spi in spis(sa)), *sorted(families))


def means(order: Order, sa: Sa) -> bool:
    """Whether an order to revoke or to retire is about this IKE_SA."""
    named = set(order.spis)
    return not named.isdisjoint(spis(sa)) or (sa.family is not None and whole(sa) in named)


def _about(order: Order) -> tuple[OrderKind, str, str, str]:
    return (order.kind, order.peer, order.path, order.identity)


def _cleared(order: Order, event: OrderCleared) -> bool:
    if event.id is not None:
        return order.id == event.id
    return (
        event.kind in {None, order.kind}
        and event.peer in {"", order.peer}
        and event.identity in {"", order.identity}
        and (not event.path or _within(order.path, event.path))
    )


def _within(part: str, whole: str) -> bool:
    """`eth0/203.0.113.1` is taken back with `eth0`; the reverse would take back too much."""
    return part == whole or part.startswith(f"{whole}/")
