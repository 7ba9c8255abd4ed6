# SPDX-License-Identifier: Apache-2.0
"""All we can ask for: orders, in the imperative.

The order of a list of actions is the order in which they must be begun (make before break).
`tag` is unique within a run. Requests of the series go out with `timeout = -1`: the answer
becomes ActionTaken, the final event with the tag ActionDone or ActionFailed.
"""

from __future__ import annotations

from dataclasses import dataclass

from vici_mif.core.model import (
    Footprint,
    GuardWish,
    IPAddress,
    Order,
    Pair,
    ProbeWish,
    Section,
    SourceChange,
    Steering,
)
from vici_mif.core.status import PathChange

# --- requests of the series (docs/vici.md) ---------------------------------


@dataclass(frozen=True, slots=True)
class CreateIke:
    """create-ike: a new IKE_SA, one authentication, a new family."""

    tag: str
    connection: str
    pair: Pair
    vips: tuple[IPAddress, ...] = ()
    """Inner addresses to ask for instead of the connection's; empty: the connection's own."""
    childless: bool = False
    child: str | None = None
    """Template to open in IKE_AUTH; None with `childless`."""


@dataclass(frozen=True, slots=True)
class Clone:
    """clone: one more IKE_SA of the family, without authentication (RFC 7791)."""

    tag: str
    ike_id: int


@dataclass(frozen=True, slots=True)
class Migrate:
    """migrate: move an IKE_SA with its children; to the pair in use: renew the pin only, and
    without a pin tell the peer again, which so learns what a NAT does with that pair now."""

    tag: str
    ike_id: int
    pair: Pair
    pin_delay: int
    """Seconds of the lease; 0: no pin."""


@dataclass(frozen=True, slots=True)
class Unpin:
    """unpin: give the IKE_SA back to charon's own roaming. Done at once, no final event."""

    tag: str
    ike_id: int


@dataclass(frozen=True, slots=True)
class Probe:
    """probe: one empty INFORMATIONAL on that pair; the IKE_SA stays."""

    tag: str
    ike_id: int
    pair: Pair
    tries: int = 1


@dataclass(frozen=True, slots=True)
class AskPeer:
    """probe, to wherever charon has the peer now: is it there?"""

    tag: str
    ike_id: int
    local: IPAddress
    """Our address; the peer's is the one in use."""
    tries: int = 1


@dataclass(frozen=True, slots=True)
class CreateChild:
    """create-child: a CHILD_SA on that IKE_SA; empty fields are the template's."""

    tag: str
    ike_id: int
    template: str
    name: str
    """`<template>@<path>`, or the template's own name."""
    local_ts: tuple[str, ...] = ()
    remote_ts: tuple[str, ...] = ()
    if_id: int | None = None
    """Both directions."""


# --- requests every charon knows -------------------------------------------


@dataclass(frozen=True, slots=True)
class Initiate:
    """initiate {ike, child} with timeout -1; stock charon. Done when it was taken."""

    tag: str
    connection: str
    child: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """terminate {ike-id} with timeout -1. Done when it was taken; the end is SaClosed, SaGone."""

    tag: str
    ike_id: int
    force: bool = False
    """Do not wait for the peer's answer."""
    replaced: bool = False
    """Others have its selectors: send nothing on it any more, accept until it is gone."""


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """terminate {child-id} with timeout -1."""

    tag: str
    child_id: int


@dataclass(frozen=True, slots=True)
class LoadConnection:
    """load-conn {name = message}."""

    tag: str
    name: str
    message: Section


@dataclass(frozen=True, slots=True)
class LoadSecret:
    """`command` is load-shared or load-key; the message holds FromFile or FromEnvironment."""

    tag: str
    command: str
    message: Section


@dataclass(frozen=True, slots=True)
class Unload:
    """unload-conn, unload-shared or unload-key: what an inline connection that is gone had
    loaded."""

    tag: str
    command: str
    name: str


@dataclass(frozen=True, slots=True)
class ReadSa:
    """list-sas {ike-id}: becomes SaSeen or SaGone, then ActionDone."""

    tag: str
    ike_id: int


@dataclass(frozen=True, slots=True)
class ReadAll:
    """list-conns and list-sas: become ConnectionsSeen and SasSeen, then ActionDone."""

    tag: str


# --- kernel, names, orders, people -----------------------------------------


@dataclass(frozen=True, slots=True)
class Steer:
    """Make rules, routes and xfrm interfaces of ours exactly these."""

    tag: str
    wish: Steering


@dataclass(frozen=True, slots=True)
class Guard:
    """Make our nftables table exactly this; None: no table of ours."""

    tag: str
    wish: GuardWish | None


@dataclass(frozen=True, slots=True)
class CheckSources:
    """Change the table of outer sources; None: no table."""

    tag: str
    change: SourceChange | None


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch exactly these tunnels from inside; what is found becomes PathHealth."""

    tag: str
    wish: tuple[ProbeWish, ...]


@dataclass(frozen=True, slots=True)
class Resolve:
    """All addresses of a name: becomes NameResolved, then ActionDone."""

    tag: str
    name: str


@dataclass(frozen=True, slots=True)
class StoreOrders:
    """Replace the kept orders."""

    tag: str
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class KeepFootprints:
    """Replace what the next boot begins with; none: nothing is to be laid then."""

    tag: str
    footprints: tuple[Footprint, ...]


@dataclass(frozen=True, slots=True)
class PathsChanged:
    """Tell who listens, and run the hooks. Needs no ActionDone: nobody waits for them."""

    tag: str
    changes: tuple[PathChange, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the operator (the log). Needs no ActionDone."""

    tag: str
    text: str
    level: str = "info"
    """info, warning or error."""


CharonAction = (
    CreateIke
    | Clone
    | Migrate
    | Unpin
    | Probe
    | AskPeer
    | CreateChild
    | Initiate
    | Terminate
    | TerminateChild
    | LoadConnection
    | LoadSecret
    | Unload
    | ReadSa
    | ReadAll
)
"""Goes to the charon edge."""

Action = (
    CharonAction
    | Steer
    | Guard
    | CheckSources
    | Watch
    | Resolve
    | StoreOrders
    | KeepFootprints
    | PathsChanged
    | Say
)
