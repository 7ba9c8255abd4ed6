# SPDX-License-Identifier: Apache-2.0
"""The lab's plan: its hosts, the wires between them and their addresses.

    station ── client ══ uplinks ══ router ══ remotes ══ gateway ── server
                                           ══ standby ══ backup ──┘

Pure data. Nothing here touches the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice

from vici_mif.lab.errors import LabError

CLIENT, ROUTER, GATEWAY = "client", "router", "gateway"
STATION, SERVER = "station", "server"
BACKUP = "backup"
HOSTS = (ROUTER, GATEWAY, BACKUP, CLIENT, SERVER, STATION)
CHARON_HOSTS = (GATEWAY, BACKUP, CLIENT)

# Namespaces are global to a machine: a fixed prefix lets `lab down` find what a crash left,
# and names without a dot keep lab and host apart in them.
NAMESPACE_PREFIX = "mif-lab"
# IFNAMSIZ of netdevice(7) without the terminating zero
MAX_NAME = 15
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")

_REMOTE_NETS = ("203.0.113", "198.51.100", "198.18.1", "198.18.2")
_BACKUP_NET = ("198.18.9", "2001:db8:109:")
# of the gateway's first wire
_SOURCE_TABLE = 101
MAX_UPLINKS, MAX_REMOTES, MAX_GATEWAYS = 8, len(_REMOTE_NETS), 2

# What a host in the middle of the Internet answers on: the router's loopback has it.
WORLD = ("192.0.2.1/32", "2001:db8:ffff::1/128")

INSIDE_CLIENT = ("10.1.0", "fd00:1:")
INSIDE_SITE = ("10.2.0", "fd00:2:")
INSIDE_ROADWARRIOR = ("10.100.0", "fd00:100:")
POOLS = ("10.222.0.0/24", "fd00:222::/112")
# the second gateway reaches the same server by a wire of its own
INSIDE_BACKUP = ("10.100.1", "fd00:101:")
BACKUP_POOLS = ("10.223.0.0/24", "fd00:223::/112")


class Profile(Enum):
    """What the connection between client and gateway is."""

    ROADWARRIOR = "roadwarrior"
    SITE = "site"


class Auth(Enum):
    """How client and gateway authenticate each other."""

    PSK = "psk"
    CERT = "cert"
    EAP = "eap"


@dataclass(frozen=True, slots=True)
class Wish:
    """What `lab up` was asked for."""

    name: str = "lab"
    uplinks: int = 3
    remotes: int = 1
    # 2: a second one with an identity, an address and a pool of its own, before the same server
    gateways: int = 1
    profile: Profile = Profile.ROADWARRIOR
    auth: Auth = Auth.PSK
    ipv6: bool = False
    # the family of the addresses that IKE and ESP use: 4 or 6
    outer: int = 4
    # the client's selector is everything
    full: bool = False
    max_clones: int = 8
    # of the client's child, in its operator's file
    start_action: str = "none"
    # uplinks behind a NAT in the router, and whether all of them share one address there
    nat: tuple[str, ...] = ()
    one_nat: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(
                f"lab name {self.name!r}: at most 31 lower-case letters, digits and hyphens"
            )
        if not 1 <= self.uplinks <= MAX_UPLINKS:
            raise LabError(f"{self.uplinks} uplinks: from 1 to {MAX_UPLINKS} are possible")
        if not 1 <= self.remotes <= MAX_REMOTES:
            raise LabError(f"{self.remotes} remotes: from 1 to {MAX_REMOTES} are possible")
        if not 1 <= self.gateways <= MAX_GATEWAYS:
            raise LabError(f"{self.gateways} gateways: from 1 to {MAX_GATEWAYS} are possible")
        if self.gateways > 1 and (self.profile is Profile.SITE or self.full):
            raise LabError("a second gateway: only for road warriors, and not with everything")
        if self.max_clones < 0:
            raise LabError(f"{self.max_clones} clones: 0 or more")
        if self.outer not in (4, 6):
            raise LabError(f"outer family {self.outer}: 4 or 6")
        known = [name for name, _ in islice(_uplink_names(), self.uplinks)]
        if stray := set(self.nat) - set(known):
            raise LabError(f"no uplink to translate: {', '.join(stray)} (it has: {known})")
        if self.nat and self.outer == 6:
            raise LabError("a NAT is for IPv4: --outer 4")


@dataclass(frozen=True, slots=True)
class Port:
    """One end of a wire: an interface of a host, with what its DHCP server or admin gave it."""

    host: str
    name: str
    addresses: tuple[str, ...] = ()
    # next hops of default routes, one per family, and their metric
    gateways: tuple[str, ...] = ()
    metric: int = 0
    dynamic: bool = False
    # what is sent from its addresses leaves by it: a table of its own; 0 without
    table: int = 0
    # networks behind a neighbour: (network, next hop)
    routes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """A veth pair."""

    a: Port
    b: Port


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything there is in one lab."""

    wish: Wish
    uplinks: tuple[Wire, ...]
    remotes: tuple[Wire, ...]
    inside: tuple[Wire, ...]
    # of the second gateway
    standby: tuple[Wire, ...] = ()
    # host -> addresses on its loopback
    loopback: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(h for h in HOSTS if any(h == port.host for port in self.ports()))

    @property
    def wires(self) -> tuple[Wire, ...]:
        return self.uplinks + self.remotes + self.standby + self.inside

    @property
    def gateway_wires(self) -> tuple[Wire, ...]:
        """The router's wires to all gateways."""
        return self.remotes + self.standby

    @property
    def charon_hosts(self) -> tuple[str, ...]:
        return tuple(host for host in CHARON_HOSTS if host in self.hosts)

    @property
    def remote_addresses(self) -> tuple[str, ...]:
        """The gateway's addresses in the outer family."""
        return self.addresses_of(GATEWAY)

    def addresses_of(self, gateway: str) -> tuple[str, ...]:
        """A gateway's addresses in the outer family."""
        wires = self.standby if gateway == BACKUP else self.remotes
        return tuple(bare(pick(wire.b.addresses, self.wish.outer)) for wire in wires)

    def ports(self, host: str | None = None) -> Iterator[Port]:
        for wire in self.wires:
            yield from (p for p in (wire.a, wire.b) if host in (None, p.host))

    def port(self, host: str, name: str) -> Port:
        for port in self.ports(host):
            if port.name == name:
                return port
        known = ", ".join(p.name for p in self.ports(host)) or "none"
        raise LabError(f"{host} has no interface {name} in this lab (it has: {known})")


def namespace(lab: str, host: str) -> str:
    return f"{NAMESPACE_PREFIX}.{lab}.{host}"


def owner(namespace_name: str) -> str | None:
    """The lab that a namespace belongs to."""
    parts = namespace_name.split(".")
    return parts[1] if len(parts) == 3 and parts[0] == NAMESPACE_PREFIX else None


def bare(address: str) -> str:
    """192.0.2.1/24 -> 192.0.2.1"""
    return address.partition("/")[0]


def family(address: str) -> int:
    return 6 if ":" in address else 4


def pick(addresses: tuple[str, ...], wanted: int) -> str:
    return next(a for a in addresses if family(a) == wanted)


def design(wish: Wish) -> Topology:
    """The topology that a wish amounts to."""
    dual = wish.ipv6 or wish.outer == 6
    names = tuple(islice(_uplink_names(), wish.uplinks))
    return Topology(
        wish=wish,
        uplinks=tuple(_uplink(i, name, metric, dual) for i, (name, metric) in enumerate(names)),
        remotes=tuple(_remote(j, dual) for j in range(wish.remotes)),
        inside=tuple(_inside(wish, dual)),
        standby=(_standby(dual),) if wish.gateways > 1 else (),
        loopback={ROUTER: _families(WORLD, dual)},
    )


def inside_net(prefix: tuple[str, str], dual: bool) -> tuple[str, ...]:
    """The networks, one per family, that a pair of prefixes stands for."""
    return _families((f"{prefix[0]}.0/24", f"{prefix[1]}:/64"), dual)


def _families(pair: tuple[str, str], dual: bool) -> tuple[str, ...]:
    return pair if dual else pair[:1]


def _uplink_names() -> Iterator[tuple[str, int]]:
    """Names as a laptop has them, with the metrics that NetworkManager gives to each kind."""
    yield from (("eth0", 100), ("wlan0", 600))
    for i in range(MAX_UPLINKS):
        yield f"wwan{i}", 700 + i


def _uplink(i: int, name: str, metric: int, dual: bool) -> Wire:
    v4, v6 = f"192.168.{i + 1}", f"2001:db8:{i + 1}:"
    client = Port(
        CLIENT,
        name,
        _families((f"{v4}.100/24", f"{v6}:100/64"), dual),
        _families((f"{v4}.1", f"{v6}:1"), dual),
        metric,
        dynamic=True,
    )
    return Wire(client, Port(ROUTER, name, _families((f"{v4}.1/24", f"{v6}:1/64"), dual)))


def _remote(j: int, dual: bool) -> Wire:
    """A gateway with several addresses answers from each by its own wire."""
    net = (_REMOTE_NETS[j], f"2001:db8:10{j}:")
    wire = _outside(f"gw{j}", GATEWAY, f"eth{j}", net, 100 + j, dual)
    return replace(wire, b=replace(wire.b, table=_SOURCE_TABLE + j))


def _standby(dual: bool) -> Wire:
    return _outside("bk0", BACKUP, "eth0", _BACKUP_NET, 100, dual)


def _outside(
    near: str, gateway: str, name: str, net: tuple[str, str], metric: int, dual: bool
) -> Wire:
    """A gateway's wire to the router, which is its next hop."""
    v4, v6 = net
    port = Port(
        gateway,
        name,
        _families((f"{v4}.1/24", f"{v6}:1/64"), dual),
        _families((f"{v4}.254", f"{v6}:fe"), dual),
        metric,
    )
    return Wire(Port(ROUTER, near, _families((f"{v4}.254/24", f"{v6}:fe/64"), dual)), port)


def _inside(wish: Wish, dual: bool) -> Iterator[Wire]:
    if wish.profile is Profile.SITE:
        yield _lan(CLIENT, STATION, INSIDE_CLIENT, dual)
        yield _lan(GATEWAY, SERVER, INSIDE_SITE, dual)
    else:
        yield _lan(GATEWAY, SERVER, INSIDE_ROADWARRIOR, dual)
    if wish.gateways > 1:
        yield _second_way(dual)


def _second_way(dual: bool) -> Wire:
    """From the second gateway to the server, and back to whom it gave an address."""
    v4, v6 = INSIDE_BACKUP
    near = _families((f"{v4}.1/24", f"{v6}:1/64"), dual)
    far = _families((f"{v4}.2/24", f"{v6}:2/64"), dual)
    there = zip(inside_net(INSIDE_ROADWARRIOR, dual), map(bare, far), strict=True)
    back = zip(_families(BACKUP_POOLS, dual), map(bare, near), strict=True)
    return Wire(
        Port(BACKUP, "lan0", near, routes=tuple(there)),
        Port(SERVER, "eth1", far, routes=tuple(back)),
    )


def _lan(router: str, host: str, prefix: tuple[str, str], dual: bool) -> Wire:
    """A host behind a router, on a network of its own."""
    v4, v6 = prefix
    first = _families((f"{v4}.1/24", f"{v6}:1/64"), dual)
    second = _families((f"{v4}.2/24", f"{v6}:2/64"), dual)
    hops = tuple(bare(a) for a in first)
    return Wire(Port(router, "lan0", first), Port(host, "eth0", second, hops, 100))
