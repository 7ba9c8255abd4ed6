# SPDX-License-Identifier: Apache-2.0
"""The charon edge against a real charon without the series: facts, orders, and its absence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import pytest

from tests.real.conftest import MakeLab
from vici_mif.core import actions, events
from vici_mif.core.model import Pair
from vici_mif.edges.charon import Charon
from vici_mif.lab.lab import Lab

Fact = TypeVar("Fact")


class Facts:
    """What the edge told, in order."""

    def __init__(self) -> None:
        self.all: list[events.Event] = []

    def of(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.all if isinstance(fact, kind)]

    async def until(self, check: Callable[[], object], within: float = 15.0) -> None:
        async with asyncio.timeout(within):
            while not check():  # noqa: ASYNC110 - the list is filled by a callback
                await asyncio.sleep(0.01)


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[tuple[Charon, Facts]]:
    facts = Facts()
    edge = Charon(str(path), facts.all.append)
    task = asyncio.create_task(edge.run())
    try:
        yield edge, facts
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def stock(make_lab: MakeLab, stock_charon: Path) -> Lab:
    return make_lab(
        uplinks=1, client_charon=stock_charon, gateway_charon=stock_charon, max_clones=0
    )


async def test_snapshot_then_events(stock: Lab) -> None:
    """Version, no series, the connection as loaded; then an SA comes and goes by events."""
    async with following(stock.client.vici_socket) as (edge, facts):
        await facts.until(lambda: facts.of(events.SasSeen))
        connected = facts.of(events.CharonConnected)[0]
        assert not connected.patched
        assert connected.version
        (hq,) = facts.of(events.ConnectionsSeen)[0].connections
        assert hq.children[0].remote_ts == ("10.100.0.0/24",)

        await edge.execute(actions.Initiate("t1", hq.name, hq.children[0].name))
        await facts.until(lambda: any(f.sa.established for f in facts.of(events.SaSeen)))
        await facts.until(lambda: any(f.sa.children for f in facts.of(events.SaSeen)))
        assert facts.of(events.ActionDone)[0].tag == "t1"

        number = facts.of(events.SaSeen)[-1].sa.unique_id
        await edge.execute(actions.Terminate("t2", number))
        await facts.until(lambda: facts.of(events.SaClosed))
        await edge.execute(actions.ReadSa("t3", number))

    assert "IKE_DELETE" in facts.of(events.SaClosed)[0].sa.tasks_active
    assert facts.of(events.SaGone)[-1].unique_id == number


async def test_an_order_of_the_series_fails_in_words(stock: Lab) -> None:
    """A charon without the series never half understands: the order ends, and says why."""
    async with following(stock.client.vici_socket) as (edge, facts):
        await facts.until(lambda: facts.of(events.SasSeen))
        await edge.execute(actions.Clone("t1", 1))

    (failed,) = facts.of(events.ActionFailed)
    assert failed.tag == "t1"
    assert "clone" in failed.text


async def test_charon_dies_and_comes_back(stock: Lab) -> None:
    """Gone is said once, and its return brings a whole new snapshot."""
    charon = stock.charons["client"]
    async with following(stock.client.vici_socket) as (edge, facts):
        await facts.until(lambda: facts.of(events.SasSeen))
        await asyncio.to_thread(charon.kill)
        await facts.until(lambda: facts.of(events.CharonGone))
        await edge.execute(actions.ReadAll("t1"))
        await facts.until(lambda: facts.of(events.ActionFailed))

        await asyncio.to_thread(charon.start)
        await facts.until(lambda: len(facts.of(events.CharonConnected)) == 2)
        await facts.until(lambda: len(facts.of(events.SasSeen)) == 2)

    assert facts.of(events.ActionFailed)[0].tag == "t1"


async def test_no_charon(tmp_path: Path) -> None:
    """The reason names the socket; it is said once and not at each attempt."""
    async with following(tmp_path / "charon.vici") as (_, facts):
        await facts.until(lambda: facts.of(events.CharonGone))
        await asyncio.sleep(1)

    (gone,) = facts.of(events.CharonGone)
    assert str(tmp_path) in gone.why


async def test_many_orders_at_once(stock: Lab) -> None:
    """Orders for different SAs share the lanes; each ends exactly once."""
    async with following(stock.client.vici_socket) as (edge, facts):
        await facts.until(lambda: facts.of(events.SasSeen))
        orders = [actions.Terminate(f"t{n}", 1000 + n) for n in range(50)]
        await asyncio.gather(*(edge.execute(order) for order in orders))

    assert sorted(f.tag for f in facts.of(events.ActionFailed)) == sorted(o.tag for o in orders)


async def test_orders_for_the_series_name_the_pair(stock: Lab) -> None:
    """On a charon without it every order of the series ends, whatever it carries."""
    pair = Pair(ip_address("192.168.1.100"), ip_address("203.0.113.1"))
    orders: list[actions.CharonAction] = [
        actions.CreateIke("a", "hq", pair, childless=True),
        actions.Migrate("b", 1, pair, pin_delay=30),
        actions.Probe("c", 1, pair),
        actions.CreateChild("d", 1, "net", "net@eth0/203.0.113.1", local_ts=("10.3.0.1/32",)),
        actions.Unpin("e", 1),
    ]
    async with following(stock.client.vici_socket) as (edge, facts):
        await facts.until(lambda: facts.of(events.SasSeen))
        for order in orders:
            await edge.execute(order)

    assert [f.tag for f in facts.of(events.ActionFailed)] == ["a", "b", "c", "d", "e"]
