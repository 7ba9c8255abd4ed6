# SPDX-License-Identifier: Apache-2.0
"""What charon has made: IKE_SAs with their CHILD_SAs."""

from __future__ import annotations

from dataclasses import dataclass

from vici_mif.core.model.address import IPAddress
from vici_mif.core.model.link import Pair


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
