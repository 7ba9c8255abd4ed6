# SPDX-License-Identifier: Apache-2.0
"""Routes between the model's shape and netlink's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vici_mif.core.model import IPNetwork, Route
from vici_mif.edges.netlink import network

AF = {4: 2, 6: 10}
UNICAST, UNREACHABLE = 1, 7  # rtm_type
LINK_SCOPE = 253
ONLINK = 4  # RTNH_F_ONLINK
CLONED = 0x200  # RTM_F_CLONED: a cache entry, no route
IPV6_METRIC = 1024  # what the kernel makes of no metric


@dataclass(frozen=True)
class Entry:
    """A route as the kernel tells it, so far as we compare and copy it."""

    table: int
    family: int
    destination: IPNetwork
    metric: int = 0
    kind: int = UNICAST
    oif: int | None = None
    gateway: str | None = None
    prefsrc: str | None = None
    scope: int = 0
    flags: int = 0
    mtu: int = 0
    """Bytes; 0: the device's."""
    missing: str | None = None
    """The name of a device that is not there (a wish only)."""

    def sorting(self) -> tuple[object, ...]:
        """Rejecting routes first (nothing in clear), then the ones a gateway stands on."""
        return (self.kind == UNICAST, self.gateway is not None, str(self.destination), self.metric)

    def __str__(self) -> str:
        kind = "unreachable " if self.kind == UNREACHABLE else ""
        return f"{kind}{self.destination} in table {self.table}"


def entry_of(message: Any) -> Iterator[Entry]:
    """A route of the kernel's; one for each next hop of a multipath route."""
    if message["type"] not in (UNICAST, UNREACHABLE) or message["flags"] & CLONED:
        return
    entry = _single(message)
    if entry.destination.is_link_local or entry.destination.is_multicast:
        return
    hops = message.get("multipath")
    if not hops:
        yield entry
        return
    for hop in hops:
        yield replace(
            entry, oif=int(hop["oif"]), gateway=hop.get("gateway"), flags=hop["flags"] & ONLINK
        )


def _single(message: Any) -> Entry:
    family, kind = message["family"], message["type"]
    return Entry(
        table=int(message.get("table") or message["table"]),
        family=family,
        destination=network(message.get("dst"), message["dst_len"], family),
        metric=int(message.get("priority") or 0),
        kind=kind,
        # IPv6 shows a reject route on lo, which nobody asked for
        oif=int(message.get("oif") or 0) or None if kind == UNICAST else None,
        gateway=message.get("gateway"),
        prefsrc=message.get("prefsrc"),
        # IPv6 has no scopes
        scope=message["scope"] if family == AF[4] else 0,
        flags=message["flags"] & ONLINK,
        mtu=int(message.get(("metrics", "mtu")) or 0),
    )


def wished(route: Route, names: Mapping[int, str]) -> Entry:
    """The kernel's shape of a route of ours."""
    family = AF[route.destination.version]
    index = next((i for i, name in names.items() if name == route.device), None)
    direct = family == AF[4] and route.device is not None
    return Entry(
        table=route.table,
        family=family,
        destination=route.destination,
        metric=route.metric or (IPV6_METRIC if family == AF[6] else 0),
        kind=UNICAST if route.device else UNREACHABLE,
        oif=index,
        prefsrc=str(route.prefsrc) if route.prefsrc else None,
        scope=LINK_SCOPE if direct else 0,
        mtu=route.mtu or 0,
        missing=route.device if route.device and index is None else None,
    )


def copied(entry: Entry, table: int) -> Entry:
    """The same route in a table of ours."""
    return replace(entry, table=table)


def written(entry: Entry, protocol: int) -> dict[str, Any]:
    """The keys that put or delete this route."""
    keys: dict[str, Any] = {
        "family": entry.family,
        "table": entry.table,
        "dst": str(entry.destination),
        "type": entry.kind,
        "proto": protocol,
        "scope": entry.scope,
        "flags": entry.flags,
    }
    more = {
        "priority": entry.metric or None,
        "oif": entry.oif,
        "gateway": entry.gateway,
        "prefsrc": entry.prefsrc,
        "metrics": {"mtu": entry.mtu} if entry.mtu else None,
    }
    return keys | {key: value for key, value in more.items() if value is not None}
