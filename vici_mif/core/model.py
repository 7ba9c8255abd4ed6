# SPDX-License-Identifier: Apache-2.0
"""The nouns. Wish and reality have one type: the plan is their difference.

Everything here is frozen data. Nothing in this file knows VICI, netlink or YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface


# --- the outside: links, remotes, pairs ------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """A local interface, as the kernel shows it."""

    name: str
    index: int
    """The kernel's interface index; changes when the interface is made anew."""
    up: bool
    """Administratively up and with carrier."""
    mtu: int
    """Bytes."""
    addresses: tuple[IPInterface, ...]
    """Global addresses that may be used now (not tentative, not deprecated, no temporary
    ones), with prefix length, primary first."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The two outer addresses of one path, without ports (charon keeps the ports in use)."""

    local: IPAddress
    remote: IPAddress

    def __str__(self) -> str:
        return f"{self.local} -> {self.remote}"


@dataclass(frozen=True, slots=True, order=True)
class PathName:
    """LINK/REMOTE as configured: `eth0/203.0.113.1`, `wwan0/gw.example.org`.

    No address of ours is in it, so a new DHCP lease does not rename a path.
    """

    link: str
    remote: str

    def __str__(self) -> str:
        return f"{self.link}/{self.remote}"

    @classmethod
    def parse(cls, text: str) -> PathName | None:
        """The reverse of str(); None where there is no slash."""
        link, slash, remote = text.partition("/")
        return cls(link, remote) if slash and link and remote else None


# --- what charon shows -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Child:
    """One CHILD_SA (list-sas). `name` is `<template>@<path>` where we opened it."""

    name: str
    unique_id: int
    state: str
    """INSTALLED, REKEYING, DELETING ... in charon's words."""
    local_ts: tuple[str, ...]
    """Traffic selectors in charon's notation: `10.3.0.1/32`, `10.1.0.0/16[tcp/80]`."""
    remote_ts: tuple[str, ...]
    mode: str = "TUNNEL"
    encap: bool = False
    """ESP in UDP."""
    encryption: str = ""
    """In charon's words: `AES_GCM_16`, `AES_CBC`; empty until it is negotiated."""
    integrity: str = ""
    """`HMAC_SHA2_256_128`; empty where the encryption needs no other algorithm."""
    spi_in: str = ""
    """Hexadecimal, as charon prints it."""
    spi_out: str = ""
    if_id_in: int = 0
    if_id_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0

    @property
    def works(self) -> bool:
        return self.state in {"INSTALLED", "UPDATING", "REKEYING", "REKEYED"}


@dataclass(frozen=True, slots=True)
class Sa:
    """One IKE_SA (list-sas, or the section inside an event)."""

    unique_id: int
    """charon's number; a rekeyed IKE_SA gets a new one."""
    name: str
    """The connection."""
    state: str
    """CREATED, CONNECTING, ESTABLISHED, REKEYING, REKEYED, DELETING ... in charon's words."""
    local: IPAddress
    remote: IPAddress
    local_port: int = 0
    remote_port: int = 0
    initiator: bool = True
    """This end began this IKE_SA (after a rekey: this rekey)."""
    original_initiator: bool = False
    """This end began the first IKE_SA, so it may move (RFC 4555, 3.3). Patched charon only."""
    spi_in: str = ""
    """Initiator's SPI, hexadecimal."""
    spi_responder: str = ""
    """Responder's SPI; empty or zero until IKE_SA_INIT was answered."""
    local_id: str = ""
    remote_id: str = ""
    remote_eap_id: str = ""
    """What the peer authenticated with in EAP, where that is another name."""
    remote_vips: tuple[IPAddress, ...] = ()
    """Inner addresses we gave to the peer."""
    local_vips: tuple[IPAddress, ...] = ()
    """Inner addresses given to us, in charon's order. Shared by the family."""
    family: int | None = None
    """clone-family; None on a stock charon and before authentication."""
    cloned: bool = False
    clones: int = 0
    """Members of the family beside one."""
    clones_refused: int = 0
    """Requests for clones that this end refused the family."""
    clone_supported: bool = False
    """Both ends announced CLONE_IKE_SA_SUPPORTED."""
    pinned_delay: float | None = None
    """Seconds left of the pin; None without one."""
    mobike: bool = False
    nat_local: bool = False
    """A NAT is between this end and the peer, at this end."""
    stale: bool = False
    """charon knows no valid path at the moment."""
    established_delay: float | None = None
    """Seconds since it was established."""
    rekey_delay: float | None = None
    """Seconds until charon rekeys it."""
    reauth_delay: float | None = None
    """Seconds until charon authenticates again."""
    remote_addresses: tuple[IPAddress, ...] = ()
    """What the peer announced as its own (ADDITIONAL_IP*_ADDRESS), the one in use included or
    not; empty where charon does not tell."""
    tasks_queued: tuple[str, ...] = ()
    tasks_active: tuple[str, ...] = ()
    """Tasks this end began; IKE_DELETE here while going down means: closed from this end."""
    tasks_passive: tuple[str, ...] = ()
    """Tasks the peer began."""
    children: tuple[Child, ...] = ()

    @property
    def pair(self) -> Pair:
        return Pair(self.local, self.remote)

    @property
    def answered(self) -> bool:
        """IKE_SA_INIT was answered."""
        return bool(self.spi_responder.strip("0"))

    @property
    def established(self) -> bool:
        """Authenticated and usable. A REKEYED one has given its place to another."""
        return self.state in {"ESTABLISHED", "REKEYING"}

    @property
    def closing(self) -> bool:
        return self.state in {"REKEYED", "DELETING", "DESTROYING"}


@dataclass(frozen=True, slots=True)
class ChildTemplate:
    """A child of a connection as configured (list-conns)."""

    name: str
    mode: str = "TUNNEL"
    local_ts: tuple[str, ...] = ()
    """Selectors; the word `dynamic` stands for the virtual IP or the outer address."""
    remote_ts: tuple[str, ...] = ()
    start_action: str | None = None
    """none, start, trap, trap|start; None where charon does not tell (stock)."""
    if_id_in: str = "0"
    """Text: a number, `%unique` or `%unique-dir`; `0` is none."""
    if_id_out: str = "0"


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as charon has it loaded (list-conns)."""

    name: str
    version: str = "IKEv2"
    local_addrs: tuple[str, ...] = ()
    """Addresses, names, prefixes or `%any`."""
    remote_addrs: tuple[str, ...] = ()
    vips: tuple[str, ...] = ()
    """Virtual IPs to ask for. Patched charon only: a stock one does not tell."""
    pools: tuple[str, ...] = ()
    childless: str | None = None
    mobike: bool = True
    unique: str | None = None
    children: tuple[ChildTemplate, ...] = ()


# --- what an inline connection is made of ----------------------------------


@dataclass(frozen=True, slots=True)
class FromFile:
    """Stands for the content of a file, read by the shell at the moment of sending."""

    path: str


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    """Stands for the value of an environment variable, read at the moment of sending."""

    name: str


VALUE = str | FromFile | FromEnvironment
Section = Mapping[str, "VALUE | tuple[VALUE, ...] | Section"]
"""A VICI message before it goes out: values, lists, sections."""


# --- what the kernel is asked for ------------------------------------------


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


# --- orders ----------------------------------------------------------------


class OrderKind(StrEnum):
    """What an operator can ask for by hand."""

    DOWN = "down"
    DRAIN = "drain"
    """A path is taken out of use without a loss."""
    PREFER = "prefer"
    """A path ranks first."""
    REVOKE = "revoke"
    """An act, kept until it has come to its end: keys die now."""
    REVOKE_IDENTITY = "revoke-identity"
    """What peers of this identity have with our gateway ends, until it is taken back."""
    RETIRE = "retire"
    """By the configuration, which has the peer no longer: what is left of it goes."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asked for; kept over restarts, the only thing that is."""

    id: int
    kind: OrderKind
    peer: str
    given: str
    """RFC 3339 UTC, put in by who took the order."""
    by: str = "operator"
    """`operator`, or `swanctl` where a local terminate was seen."""
    path: str = ""
    """LINK/REMOTE, or LINK for all its paths; empty: not about a path."""
    spis: tuple[str, ...] = ()
    """Revoke, retire: SPIs of the keys that have to die; `family 7`: of all its members."""
    identity: str = ""
    """Of a gateway's peers, as charon prints it."""
    loaded: tuple[str, ...] = ()
    """Retire: what charon has to forget, as the command for that and a name."""


class Mode(StrEnum):
    """How inner traffic finds its tunnel."""

    PER_PATH = "per-path"
    ONE = "one"
