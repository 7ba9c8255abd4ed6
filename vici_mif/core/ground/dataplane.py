# SPDX-License-Identifier: Apache-2.0
"""Which rules, routes and interfaces a peer wishes. Pure.

Order of the rules, from `rules` on (charon's own, 220, comes after all of them):

    +0  from INNER lookup T_inner                    its tunnel, or unreachable
    +2  from LINK-ADDRESS lookup T_link suppress 0   by its own link, where it has a route
    +3  from LINK-ADDRESS lookup main suppress 0     LANs and other specific routes of the host
    +4  from LINK-ADDRESS lookup T_link              the link's own default route
    +6  iif lo to TS lookup 220 suppress LEN         other connections' more specific children
    +7  iif lo to TS lookup main suppress LEN        link subnets inside TS
    +8  iif lo to TS lookup T_default                unbound sockets: the default source
    +9  iif lo lookup main                           0.0.0.0/0 and no child works: the host lives

`suppress` ignores routes whose prefix is not longer than that. `unreachable` lies underneath in
T_inner and T_default from before the first tunnel until the peer is taken down. All peers share
T_default, so that of overlapping networks the longer prefix wins; of equal ones the first wish.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from vici_mif.core.ground.mtu import floored
from vici_mif.core.model import (
    IPAddress,
    IPNetwork,
    LinkTable,
    Route,
    Rule,
    Slot,
    Steering,
    XfrmInterface,
)
from vici_mif.core.paths.ranking import Path
from vici_mif.core.selectors import host
from vici_mif.core.wish.numbers import Numbers

INNER, LINK, SPECIFIC, UNBOUND, LIVES = 0, 2, 6, 8, 9
"""Offsets in `rules`. Inner addresses come first: charon may put them on an uplink
(kernel-netlink does), where they look like addresses of the link."""

MAIN = 254
CHARON = 220
"""charon's own table, and its rule's preference."""

UNDERNEATH = 2**31 - 1
"""The metric of `unreachable`: worse than anything else."""

LIBIPSEC_DEVICE = "ipsec0"
"""kernel-libipsec's TUN device."""

TUN_MTU = 1400
"""Bytes; kernel-libipsec gives its device this one, whatever the paths would bear."""


def links(numbers: Numbers, paths: Iterable[Path]) -> Steering:
    """What is sent from a link's address leaves by that link."""
    addresses: dict[str, set[IPAddress]] = {}
    for path in paths:
        addresses.setdefault(path.name.link, set()).update(path.locals)
    tables = {link: numbers.link_table(link) for link in addresses}
    rules = [
        rule
        for link, own in addresses.items()
        for address in sorted(own, key=lambda a: (a.version, a))
        for rule in _by_own_link(numbers, address, tables[link])
    ]
    return Steering(
        rules=tuple(dict.fromkeys(rules)),
        link_tables=tuple(LinkTable(link, table) for link, table in tables.items()),
    )


def _by_own_link(numbers: Numbers, address: IPAddress, table: int) -> tuple[Rule, ...]:
    source, version = host(address), address.version
    return (
        Rule(numbers.priority(LINK), version, table, source=source, suppress_prefixlength=0),
        Rule(numbers.priority(LINK + 1), version, MAIN, source=source, suppress_prefixlength=0),
        Rule(numbers.priority(LINK + 2), version, table, source=source),
    )


@dataclass(frozen=True, slots=True)
class Inner:
    """Mode per-path: what the family has."""

    slots: tuple[Slot, ...]
    """Inner addresses by tunnel."""
    remotes: tuple[IPNetwork, ...]
    """What lies behind the peer."""
    kernel_esp: bool
    established: bool
    """The addresses are installed: routes may name them."""
    works: bool
    """A tunnel carries traffic."""
    mtu: int
    """Bytes of an inner packet that fit on every path."""
    first: int = 0
    """The slot whose addresses are the default source."""
    bare: frozenset[int] = frozenset()
    """Kernel ESP: tunnels whose child has not our interface id. Its policies catch packets on
    any uplink, as without us; a route of ours would lead past them."""
    awaited: frozenset[int] = frozenset()
    """Of these, those whose address a family that follows has: its child will have our id, and
    what comes in by it is dropped where no interface has that."""
    closed: frozenset[IPNetwork] = frozenset()
    """Remotes that no child has, though a tunnel works."""

    def reaches(self, remote: IPNetwork) -> bool:
        """A child carries what is sent there."""
        return self.works and remote not in self.closed


def inner(numbers: Numbers, wish: Inner) -> Steering:
    """Each inner address to its own tunnel; unbound sockets to one of them."""
    parts = [_slot(numbers, wish, i, slot) for i, slot in enumerate(wish.slots) if slot]
    return join(parts if wish.first in wish.bare else [*parts, _unbound(numbers, wish)])


def _slot(numbers: Numbers, wish: Inner, index: int, slot: Slot) -> Steering:
    if index in wish.bare:
        laid = index in wish.awaited
        return Steering(interfaces=_interface(numbers, wish, index, slot) if laid else ())
    table = numbers.inner_table(index)
    return Steering(
        rules=tuple(Rule(numbers.priority(INNER), a.version, table, source=host(a)) for a in slot),
        routes=_routes(wish, table, slot, _device(numbers, wish, index)),
        interfaces=_interface(numbers, wish, index, slot),
    )


def _interface(numbers: Numbers, wish: Inner, index: int, slot: Slot) -> tuple[XfrmInterface, ...]:
    """Below IPv6's least MTU the kernel would take IPv6 off the interface."""
    if not wish.kernel_esp or not wish.established:
        return ()
    least = max((floored(wish.mtu, a.version) for a in slot), default=wish.mtu)
    return (XfrmInterface(numbers.interface(index), numbers.if_id(index), least),)


def _device(numbers: Numbers, wish: Inner, index: int) -> str:
    return numbers.interface(index) if wish.kernel_esp else LIBIPSEC_DEVICE


def _routes(wish: Inner, table: int, slot: Slot, device: str) -> tuple[Route, ...]:
    sources = {a.version: a for a in slot}
    routes = [Route(table, remote, metric=UNDERNEATH) for remote in wish.remotes]
    if wish.established:
        routes += [
            Route(
                table,
                remote,
                device,
                prefsrc=sources[remote.version],
                mtu=_route_mtu(wish, remote.version),
            )
            for remote in wish.remotes
            if remote.version in sources
        ]
    return tuple(routes)


def _route_mtu(wish: Inner, version: int) -> int | None:
    """A device of ours has the MTU itself; charon's is left alone, so the route says less."""
    if wish.kernel_esp or wish.mtu >= TUN_MTU:
        return None
    return floored(wish.mtu, version)


def _unbound(numbers: Numbers, wish: Inner) -> Steering:
    if not wish.remotes:
        return Steering()
    table = numbers.default_table
    first = wish.slots[wish.first] if wish.slots else ()
    cut_off = [remote for remote in wish.remotes if not wish.reaches(remote)]
    to = [_to(numbers, remote, table, remote not in cut_off) for remote in wish.remotes]
    return Steering(
        rules=(*host_lives(numbers, cut_off, works=False), *chain.from_iterable(to)),
        routes=_routes(wish, table, first, _device(numbers, wish, wish.first)),
    )


def _to(numbers: Numbers, remote: IPNetwork, table: int, works: bool) -> tuple[Rule, ...]:
    version, length = remote.version, remote.prefixlen
    to = remote if length else None
    unbound = Rule(numbers.priority(UNBOUND), version, table, destination=to, iif="lo")
    return (
        Rule(
            numbers.priority(SPECIFIC),
            version,
            CHARON,
            destination=to,
            iif="lo",
            suppress_prefixlength=length,
        ),
        Rule(
            numbers.priority(SPECIFIC + 1),
            version,
            MAIN,
            destination=to,
            iif="lo",
            suppress_prefixlength=length,
        ),
        *((unbound,) if length or works else ()),
    )


def host_lives(numbers: Numbers, remotes: Iterable[IPNetwork], works: bool) -> tuple[Rule, ...]:
    """With everything behind a dead peer the host's own unbound traffic goes by main."""
    if works:
        return ()
    whole = dict.fromkeys(remote.version for remote in remotes if remote.prefixlen == 0)
    return tuple(Rule(numbers.priority(LIVES), version, MAIN, iif="lo") for version in whole)


def join(parts: Iterable[Steering]) -> Steering:
    """Several wishes as one, nothing twice; of two routes to one place the first one's."""
    both = list(parts)
    routes: dict[tuple[int, IPNetwork, int], Route] = {}
    for route in (x for part in both for x in part.routes):
        routes.setdefault((route.table, route.destination, route.metric), route)
    return Steering(
        rules=tuple(dict.fromkeys(x for part in both for x in part.rules)),
        routes=tuple(routes.values()),
        link_tables=tuple(dict.fromkeys(x for part in both for x in part.link_tables)),
        interfaces=tuple(dict.fromkeys(x for part in both for x in part.interfaces)),
    )
