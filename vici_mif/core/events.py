# SPDX-License-Identifier: Apache-2.0
"""All that can happen: facts, in the past tense.

A fact about an SA or a link carries the thing as it is now, not what changed: the planner
compares with what it knew. Each action has a `tag`; the facts ActionTaken, ActionDone and
ActionFailed name it. Every action gets exactly one ActionDone or ActionFailed, except
those under way when CharonGone arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

from vici_mif.core.model import (
    Connection,
    Footprint,
    IPAddress,
    Link,
    Order,
    OrderKind,
    ProbeWish,
    Sa,
    Source,
    SourceCounts,
    Verdict,
)
from vici_mif.core.wish.config import Config

# --- charon ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CharonConnected:
    """Both VICI connections stand and the events are subscribed.

    ConnectionsSeen and SasSeen follow by themselves.
    """

    version: str
    """As `version` answers: `6.1.0`."""
    patched: bool
    """The event `ike-clone` could be registered."""
    plugins: frozenset[str] = frozenset()
    """As `stats` answers; `kernel-libipsec` decides about the data plane."""


@dataclass(frozen=True, slots=True)
class CharonGone:
    """The VICI connection was lost or could not be made. Nothing that was asked is answered."""

    why: str
    """For people: `/run/charon.vici: connection refused`."""


@dataclass(frozen=True, slots=True)
class ConnectionsSeen:
    """All connections charon has loaded: on connect, after ReadAll, and when they changed."""

    connections: tuple[Connection, ...]


@dataclass(frozen=True, slots=True)
class SasSeen:
    """All IKE_SAs: what is not in it is gone. On connect, on overflow, after ReadAll."""

    sas: tuple[Sa, ...]


@dataclass(frozen=True, slots=True)
class SaSeen:
    """One IKE_SA as it is now: an event named it and it was read (or the event had it)."""

    sa: Sa


@dataclass(frozen=True, slots=True)
class SaGone:
    """There is no IKE_SA with this unique id any more."""

    unique_id: int


@dataclass(frozen=True, slots=True)
class SaClosed:
    """ike-updown with `up = no`: the IKE_SA goes, by whom is in its tasks."""

    sa: Sa
    given: str = ""
    """When it was seen, RFC 3339 UTC: it may have been an order."""


@dataclass(frozen=True, slots=True)
class SaRekeyed:
    """ike-rekey: the IKE_SA goes on under a new unique id."""

    old_id: int
    new: Sa


@dataclass(frozen=True, slots=True)
class CloneRefused:
    """A peer asked for a clone and this end refused (ike-clone with `initiator = no`)."""

    unique_id: int
    reason: str
    """A word of docs/vici.md: limit, rate, temporary ..."""
    count: int = 0
    """How many were refused to its family in all."""


# --- those who come to a gateway ---------------------------------------------


@dataclass(frozen=True, slots=True)
class MembersSeen:
    """What is new of the members of a gateway's families, made of the facts about them.

    There may be thousands: what did not change is not in it, nor what is only counted.
    """

    seen: tuple[Sa, ...] = ()
    """New or changed, established, without counters and times left."""
    rekeyed: tuple[tuple[int, int], ...] = ()
    """Old and new unique id; the new one is in `seen`."""
    gone: tuple[int, ...] = ()
    quiet: tuple[int, ...] | None = None
    """Through which nothing came since the last look at everything; None: none was made."""


@dataclass(frozen=True, slots=True)
class NewcomersSeen:
    """Outer sources that began or ceased to send with an SPI of somebody else's."""

    began: tuple[tuple[Source, float], ...] = ()
    """With the seconds since their last packet."""
    ceased: tuple[Source, ...] = ()


# --- kernel and names ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinksSeen:
    """All links with their addresses (without lo, tunnels of ours and of charon)."""

    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class SourcesSeen:
    """What the kernel saw of outer sources that are not known, with CheckSources."""

    newcomers: tuple[tuple[Source, float], ...]
    """With the seconds since their last packet."""
    counts: SourceCounts


@dataclass(frozen=True, slots=True)
class NameResolved:
    """All addresses of a name, in the resolver's order. Before the ActionDone of Resolve."""

    name: str
    addresses: tuple[IPAddress, ...]


# --- health ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathHealth:
    """What is known of one watched tunnel: when the verdict changes, and when it was asked for."""

    wish: ProbeWish
    verdict: Verdict
    proof: bool = False
    """SILENT: the same targets answer through another path."""
    rtt_delay: float | None = None
    """Seconds there and back, smoothed; None before the first answer."""
    jitter_delay: float | None = None
    """Seconds by which it differs from one answer to the next, smoothed."""
    loss: float | None = None
    """0 to 1, of the requests of the last while; None before there are enough."""
    outer_bytes: int = 0
    """Bytes on the link since this watch began: requests sent and answers received."""


@dataclass(frozen=True, slots=True)
class DayBegan:
    """A new UTC day: what is counted by the day starts at nothing."""

    day: str
    """`2026-11-21`."""


# --- what became of actions ------------------------------------------------


@dataclass(frozen=True, slots=True)
class ActionTaken:
    """charon took a request; its end follows as ActionDone or ActionFailed."""

    tag: str
    ike_id: int | None = None
    """CreateIke: the unique id of the IKE_SA under way."""


@dataclass(frozen=True, slots=True)
class ActionDone:
    """An action ended well."""

    tag: str
    ike_id: int | None = None
    """CreateIke, Clone: the new IKE_SA. Migrate: the one moved, as it is called now."""
    family: int | None = None
    """Clone, CreateIke: clone-family where known."""
    child_id: int | None = None
    """CreateChild."""
    rtt_delay: float | None = None
    """Probe: seconds; None where the first transmission was not answered."""
    key_id: str = ""
    """LoadSecret of a private key: how charon calls it."""
    is_new: bool | None = None
    """Whether charon had no such key before."""


@dataclass(frozen=True, slots=True)
class ActionFailed:
    """An action ended badly. Who carries out never repeats: the planner decides."""

    tag: str
    reason: str
    """A word of docs/vici.md for requests of the series; else `failed`."""
    text: str = ""
    """For people."""


# --- operator and process --------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrdersRead:
    """The orders kept from before; once, before everything else."""

    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class FootprintsRead:
    """What was laid before this start, as far as it is known; once, before everything else."""

    footprints: tuple[Footprint, ...]


@dataclass(frozen=True, slots=True)
class OrderGiven:
    """An operator asked for something (`vici-mif down hq`). `up` clears a down: OrderCleared."""

    kind: OrderKind
    peer: str
    """Empty: every peer."""
    given: str
    """RFC 3339 UTC."""
    path: str = ""
    """LINK/REMOTE, or LINK for all its paths. Revoke: empty for the whole family."""
    spis: tuple[str, ...] = ()
    """Revoke: what it is about. The planner looks that up."""
    identity: str = ""
    """Revoke-identity: whose."""


@dataclass(frozen=True, slots=True)
class OrderCleared:
    """An order was taken back: by id, or all of a kind of a peer (`vici-mif up hq`)."""

    id: int | None = None
    kind: OrderKind | None = None
    peer: str = ""
    """Empty: every peer."""
    path: str = ""
    """Only orders about this path, or about paths of this link. Empty: any."""
    identity: str = ""
    """Only orders about this identity. Empty: any."""


@dataclass(frozen=True, slots=True)
class ConfigRead:
    """The operator's files were read again and are good; something differs from before."""

    config: Config
    given: str = ""
    """When that was, RFC 3339 UTC."""
    renewed: frozenset[str] = frozenset()
    """Peers whose inline connection names a file or variable with another content."""


@dataclass(frozen=True, slots=True)
class Woke:
    """The machine slept: everything has to be looked at again."""

    slept_delay: float
    """Seconds by which the boot clock ran ahead of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """The deadline the planner asked for has come."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """SIGTERM or SIGINT. The planner answers with its last actions; `stopped` says when done."""


Event = (
    CharonConnected
    | CharonGone
    | ConnectionsSeen
    | SasSeen
    | SaSeen
    | SaGone
    | SaClosed
    | SaRekeyed
    | CloneRefused
    | MembersSeen
    | NewcomersSeen
    | SourcesSeen
    | LinksSeen
    | NameResolved
    | PathHealth
    | DayBegan
    | ActionTaken
    | ActionDone
    | ActionFailed
    | OrdersRead
    | FootprintsRead
    | OrderGiven
    | OrderCleared
    | ConfigRead
    | Woke
    | Ticked
    | Stopping
)
