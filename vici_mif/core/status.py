# SPDX-License-Identifier: Apache-2.0
"""What `status --json` says: schema vici-mif/status/1.

Keys are snake_case, times RFC 3339 UTC, spans seconds with `_s`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Final = "vici-mif/status/1"
CHANGE_SCHEMA: Final = "vici-mif/path-change/1"

PeerState = Literal["up", "degraded", "down", "standby", "waiting"]

EXIT_CODES: dict[PeerState, int] = {
    "up": 0,
    "standby": 0,
    "degraded": 1,
    "down": 2,
    "waiting": 2,
}
"""`vici-mif status` ends with the worst of the peers."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RestoredStatus(_Model):
    """How often something of ours was put back: others delete what they do not know."""

    routing: int = Field(default=0, description="Rules, routes or interfaces.")
    guard: int = Field(default=0, description="The nftables table.")


class DaemonStatus(_Model):
    """The controller itself."""

    version: str
    charon: str | None = Field(description="charon's version; null while there is none.")
    patched: bool = Field(description="charon has the series.")
    config: str = Field(description="The configuration file.")
    since: str = Field(description="When the controller was started.")
    why: str = Field(default="", description="What is wrong with charon, in plain words.")
    kernel_why: str = Field(
        default="", description="What of ours the kernel did not take; it is tried again."
    )
    restored: RestoredStatus = Field(
        default=RestoredStatus(), description="What others took away, since the start."
    )
    config_since: str = Field(default="", description="Since when this configuration is in force.")
    config_refused: str = Field(
        default="", description="What is wrong with the files as they were read last."
    )


class ChildStatus(_Model):
    """One CHILD_SA."""

    name: str
    state: str
    spi_in: str
    spi_out: str
    local_ts: tuple[str, ...]
    remote_ts: tuple[str, ...]
    tx_bytes: int
    rx_bytes: int


class TunnelStatus(_Model):
    """One member of the family with its CHILD SAs."""

    name: str = Field(description="Its home: LINK/REMOTE; `spare-ID` without one.")
    ike_id: int = Field(description="charon's unique id; a rekey changes it.")
    home: str | None = Field(description="The path it belongs to; null: a spare.")
    current: str | None = Field(description="The path it is on; null: on none we know.")
    local: str
    remote: str
    inner: tuple[str, ...] = Field(description="Inner addresses.")
    children: tuple[ChildStatus, ...]
    since: str = Field(description="Since when it is on `current`.")
    pinned_s: float | None = Field(default=None, description="Left of the pin at the last look.")
    why: str = Field(default="", description="Why it is not at home.")


class PathStatus(_Model):
    """One pair of addresses."""

    name: str
    link: str
    local: str | None
    remote: str | None
    state: Literal["active", "ready", "idle", "testing", "failed", "drained", "denied"]
    order: Literal["", "drain", "prefer"] = Field(
        default="", description="What was ordered by hand of it."
    )
    probe: Literal["inner", "ike", "passive"] = "ike"
    rtt_s: float | None = None
    jitter_s: float | None = None
    loss: float | None = None
    tx_bytes: int = 0
    rx_bytes: int = 0
    probe_bytes_today: int = 0
    since: str
    why: str


class PeerStatus(_Model):
    """One peer."""

    name: str
    state: PeerState
    mode: Literal["per-path", "one", "single", "authenticate", "passive"] | None
    why: str = Field(description="One sentence: why this state, why this mode.")
    authentications: int = Field(description="Runs of IKE_AUTH since the controller started.")
    clones: int = Field(description="Clones made since the controller started.")
    family: int | None = Field(description="clone-family of charon.")
    mtu: int | None = Field(
        default=None, description="Bytes of an inner packet that fit on every path; null: unknown."
    )
    tunnels: tuple[TunnelStatus, ...]
    paths: tuple[PathStatus, ...]


class FamilyStatus(_Model):
    """A peer that authenticated with our gateway, and all that was cloned from that."""

    id: int = Field(description="clone-family of charon.")
    connection: str
    identity: str = Field(description="What it authenticated with; EAP's where there is one.")
    tunnels: int
    paths: tuple[str, ...] = Field(description="Pairs of outer addresses, ours first.")
    inner: tuple[str, ...] = Field(description="Inner addresses it was given.")
    rx_bytes: int
    tx_bytes: int
    age_s: float = Field(description="Since its oldest member known was established.")
    refused: int = Field(description="Clones refused to it, by charon's count.")
    why: str = Field(default="", description="Why clones were refused.")


class SourcesStatus(_Model):
    """The outer source check. Counters are packets since its table was made."""

    mode: Literal["off", "count", "drop"]
    known: int = Field(description="Pairs of inbound SPI and outer address.")
    refused: int = Field(description="Such pairs that are refused now.")
    new_packets: int = Field(description="First ones from a new address; they passed.")
    refused_packets: int = Field(description="From a refused address: counted, or dropped.")
    spread_packets: int = Field(description="More new addresses than four for an SPI; they passed.")
    full_packets: int = Field(description="No room to remember a new address; they passed.")
    why: str = Field(default="", description="Why it is not in force.")


class GatewayStatus(_Model):
    """Peers that come to us."""

    families: tuple[FamilyStatus, ...]
    tunnels: int
    refused: int = Field(description="Clones refused, also to families that are gone.")
    read: str = Field(description="When the counters of all families were read last; empty: never.")
    sources: SourcesStatus


class OrderStatus(_Model):
    """What an operator asked for by hand."""

    id: int
    kind: str
    peer: str
    path: str = Field(default="", description="LINK/REMOTE, or LINK for all its paths.")
    identity: str = Field(default="", description="Of a gateway's peers.")
    given: str
    by: str


class PathChange(_Model):
    """What a hook gets on its standard input: one path has another state."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: Literal["vici-mif/path-change/1"] = Field(default=CHANGE_SCHEMA, alias="schema")
    peer: str
    path: str = Field(description="LINK/REMOTE.")
    link: str
    local: str | None = Field(description="null: the link is not there.")
    remote: str | None
    before: str = Field(default="", description="The state it had; empty: it was not there.")
    state: str = Field(description="As in the status, never `testing`; `gone`: it is no path now.")
    why: str
    at: str = Field(default="", description="When it was noticed.")

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True) + "\n"


class Status(_Model):
    """All of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: Literal["vici-mif/status/1"] = Field(default=SCHEMA, alias="schema")
    daemon: DaemonStatus
    peers: tuple[PeerStatus, ...]
    orders: tuple[OrderStatus, ...] = ()
    gateway: GatewayStatus | None = Field(default=None, description="null: none is configured.")

    def restored(self, routing: int, guard: int) -> Status:
        """With the counters of those who watch the kernel."""
        counted = RestoredStatus(routing=routing, guard=guard)
        return self.model_copy(
            update={"daemon": self.daemon.model_copy(update={"restored": counted})}
        )

    @property
    def exit_code(self) -> int:
        """0 up, 1 degraded, 2 down. A gateway alone is up while there is a charon; what the kernel
        did not take is as a peer that is degraded."""
        alone = 0 if self.gateway is not None and self.daemon.charon is not None else 2
        states = max((EXIT_CODES[peer.state] for peer in self.peers), default=alone)
        unchecked = self.gateway is not None and self.gateway.sources.why
        return max(states, int(bool(self.daemon.kernel_why or unchecked)))

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=2)


def schema() -> dict[str, Any]:
    """The JSON Schema of the status."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Status.model_json_schema(by_alias=True),
        "title": SCHEMA,
    }


def change_schema() -> dict[str, Any]:
    """The JSON Schema of what a hook is told."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PathChange.model_json_schema(by_alias=True),
        "title": CHANGE_SCHEMA,
    }


class Clock:
    """Turns the planner's monotonic seconds into times people read."""

    def __init__(self, now: float, utc: datetime) -> None:
        self.now, self._utc = now, utc

    def rfc3339(self, at: float) -> str:
        when = self._utc - timedelta(seconds=self.now - at)
        return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
