# SPDX-License-Identifier: Apache-2.0
"""Steering against the kernel's own routing, in a network namespace of the test."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from pyroute2 import AsyncIPRoute

from tests.namespace import eventually, ip, own_namespace
from vici_mif.core.model import LinkTable, Route, Rule, Steering, XfrmInterface
from vici_mif.edges import netlink, steering
from vici_mif.edges.steering import Range, Steerer, clean

pytestmark = pytest.mark.real

FAR = 4294967295


@pytest.fixture(autouse=True)
def _two_uplinks() -> Iterator[None]:
    with own_namespace():
        for number in (0, 1):
            ip(f"link add eth{number} type veth peer name far{number}")
            # the kernel's own addresses would come, with their routes, while a test compares
            ip(f"link set eth{number} addrgenmode none")
            ip(f"link set far{number} addrgenmode none")
            ip(f"link set eth{number} up")
            ip(f"link set far{number} up")
            ip(f"addr add 198.51.{number}.2/24 dev eth{number}")
            ip(f"addr add 2001:db8:{number}::2/64 dev eth{number} nodad")
            ip(f"route add default via 198.51.{number}.1 metric {100 + number}")
            ip(f"-6 route add default via 2001:db8:{number}::1 metric {100 + number}")
        # the carrier comes late, and routes say so: a test that compares them waits for it
        eventually(lambda: ip("link").count("state UP") == 4)
        yield


def source_rule(address: str, table: int, priority: int = 160) -> Rule:
    net = ip_network(address)
    return Rule(priority=priority, family=net.version, table=table, source=net)


def two_links() -> Steering:
    return Steering(
        rules=(
            source_rule("198.51.0.2/32", 7791),
            source_rule("198.51.1.2/32", 7792),
            source_rule("2001:db8:1::2/128", 7792),
        ),
        link_tables=(LinkTable("eth0", 7791), LinkTable("eth1", 7792)),
    )


def inner(*, device: str | None, source: str = "10.3.0.1") -> Steering:
    """An inner address with its table: the tunnel's route over an unreachable one."""
    routes = [Route(table=7800, destination=ip_network("10.1.0.0/16"), metric=FAR)]
    if device:
        routes.append(
            Route(
                table=7800,
                destination=ip_network("10.1.0.0/16"),
                device=device,
                prefsrc=ip_address(source),
            )
        )
    return Steering(rules=(source_rule(f"{source}/32", 7800, 155),), routes=tuple(routes))


def leaves_by(destination: str, source: str) -> str:
    return ip(f"route get {destination} from {source}")


async def until(check: Callable[[], object], within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while not check():  # noqa: ASYNC110 - the kernel has no event of ours
            await asyncio.sleep(0.01)


async def test_each_address_leaves_by_its_own_link() -> None:
    """The copy of main's routes sends either source to its own gateway, in both versions."""
    await Steerer(Range()).apply(two_links())

    assert "via 198.51.0.1 dev eth0" in leaves_by("203.0.113.1", "198.51.0.2")
    assert "via 198.51.1.1 dev eth1" in leaves_by("203.0.113.1", "198.51.1.2")
    assert "via 2001:db8:1::1 dev eth1" in leaves_by("2001:db8:f::1", "2001:db8:1::2")


async def test_again_changes_nothing() -> None:
    """A wish that is fulfilled touches nothing: the kernel's tables stay as they are."""
    steerer = Steerer(Range())
    await steerer.apply(two_links())
    before = [ip("rule"), ip("route show table all"), ip("-6 route show table all")]

    assert await steerer.apply(two_links()) == []
    assert [ip("rule"), ip("route show table all"), ip("-6 route show table all")] == before


async def test_unreachable_lies_underneath() -> None:
    """Without its tunnel an inner source gets an error and not the default route."""
    steerer = Steerer(Range())
    ip("addr add 10.3.0.1/32 dev lo")
    await steerer.apply(inner(device=None))

    with pytest.raises(AssertionError, match="No route to host"):
        leaves_by("10.1.0.1", "10.3.0.1")
    assert "eth0" in leaves_by("203.0.113.1", "10.3.0.1")


async def test_waits_for_the_tunnel_device_and_takes_it() -> None:
    """charon makes its TUN when it likes; the route follows by itself."""
    steerer = Steerer(Range())
    waiting = await steerer.apply(inner(device="ipsec0"))
    watcher = asyncio.create_task(steerer.watch())
    try:
        assert any("ipsec0" in sentence for sentence in waiting)

        ip("tuntap add ipsec0 mode tun")
        ip("link set ipsec0 up")
        ip("addr add 10.3.0.1/32 dev ipsec0")
        await until(lambda: "ipsec0" in ip("route show table 7800"))
    finally:
        watcher.cancel()

    assert "dev ipsec0" in leaves_by("10.1.0.1", "10.3.0.1")


async def test_follows_main() -> None:
    """A new gateway from DHCP comes into the link's table; a lost one leaves it."""
    steerer = Steerer(Range())
    await steerer.apply(two_links())
    watcher = asyncio.create_task(steerer.watch())
    try:
        ip("route replace default via 198.51.1.254 dev eth1 metric 101")
        await until(lambda: "198.51.1.254" in ip("route show table 7792"))
        ip("route del default dev eth1 metric 101")
        await until(lambda: "default" not in ip("route show table 7792"))
    finally:
        watcher.cancel()

    assert "198.51.1.0/24" in ip("route show table 7792")


async def test_puts_back_what_others_delete() -> None:
    """`ip rule flush` of somebody else is undone and counted."""
    steerer = Steerer(Range())
    await steerer.apply(two_links())
    watcher = asyncio.create_task(steerer.watch())
    try:
        ip("rule del priority 160 from 198.51.0.2")
        await until(lambda: "from 198.51.0.2 lookup 7791" in ip("rule"))
        ip("route flush table 7792")
        await until(lambda: "default" in ip("route show table 7792"))
    finally:
        watcher.cancel()

    assert steerer.restored >= 1


async def test_a_changed_preferred_source_is_replaced() -> None:
    """IPv4 and IPv6 alike: the new route stands and the old one is gone."""
    steerer = Steerer(Range())
    ip("tuntap add ipsec0 mode tun")
    ip("link set ipsec0 up")
    for address in ("10.3.0.1/32", "10.3.0.2/32"):
        ip(f"addr add {address} dev ipsec0")
    for address in ("2001:db8:3::1/128", "2001:db8:3::2/128"):
        ip(f"addr add {address} dev ipsec0 nodad")

    for last in (1, 2):
        wish = Steering(
            routes=(
                Route(7800, ip_network("10.1.0.0/16"), "ipsec0", ip_address(f"10.3.0.{last}")),
                Route(
                    7800, ip_network("2001:db8:1::/48"), "ipsec0", ip_address(f"2001:db8:3::{last}")
                ),
                Route(7800, ip_network("2001:db8:1::/48"), metric=FAR),
            )
        )
        assert await steerer.apply(wish) == []

    assert ip("route show table 7800").count("10.3.0.2") == 1
    assert "10.3.0.1" not in ip("route show table 7800")
    assert ip("-6 route show table 7800").count("src 2001:db8:3::2") == 1
    assert "src 2001:db8:3::1" not in ip("-6 route show table 7800")
    assert "unreachable" in ip("-6 route show table 7800")


async def test_touches_nothing_of_others() -> None:
    """Rules and routes without our mark stay, even in our ranges; `down` leaves none of ours."""
    ip("rule add priority 155 from 192.0.2.1 lookup 7795")
    ip("route add 192.0.2.0/24 dev eth0 table 7795")
    before = [ip("rule"), ip("-6 rule"), ip("route show table all"), ip("-6 route show table all")]
    await Steerer(Range()).apply(two_links())
    assert "7791" in ip("rule")

    await clean(Range())

    after = [ip("rule"), ip("-6 rule"), ip("route show table all"), ip("-6 route show table all")]
    assert after == before


async def test_main_without_default_but_for_this_host() -> None:
    """The rule that lets the host's own traffic use main first comes out as `ip` would say it."""
    rule = Rule(priority=150, family=4, table=254, iif="lo", suppress_prefixlength=0)
    await Steerer(Range()).apply(Steering(rules=(rule,)))

    assert "150:\tfrom all iif lo lookup main suppress_prefixlength 0" in ip("rule")
    assert await Steerer(Range()).apply(Steering(rules=(rule,))) == []
    assert ip("rule").count("150:") == 1


async def test_xfrm_interfaces() -> None:
    """Made, given their MTU, made anew for another if_id, and gone with the wish."""
    if not has_xfrm_interfaces():
        pytest.skip("this kernel has no xfrm interfaces: `make guest` has one that does")
    steerer = Steerer(Range())
    ip("addr add 10.3.0.1/32 dev lo")

    for if_id, mtu in ((7791, 1400), (7799, 1300)):
        interfaces = (XfrmInterface("mif1", if_id, mtu), XfrmInterface("mif2", 7792))
        wish = replace(inner(device="mif1"), interfaces=interfaces)
        assert await steerer.apply(wish) == []
        shown = ip("-d link show mif1")
        assert f"if_id {if_id:#x}" in shown
        assert f"mtu {mtu}" in shown
        assert "dev mif1" in leaves_by("10.1.0.1", "10.3.0.1")

    await steerer.apply(Steering())
    assert "mif" not in ip("link")


def xfrm(index: int, name: str, if_id: int) -> dict[object, object]:
    """As the kernel would list it."""
    kind, number = ("linkinfo", "kind"), ("linkinfo", "data", "xfrm_if_id")
    return {"index": index, "ifname": name, kind: "xfrm", number: if_id, "mtu": 1400}


async def test_an_interface_that_others_delete_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Superfluous, and there when we looked first: it is gone, as it should be."""
    lists = [[xfrm(9, "mif1", 7791), xfrm(10, "mif2", 7792)], [xfrm(9, "mif1", 7791)]]

    class Meanwhile(AsyncIPRoute):  # type: ignore[misc]
        async def get_links(self) -> AsyncIterator[dict[object, object]]:
            return one_by_one(lists.pop(0))

    monkeypatch.setattr(steering, "AsyncIPRoute", Meanwhile)
    wish = Steering(interfaces=(XfrmInterface("mif1", 7791),))

    assert await Steerer(Range()).apply(wish) == []
    assert lists == []


async def one_by_one(messages: list[dict[object, object]]) -> AsyncIterator[dict[object, object]]:
    for message in messages:
        yield message


async def test_an_interface_that_others_delete_as_soon_as_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error of the kernel's, like any other: the daemon lives and looks again."""

    class Meanwhile(AsyncIPRoute):  # type: ignore[misc]
        async def link(self, command: str, **keys: Any) -> Any:
            return [] if command == "add" else await super().link(command, **keys)

    monkeypatch.setattr(steering, "AsyncIPRoute", Meanwhile)
    with pytest.raises(netlink.KernelError, match="mif1: ENODEV"):
        await Steerer(Range()).apply(Steering(interfaces=(XfrmInterface("mif1", 7791),)))


def has_xfrm_interfaces() -> bool:
    try:
        ip("link add mifprobe type xfrm if_id 1")
    except AssertionError:
        return False
    ip("link del mifprobe")
    return True


async def test_a_route_follows_its_mtu_and_tcp_follows_the_route() -> None:
    """A narrower path, and a wider one again: the route is replaced, nothing is left twice."""
    steerer = Steerer(Range())
    for mtu in (None, 1366, 1300, None):
        wish = Steering(routes=tuple(_through("eth0", mtu)))
        assert await steerer.apply(wish) == []
        for version, destination in (("-4", "10.1.0.1"), ("-6", "fd01::1")):
            shown = ip(f"{version} route show table 7800")
            assert shown.count("dev eth0") == 1
            assert (f"mtu {mtu}" in shown) == bool(mtu)
            ip(f"{version} rule add to {destination} lookup 7800 pref 100")
            used = ip(f"route get {destination}")
            assert (f"mtu {mtu}" in used) == bool(mtu)
            ip(f"{version} rule del pref 100")


def _through(device: str, mtu: int | None) -> list[Route]:
    pairs = (("10.1.0.0/16", "198.51.0.2"), ("fd01::/48", "2001:db8:0::2"))
    return [
        Route(7800, ip_network(to), device, prefsrc=ip_address(source), mtu=mtu)
        for to, source in pairs
    ]


async def test_a_links_own_mtu_is_copied_along() -> None:
    """What the host said of its route stays true in the copy."""
    ip("route change default via 198.51.0.1 metric 100 mtu 1400")
    await Steerer(Range()).apply(two_links())

    assert "mtu 1400" in ip("route show table 7791")
    assert "mtu" not in ip("route show table 7792")


def tables_that_stand(steerer: Steerer) -> set[int]:
    """Tables with routes of ours, by the watcher's last look."""
    _, routes = steerer._settled or (None, set())
    return {route.table for route in routes}


async def test_what_goes_with_its_link_was_not_taken_by_others() -> None:
    """A link that goes down takes its routes along: the copy follows, nothing is counted."""
    steerer = Steerer(Range())
    await steerer.apply(two_links())
    watcher = asyncio.create_task(steerer.watch())
    try:
        ip("link set eth1 down")
        # down and up between two looks is one deed: only what was looked at is told apart
        await until(lambda: 7792 not in tables_that_stand(steerer))
        ip("link set eth1 up")
        ip("route add default via 198.51.1.1 dev eth1 metric 101")
        await until(lambda: 7792 in tables_that_stand(steerer))
        assert steerer.restored == 0
        ip("route flush table 7791")
        await until(lambda: steerer.restored)
        assert "default" in ip("route show table 7791")
    finally:
        watcher.cancel()


# --- many routes of others -----------------------------------------------------------


class Counting(AsyncIPRoute):  # type: ignore[misc]
    """How many routes the kernel sends."""

    told: list[Any] = []  # noqa: RUF012 - of all of them

    async def route(self, command: str, **keys: Any) -> Any:
        answer = await super().route(command, **keys)
        return self._counted(answer) if command == "dump" else answer

    async def _counted(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            self.told.append(message)
            yield message


async def test_only_routes_that_concern_us_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """4,000 of others, in tables of theirs and in main by another device: the kernel keeps them to
    itself. One that leaves by two links is in the tables of both."""
    others = [f"10.{n // 250}.{n % 250}.0/24 dev far0" for n in range(2_000)]
    lines = [f"route add {each} table {table}" for each in others for table in ("220", "main")]
    subprocess.run(  # noqa: ASYNC221 - nothing else goes on
        ["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True
    )
    for version, far in (("-4", "198.51.{}.1"), ("-6", "2001:db8:{}::1")):
        hops = " ".join(f"nexthop via {far.format(number)}" for number in (0, 1))
        ip(f"{version} route add {'192.0.2.0/24' if version == '-4' else 'fd02::/64'} {hops}")
    monkeypatch.setattr(steering, "AsyncIPRoute", Counting)
    Counting.told.clear()

    assert await Steerer(Range()).apply(two_links()) == []

    assert 0 < len(Counting.told) < 100
    for number, table in enumerate((7791, 7792)):
        assert f"192.0.2.0/24 via 198.51.{number}.1" in ip(f"route show table {table}")
        assert f"fd02::/64 via {ip_address(f'2001:db8:{number}::1')}" in ip(
            f"-6 route show table {table}"
        )


async def test_where_nothing_is_wished_nothing_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gateway without connections: whatever its routes do, none of ours can be missing."""
    steerer = Steerer(Range())
    await steerer.apply(two_links())
    await steerer.apply(Steering())

    async def three(_: int) -> AsyncIterator[None]:
        for _ in range(3):
            yield

    monkeypatch.setattr(netlink, "hints", three)
    monkeypatch.setattr(steering, "AsyncIPRoute", None)
    await steerer.watch()
