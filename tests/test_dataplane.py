# SPDX-License-Identifier: Apache-2.0
"""Rules, routes and guard, as a kernel would decide by them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from vici_mif.core.family.family import slots_of
from vici_mif.core.ground import guarding
from vici_mif.core.ground.dataplane import (
    CHARON,
    MAIN,
    UNDERNEATH,
    Inner,
    host_lives,
    inner,
    join,
    links,
)
from vici_mif.core.model import (
    ChildTemplate,
    Connection,
    IPNetwork,
    Link,
    LinkTable,
    Pair,
    PathName,
    Route,
    Steering,
    XfrmInterface,
)
from vici_mif.core.paths.ranking import Path
from vici_mif.core.wish.numbers import Numbers

GW = ip_address("203.0.113.1")
X, Y = ip_address("192.0.2.1"), ip_address("198.51.100.1")
VIPS = slots_of([ip_address("10.9.0.1"), ip_address("10.9.0.2")])
LAN, ALL = ip_network("10.100.0.0/16"), ip_network("0.0.0.0/0")


def numbers() -> Numbers:
    return Numbers((7791, 7890), (150, 169))


def path(link: str, address: object) -> Path:
    return Path(PathName(link, "gw"), 0, GW, Pair(address, GW), frozenset({address}))  # type: ignore[arg-type]


PATHS = [path("eth0", X), path("eth1", Y)]


def wish(
    *remotes: IPNetwork, established: bool = True, works: bool = True, kernel_esp: bool = False
) -> Steering:
    made = numbers()
    own = Inner(VIPS if established else (), remotes, kernel_esp, established, works, mtu=1400)
    return join([links(made, PATHS), inner(made, own)])


# The rest of the host: a default route by eth0, a LAN, and another connection's child.
OTHERS = {
    MAIN: [
        Route(MAIN, ip_network("192.0.2.0/24"), "eth0"),
        Route(MAIN, ip_network("198.51.100.0/24"), "eth1"),
        Route(MAIN, ip_network("192.168.1.0/24"), "lan0"),
        Route(MAIN, ip_network("0.0.0.0/0"), "eth0"),
    ],
    CHARON: [Route(CHARON, ip_network("10.100.7.0/24"), "other")],
}
COPIES = {
    "eth0": [
        Route(0, ip_network("192.0.2.0/24"), "eth0"),
        Route(0, ip_network("0.0.0.0/0"), "eth0"),
    ],
    "eth1": [
        Route(0, ip_network("198.51.100.0/24"), "eth1"),
        Route(0, ip_network("0.0.0.0/0"), "eth1"),
    ],
}


@dataclass
class Kernel:
    """Decides as fib_rules and fib_lookup do."""

    steering: Steering

    def output(self, to: str, source: str | None = None) -> str:
        """The device a packet of this host leaves by; `unreachable`, or `nowhere`."""
        target, own = ip_address(to), ip_address(source) if source else None
        for _, table, limit in sorted(self._rules(target, own), key=lambda rule: rule[0]):
            fitting = [r for r in self._table(table) if target in r.destination]
            fitting = [r for r in fitting if limit is None or r.destination.prefixlen > limit]
            if fitting:
                chosen = min(fitting, key=lambda r: (-r.destination.prefixlen, r.metric))
                return chosen.device or "unreachable"
        return "nowhere"

    def _rules(self, target: object, own: object) -> list[tuple[int, int, int | None]]:
        ours = [
            (r.priority, r.table, r.suppress_prefixlength)
            for r in self.steering.rules
            if (r.source is None or (own is not None and own in r.source))
            and (r.destination is None or target in r.destination)
        ]
        return [*ours, (220, CHARON, None), (32766, MAIN, None)]

    def _table(self, table: int) -> list[Route]:
        copies = [t.link for t in self.steering.link_tables if t.table == table]
        if copies:
            return COPIES[copies[0]]
        return OTHERS.get(table) or [r for r in self.steering.routes if r.table == table]


REACHED = {
    # what the promise says, one line each: (steering, to, source) -> device
    "IKE by its own link": (wish(LAN), "203.0.113.1", str(Y), "eth1"),
    "IKE by its own link, all behind the peer": (wish(ALL), "203.0.113.1", str(Y), "eth1"),
    "an uplink's address answers its LAN": (wish(ALL), "192.168.1.5", str(Y), "lan0"),
    "an uplink's address answers the world": (wish(ALL), "8.8.8.8", str(X), "eth0"),
    "inner source to the peer's net": (wish(LAN), "10.100.0.1", "10.9.0.2", "ipsec0"),
    "inner source, no tunnel": (
        wish(LAN, works=False), "10.100.0.1", "10.9.0.2", "ipsec0"),
    "unbound to the peer's net": (wish(LAN), "10.100.0.1", None, "ipsec0"),
    "unbound before the first tunnel": (
        wish(LAN, established=False, works=False), "10.100.0.1", None, "unreachable"),
    "unbound elsewhere": (wish(LAN), "8.8.8.8", None, "eth0"),
    "another connection's more specific child": (wish(LAN), "10.100.7.1", None, "other"),
    "all behind the peer, tunnel works": (wish(ALL), "8.8.8.8", None, "ipsec0"),
    "all behind the peer, link subnet": (wish(ALL), "192.0.2.7", None, "eth0"),
    "all behind the peer, LAN": (wish(ALL), "192.168.1.5", None, "lan0"),
    "all behind the peer, another connection": (wish(ALL), "10.100.7.1", None, "other"),
    "all behind a dead peer: DNS lives": (wish(ALL, works=False), "8.8.8.8", None, "eth0"),
    "all behind a dead peer at the start": (
        wish(ALL, established=False, works=False), "8.8.8.8", None, "eth0"),
    "all behind a dead peer: inner source stays in": (
        wish(ALL, works=False), "8.8.8.8", "10.9.0.1", "ipsec0"),
}  # fmt: skip


@pytest.mark.parametrize(("steering", "to", "source", "device"), REACHED.values(), ids=REACHED)
def test_where_packets_go(steering: Steering, to: str, source: str | None, device: str) -> None:
    """Inner traffic to the tunnel or nowhere, the host's own traffic by its links."""
    assert Kernel(steering).output(to, source) == device


@pytest.mark.parametrize("remote", [LAN, ALL])
def test_without_its_device_inner_traffic_goes_nowhere(remote: IPNetwork) -> None:
    """The TUN device disappears with charon: what lies underneath is `unreachable`."""
    steering = wish(remote, works=False)
    bare = Steering(
        steering.rules,
        tuple(r for r in steering.routes if r.device is None),
        steering.link_tables,
    )

    assert Kernel(bare).output("10.100.0.1", "10.9.0.1") == "unreachable"


def test_each_inner_address_has_its_table_and_interface() -> None:
    """Kernel ESP: one xfrm interface per tunnel; its id is its table's number."""
    steering = wish(LAN, kernel_esp=True)
    tables = {str(r.source): r.table for r in steering.rules if r.priority == 150}

    assert tables == {"10.9.0.1/32": 7832, "10.9.0.2/32": 7833}
    assert steering.interfaces == (
        XfrmInterface("mif0", 7832, 1400),
        XfrmInterface("mif1", 7833, 1400),
    )
    assert Route(7833, LAN, "mif1", prefsrc=ip_address("10.9.0.2")) in steering.routes


def test_unreachable_is_underneath_everywhere() -> None:
    """Each table of inner traffic has it, for each of the peer's networks."""
    steering = wish(LAN, ALL)
    inner_tables = {r.table for r in steering.routes}

    assert inner_tables
    for table in inner_tables:
        for remote in (LAN, ALL):
            assert Route(table, remote, metric=UNDERNEATH) in steering.routes


def test_versions_do_not_mix() -> None:
    """IPv6 selectors get IPv6 rules, and routes only where there is an inner IPv6 address."""
    six = ip_network("2001:db8::/32")
    steering = wish(LAN, six)

    assert {r.family for r in steering.rules if r.destination == six} == {6}
    assert all(r.device is None for r in steering.routes if r.destination == six)


@pytest.mark.parametrize(
    ("mtu", "four", "six"), [(1438, None, None), (1366, 1366, 1366), (1200, 1200, 1280)]
)
def test_routes_say_what_charons_device_does_not(
    mtu: int, four: int | None, six: int | None
) -> None:
    """kernel-libipsec's device has 1400: less than that stands in the routes, for TCP to follow."""
    both = (LAN, ip_network("fd00:100::/48"))
    slots = slots_of([ip_address("10.9.0.1"), ip_address("fd09::1")])
    made = inner(numbers(), Inner(slots, both, False, True, True, mtu))
    through = {r.destination.version: r.mtu for r in made.routes if r.device}

    assert through == {4: four, 6: six}
    assert not any(r.mtu for r in made.routes if r.device is None)


def test_interfaces_of_ours_have_the_mtu_themselves() -> None:
    """Kernel ESP; and never so little that the kernel takes IPv6 off the interface."""
    slots = slots_of([ip_address("10.9.0.1"), ip_address("10.9.0.2"), ip_address("fd09::2")])
    made = inner(numbers(), Inner(slots, (LAN,), True, True, True, 1200))

    assert {i.mtu for i in made.interfaces} == {1280 if len(slots) == 1 else 1200, 1280}
    assert not any(r.mtu for r in made.routes)


def test_links_keep_their_tables() -> None:
    """A link that went and came has the table it had; others do not move."""
    made = numbers()
    assert links(made, PATHS).link_tables == (LinkTable("eth0", 7791), LinkTable("eth1", 7792))
    assert links(made, PATHS[1:]).link_tables == (LinkTable("eth1", 7792),)
    assert links(made, PATHS).link_tables == (LinkTable("eth0", 7791), LinkTable("eth1", 7792))


def test_all_numbers_are_ours() -> None:
    """Tables and preferences stay in the configured ranges."""
    made = Numbers((1000, 1063), (100, 111))
    own = Inner(
        slots_of([ip_address(f"10.9.0.{i}") for i in range(1, 17)]), (ALL,), True, True, False, 1400
    )
    steering = join([links(made, PATHS), inner(made, own)])

    assert {r.priority for r in steering.rules} <= set(range(100, 112))
    assert {r.table for r in steering.routes} <= set(range(1000, 1064))
    assert {r.table for r in steering.rules} - {MAIN, CHARON} <= set(range(1000, 1064))


def test_host_lives_only_where_everything_is_behind_the_peer() -> None:
    """A specific network of a dead peer stays unreachable."""
    assert host_lives(numbers(), [LAN], works=False) == ()
    assert host_lives(numbers(), [ALL], works=True) == ()
    assert len(host_lives(numbers(), [ALL, ip_network("::/0")], works=False)) == 2


SITE = Connection(
    "hq",
    children=(
        ChildTemplate("lan", local_ts=("10.1.0.0/16",), remote_ts=("10.2.0.0/16", "fd02::/48")),
        ChildTemplate("own", local_ts=("0.0.0.0/0",), remote_ts=("0.0.0.0/0",), if_id_out="42"),
        ChildTemplate("host", local_ts=("dynamic",), remote_ts=("10.3.0.0/16",)),
        ChildTemplate("bypass", mode="PASS", local_ts=("10.1.0.0/16",), remote_ts=("10.4.0.0/16",)),
    ),
)
LINKS = [
    Link("eth0", 2, True, 1500, (ip_interface("192.0.2.1/24"),)),
    Link("lan0", 3, True, 1500, (ip_interface("10.1.0.1/16"),)),
]


def test_guard() -> None:
    """Static selectors on uplinks; the operator's own routing and bypasses are not touched."""
    names = [t.name for t in SITE.children]
    made = guarding.site(SITE, names, PATHS, LINKS, kernel_esp=True)

    assert made is not None
    assert [(str(s.local), str(s.remote)) for s in made.selectors] == [
        ("10.1.0.0/16", "10.2.0.0/16")
    ]
    assert made.uplinks == ("eth0", "eth1")
    assert made.exempt == (ip_network("192.0.2.0/24"), ip_network("203.0.113.1/32"))
    assert made.kernel_esp


def test_inner_addresses_are_guarded() -> None:
    """Each against what lies behind the peer in its own IP version, on the uplinks."""
    six = ip_network("fd00:100::/48")
    slots = slots_of([ip_address("10.9.0.1"), ip_address("10.9.0.2"), ip_address("fd09::2")])
    made = guarding.inner(Inner(slots, (LAN, six), False, False, False, 1400), PATHS, LINKS)

    assert made is not None
    assert {(str(s.local), s.remote) for s in made.selectors} == {
        ("10.9.0.1/32", LAN),
        ("10.9.0.2/32", LAN),
        ("fd09::2/128", six),
    }
    assert made.uplinks == ("eth0", "eth1")
    assert guarding.inner(Inner((), (LAN,), False, False, False, 1400), PATHS, LINKS) is None


def test_nothing_to_guard() -> None:
    """Children that are not driven here, or without a static selector, need no table."""
    assert guarding.site(SITE, ["own", "host"], PATHS, LINKS, kernel_esp=True) is None
    assert guarding.site(SITE, [], PATHS, LINKS, kernel_esp=True) is None
