# SPDX-License-Identifier: Apache-2.0
"""`down` and `up` without a running controller: the order is kept, the rest is done here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from vici_mif.core.model import Order, OrderKind
from vici_mif.core.status import OrderStatus
from vici_mif.edges import guard, orders, vici
from vici_mif.edges.steering import Range, clean
from vici_mif.edges.vici import Connection

CLOSE_DELAY = 5.0
LOOK_DELAY = 0.1


def keep_down(state_dir: Path, peers: Sequence[str], given: str) -> None:
    """Write the order down, so that the next start obeys it."""
    kept = list(orders.read(state_dir))
    ordered = {order.peer for order in kept if order.kind is OrderKind.DOWN}
    number = max((order.id for order in kept), default=0)
    for peer in peers:
        if peer not in ordered:
            number += 1
            kept.append(Order(number, OrderKind.DOWN, peer, given))
    orders.write(state_dir, kept)


def take_back(state_dir: Path, peers: Sequence[str]) -> bool:
    """Take `down` back; whether there was one."""
    kept = orders.read(state_dir)
    left = [o for o in kept if o.kind is not OrderKind.DOWN or o.peer not in peers]
    if len(left) != len(kept):
        orders.write(state_dir, left)
    return len(left) != len(kept)


def clear(state_dir: Path, number: int) -> bool:
    """Take one order back by its number; whether there was one."""
    kept = orders.read(state_dir)
    left = [order for order in kept if order.id != number]
    if len(left) != len(kept):
        orders.write(state_dir, left)
    return len(left) != len(kept)


def shown(order: Order) -> OrderStatus:
    """As a running controller shows it."""
    return OrderStatus(
        id=order.id,
        kind=str(order.kind),
        peer=order.peer,
        path=order.path,
        given=order.given,
        by=order.by,
    )


async def close(vici_path: str, peers: Sequence[str], own: Range) -> int:
    """Close the peers' IKE SAs, then take everything of ours out of the kernel.

    `unreachable` goes last: as long as an SA may still be there, nothing leaves in clear.
    """
    try:
        closed = await _terminate(vici_path, peers)
    except vici.Disconnected:
        closed = 0  # no charon, no SA
    await clean(own)
    await guard.apply(None)
    return closed


async def _terminate(vici_path: str, peers: Sequence[str]) -> int:
    connection = await Connection.open(vici_path)
    try:
        found = await _ids(connection, peers)
        for ike_id in found:
            await connection.request("terminate", {"ike-id": ike_id, "timeout": -1})
        await _gone(connection, peers)
        return len(found)
    finally:
        connection.close()


async def _gone(connection: Connection, peers: Sequence[str]) -> None:
    """Until none is left; a peer that does not answer is not waited for."""
    try:
        async with asyncio.timeout(CLOSE_DELAY):
            while await _ids(connection, peers):  # noqa: ASYNC110 - charon is the one to ask
                await asyncio.sleep(LOOK_DELAY)
    except (TimeoutError, vici.ViciError):
        pass


async def _ids(connection: Connection, peers: Sequence[str]) -> list[str]:
    items = await connection.stream("list-sas", "list-sa")
    return [sa["uniqueid"] for item in items for name, sa in item.items() if name in peers]
