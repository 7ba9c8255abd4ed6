# SPDX-License-Identifier: Apache-2.0
"""Links that change faster than anybody can follow, in a namespace of the test.

Every test names its bound: megabytes, looks at the kernel, or actions of the planner.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise

import pytest
from pyroute2 import AsyncIPRoute

from tests.namespace import PATIENCE, ip, own_namespace
from tests.simulated import World
from tests.speaker import until
from tests.test_charon_misbehaves import at_most
from vici_mif.core import actions
from vici_mif.core.model import Link, LinkTable, Steering
from vici_mif.edges import links, netlink
from vici_mif.edges.steering import PAUSE, Range, Steerer

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _two_links() -> Iterator[None]:
    with own_namespace():
        for number in (0, 1):
            ip(f"link add eth{number} type veth peer name far{number}")
            ip(f"link set eth{number} up")
            ip(f"link set far{number} up")
            ip(f"addr add 198.18.{number}.2/24 dev eth{number}")
        yield


async def batch(commands: list[str]) -> None:
    """`ip -batch`: as fast as the kernel takes them."""
    process = await asyncio.create_subprocess_exec(
        "ip", "-force", "-batch", "-", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    await process.communicate("\n".join(commands).encode())


@asynccontextmanager
async def watched() -> AsyncIterator[list[tuple[Link, ...]]]:
    """What the links edge reports."""
    seen: list[tuple[Link, ...]] = []

    async def report(found: tuple[Link, ...]) -> None:
        seen.append(found)

    task = asyncio.create_task(links.watch(report))
    try:
        await until(lambda: seen)
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def shown(found: tuple[Link, ...], name: str) -> set[str]:
    (link,) = (link for link in found if link.name == name)
    return {str(address.ip) for address in link.addresses}


async def test_ten_thousand_address_events() -> None:
    """16 MB, 500 reports at most; what is seen in the end is what is there."""
    flap = [f"addr {verb} 198.18.9.9/24 dev eth1" for verb in ("add", "del")]
    async with watched() as seen:
        with at_most(16):
            await batch(flap * 5_000 + ["addr add 198.18.7.7/24 dev eth1"])
            await until(lambda: shown(seen[-1], "eth1") == {"198.18.1.2", "198.18.7.7"}, 60)
        assert len(seen) <= 500


async def test_the_planner_is_not_driven_by_a_storm() -> None:
    """Of what was seen of 10,000 events, in 10 s: three actions for each look, and 8 moves in all.

    A busy machine looks more often while they come; 500 times at most, as above.
    """
    flap = [f"addr {verb} 198.18.1.2/24 dev eth1" for verb in ("del", "add")]
    async with watched() as seen:
        await batch(flap * 5_000)
        await until(lambda: shown(seen[-1], "eth1") == {"198.18.1.2"}, 60)

    world = World(text="version: 1\nconnections:\n  hq: {links: [eth0, eth1]}\n")
    world.links = {link.name: link for link in seen[0]}
    world.start().run(30)
    before = len(world.log)
    moves: list[actions.Action] = []

    def watch(action: actions.Action) -> None:
        if isinstance(action, actions.Migrate) and action.pair != world.sas[action.ike_id].pair:
            moves.append(action)

    world.watchers.append(watch)
    for found in seen:
        world.links = {link.name: link for link in found}
        world.see_links()
        world.run(10 / len(seen))
    during = len(world.log) - before
    world.run(120)

    assert during <= 3 * len(seen) + 20
    assert len(moves) <= 8
    assert world.hq.state == "up"
    assert len([t for t in world.hq.tunnels if t.home]) == 2


async def test_a_thousand_addresses_on_one_link() -> None:
    """All are seen within 16 MB; the path has one pair and the family is left alone."""
    more = [f"addr add 198.19.{n // 250}.{n % 250 + 1}/16 dev eth1" for n in range(1_000)]
    async with watched() as seen:
        with at_most(16):
            await batch(more)
            await until(lambda: len(shown(seen[-1], "eth1")) == 1_001, 60)

    assert shown(seen[-1], "eth0") == {"198.18.0.2"}


async def test_a_storm_of_routes_leaves_our_copy_right() -> None:
    """2,000 changes in main: within 16 MB our table ends as main's part of that link."""
    steerer = Steerer(Range())
    await steerer.apply(Steering(link_tables=(LinkTable("eth0", 7791),)))
    watcher = asyncio.create_task(steerer.watch())
    flap = [f"route {verb} 192.0.2.0/24 via 198.18.0.1" for verb in ("add", "del")]
    try:
        with at_most(16):
            await batch(flap * 1_000 + ["route add 203.0.113.0/24 via 198.18.0.1"])
            await until(lambda: "203.0.113.0/24" in ip("route show table 7791"), 60)
            await until(lambda: "192.0.2.0" not in ip("route show table 7791"), 60)
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


async def test_routes_that_never_rest_are_looked_at_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """20 looks a second at most."""
    steerer = Steerer(Range())
    await steerer.apply(Steering(link_tables=(LinkTable("eth0", 7791),)))
    looks: list[float] = []
    reconcile = steerer._reconcile

    async def timed(wish: Steering) -> list[str]:
        looks.append(asyncio.get_running_loop().time())
        return await reconcile(wish)

    monkeypatch.setattr(steerer, "_reconcile", timed)
    watcher = asyncio.create_task(steerer.watch())
    flap = [f"route {verb} 192.0.2.0/24 dev eth1" for verb in ("add", "del")]
    try:
        async with asyncio.timeout(60):
            while len(looks) < 8:
                await batch(flap * 50)
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    assert min(after - before for before, after in pairwise(looks)) > 0.9 * PAUSE


async def test_who_stops_watching_leaves_nothing_behind() -> None:
    """The reader of the socket goes with it, not some time later with an error."""
    async with aclosing(netlink.hints(netlink.LINKS)) as hints:
        async for _ in hints:
            break

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_lost_messages_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOBUFS on the smallest buffer the kernel gives: the loss itself is a hint to look again."""
    small = functools.partial(AsyncIPRoute, rcvbuf=1)
    lost: list[int] = []
    read = netlink._read

    async def counted(sock: object, changed: asyncio.Event) -> None:
        try:
            await read(sock, changed)
        except OSError as error:
            lost.append(error.errno or 0)
            raise

    monkeypatch.setattr(netlink, "AsyncIPRoute", small)
    monkeypatch.setattr(netlink, "_read", counted)
    flap = [f"addr {verb} 198.18.9.9/24 dev eth1" for verb in ("add", "del")]
    async with watched() as seen:
        subprocess.run(  # noqa: ASYNC221 - nothing may be read meanwhile
            ["ip", "-force", "-batch", "-"],
            input="\n".join(flap * 500 + ["addr add 198.18.7.7/24 dev eth1"]),
            text=True,
            check=False,
        )
        await until(lambda: "198.18.7.7" in shown(seen[-1], "eth1"), 15 * PATIENCE)
        assert lost, "no message was lost: the test shows nothing"
        ip("addr add 198.18.8.8/24 dev eth1")
        await until(lambda: "198.18.8.8" in shown(seen[-1], "eth1"))


def test_the_kernel_does_drop_on_a_small_buffer() -> None:
    """The judge itself: on such a buffer a netlink socket says ENOBUFS."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.bind((0, netlink.ADDRESSES))
        for number in range(50):
            ip(f"addr add 198.18.6.{number + 1}/24 dev eth1")
        sock.settimeout(5)
        with pytest.raises(OSError, match="buffer space"):
            _drained(sock)


def _drained(sock: socket.socket) -> None:
    while True:
        sock.recv(65536)
