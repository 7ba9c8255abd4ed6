# SPDX-License-Identifier: Apache-2.0
"""What the kernel is asked for: rules, routes, interfaces and the guard."""

from __future__ import annotations

from dataclasses import dataclass

from vici_mif.core.model.address import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class Rule:
    """A routing rule of ours. All fields that are None are absent from the rule."""

    priority: int
    family: int
    """4 or 6."""
    table: int
    """254 is main."""
    source: IPNetwork | None = None
    destination: IPNetwork | None = None
    iif: str | None = None
    """`lo`: packets of this host itself."""
    suppress_prefixlength: int | None = None
    """0: ignore the table's default route."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of ours in one of our tables."""

    table: int
    destination: IPNetwork
    device: str | None = None
    """None: `unreachable`."""
    prefsrc: IPAddress | None = None
    metric: int = 0
    """0: the kernel's default. `unreachable` lies underneath with the worst metric."""
    mtu: int | None = None
    """Bytes; None: the device's."""


@dataclass(frozen=True, slots=True)
class LinkTable:
    """Table `table` holds what main has with this link as output, and nothing else.

    The steering edge copies and keeps the copy current: main belongs to others.
    """

    link: str
    table: int


@dataclass(frozen=True, slots=True)
class XfrmInterface:
    """An xfrm interface of ours, up; kernel ESP only."""

    name: str
    if_id: int
    mtu: int | None = None
    """Bytes; None leaves the kernel's."""


@dataclass(frozen=True, slots=True)
class Steering:
    """Everything of ours in the kernel's routing, as a whole. Empty: nothing of ours is left.

    The edge adds what is missing before it deletes what is too much, routes before rules.
    It owns the configured tables, rule priorities and the names `mif*`, nothing else.
    """

    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()
    link_tables: tuple[LinkTable, ...] = ()
    interfaces: tuple[XfrmInterface, ...] = ()


@dataclass(frozen=True, slots=True)
class Selector:
    """Protected traffic, seen from here: from `local` to `remote` (both of one IP version)."""

    local: IPNetwork
    remote: IPNetwork


@dataclass(frozen=True, slots=True)
class Clamp:
    """TCP's maximum segment size for protected traffic, announced by either end."""

    selector: Selector
    mss: int
    """Bytes; a larger one is replaced in SYN segments, a smaller one stays."""


@dataclass(frozen=True, slots=True)
class GuardWish:
    """What the one nftables table refuses: protected traffic that leaves an uplink in clear.

    Rejected in output and forward on `uplinks`: source in a selector's `local` and destination
    in its `remote`, unless `exempt` holds the destination, or it is IKE (UDP 500, 4500 from this
    host) or ESP, or (`kernel_esp`) the packet has an IPsec route (`rt ipsec missing` fails).
    """

    selectors: tuple[Selector, ...] = ()
    uplinks: tuple[str, ...] = ()
    """Names; one that ends in `*` stands for all that begin so."""
    exempt: tuple[IPNetwork, ...] = ()
    """Link subnets and the peers' outer addresses."""
    kernel_esp: bool = True
    clamps: tuple[Clamp, ...] = ()
