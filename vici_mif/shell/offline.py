# SPDX-License-Identifier: Apache-2.0
"""Orders without a running controller: they are kept, and what charon can do is done here."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from vici_mif.core import swan
from vici_mif.core.events import OrderCleared, OrderGiven
from vici_mif.core.family.family import home_of
from vici_mif.core.gateway.families import family_of
from vici_mif.core.model import Order, OrderKind, Sa
from vici_mif.core.orders import Orders, covers
from vici_mif.core.status import OrderStatus
from vici_mif.edges import footprints, guard, orders, sources, vici
from vici_mif.edges.steering import Range, clean
from vici_mif.edges.vici import Connection, Tree
from vici_mif.shell import clock

CLOSE_DELAY = 5.0
LOOK_DELAY = 0.1


def keep(state_dir: Path, kind: OrderKind, peers: Sequence[str], path: str, given: str) -> None:
    """Write an order down, so that the next start obeys it."""
    held = Orders(orders.read(state_dir))
    for peer in peers:
        held = held.give(OrderGiven(kind, peer, given, path))
    orders.write(state_dir, held.kept)
    if kind is OrderKind.DOWN:
        footprints.forget(state_dir, peers)


def give(state_dir: Path, fact: OrderGiven) -> None:
    """Write one order down as it is."""
    orders.write(state_dir, Orders(orders.read(state_dir)).give(fact).kept)


def take_back(state_dir: Path, kind: OrderKind, peers: Sequence[str], path: str = "") -> bool:
    """Take orders of a kind back; whether there was one."""
    return take(state_dir, [OrderCleared(None, kind, peer, path) for peer in peers])


def clear(state_dir: Path, number: int) -> bool:
    """Take one order back by its number; whether there was one."""
    return take(state_dir, [OrderCleared(number)])


def take(state_dir: Path, facts: Iterable[OrderCleared]) -> bool:
    """Take back what the facts say; whether there was any."""
    before = left = Orders(orders.read(state_dir))
    for fact in facts:
        left = left.clear(fact)
    if left != before:
        orders.write(state_dir, left.kept)
    return left != before


def shown(order: Order) -> OrderStatus:
    """As a running controller shows it."""
    return OrderStatus(
        id=order.id,
        kind=str(order.kind),
        peer=order.peer,
        path=order.path,
        identity=order.identity,
        given=order.given,
        by=order.by,
    )


def others(state_dir: Path, peers: Collection[str], configured: Iterable[str]) -> list[str]:
    """Peers that are not meant to be down."""
    held = Orders(orders.read(state_dir))
    return [name for name in configured if name not in peers and held.down(name) is None]


async def close(vici_path: str, connections: Collection[str], own: Range | None) -> int:
    """Close these connections' IKE SAs, then take everything of ours (`own`) out of the kernel.

    `unreachable` goes last: as long as an SA may still be there, nothing leaves in clear. None:
    other peers live on what is there.
    """
    try:
        closed = await _terminate(vici_path, connections, "")
    except vici.Disconnected:
        closed = []  # no charon, no SA
    if own is not None:
        await clean(own)
        await guard.apply(None)
        await sources.remove()
    return len(closed)


async def revoke(vici_path: str, connections: Collection[str], path: str) -> list[str]:
    """Close the tunnels at home on a path, or all of these; says which they were."""
    closed = await _terminate(vici_path, connections, path)
    return [f"{home_of(sa) or sa.name}: IKE SA #{sa.unique_id}" for sa in closed]


async def revoke_identity(vici_path: str, connections: Collection[str], identity: str) -> int:
    """Close all that an identity has, with all that was cloned from it; says how many."""
    try:
        connection = await Connection.open(vici_path)
    except vici.Disconnected:
        return 0  # no charon, no SA
    try:
        found = await _sas(connection, connections, "")
        called = (sa for sa in found if identity in {sa.remote_id, sa.remote_eap_id})
        families = set(map(family_of, called))
        meant = [sa for sa in found if family_of(sa) in families]
        await _end(connection, meant, force=True)
        await _left(connection, meant)
        return len(meant)
    finally:
        connection.close()


async def _terminate(vici_path: str, connections: Collection[str], path: str) -> list[Sa]:
    connection = await Connection.open(vici_path)
    try:
        found = await _sas(connection, connections, path)
        await _end(connection, found, force=False)
        if left := await _left(connection, found):
            await _end(connection, left, force=True)
            await _left(connection, found)
        return found
    finally:
        connection.close()


async def _end(connection: Connection, sas: Iterable[Sa], *, force: bool) -> None:
    for sa in sas:
        wish: Tree = {"ike-id": sa.unique_id, "timeout": -1, "force": force or None}
        await connection.request("terminate", wish)


async def _left(connection: Connection, closing: Sequence[Sa]) -> list[Sa]:
    """Until none is left, or for a while: then a peer does not answer."""
    end = clock.monotonic() + CLOSE_DELAY
    numbers = {sa.unique_id for sa in closing}
    names = {sa.name for sa in closing}
    while True:
        left = [sa for sa in await _sas(connection, names, "") if sa.unique_id in numbers]
        if not left or clock.monotonic() >= end:
            return left
        await asyncio.sleep(LOOK_DELAY)


async def _sas(connection: Connection, names: Collection[str], path: str) -> list[Sa]:
    items = await connection.stream("list-sas", "list-sa")
    found = [sa for item in items for sa in swan.sas(item) if sa.name in names]
    return [sa for sa in found if not path or _at_home(sa, path)]


def _at_home(sa: Sa, path: str) -> bool:
    home = home_of(sa)
    return home is not None and covers(path, home)
