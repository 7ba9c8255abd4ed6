# SPDX-License-Identifier: Apache-2.0
"""The outside: links, pairs of addresses, and what a path is called."""

from __future__ import annotations

from dataclasses import dataclass

from vici_mif.core.model.address import IPAddress, IPInterface


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


PathKey = tuple[str, str]
"""Peer and path, as configured."""
