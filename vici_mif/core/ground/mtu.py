# SPDX-License-Identifier: Apache-2.0
"""How large an inner packet may be so that ESP outside fits every path of the family. Pure.

    IP | UDP | SPI, sequence number | IV | inner packet | padding, length, next header | ICV

UDP is always reckoned with: a move may bring a NAT in between (RFC 4555, 3.8), and eight bytes
cost less than a transfer that has to learn about them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vici_mif.core.model import Child, Link
from vici_mif.core.paths.ranking import Path

IP_HEADER = {4: 20, 6: 40}
"""Bytes by IP version: RFC 791, 3.1, without options; RFC 8200, 3, without extensions."""

UDP_HEADER = 8
"""RFC 3948, 2.1."""

ESP_HEADER = 8
"""SPI and sequence number: RFC 4303, 2."""

ESP_TRAILER = 2
"""Pad length and next header: RFC 4303, 2.5 and 2.6."""

TCP_HEADER = 20
"""RFC 9293, 3.1, without options; what the maximum segment size leaves out."""

MINIMUM = {4: 576, 6: 1280}
"""Bytes that an inner packet may always have: what every IPv4 host takes (RFC 791, 3.1), and the
least MTU of IPv6, below which a link has to fragment by itself (RFC 8200, 5)."""


@dataclass(frozen=True, slots=True)
class Esp:
    """What one way to protect adds, in bytes."""

    iv: int
    block: int
    """Inner packet, padding and trailer are a multiple of it; at least 4 (RFC 4303, 2.4)."""
    icv: int

    def outer(self, inner: int, version: int, *, udp: bool) -> int:
        """Bytes on the link of an inner packet, by the outer IP version."""
        body = -(-(inner + ESP_TRAILER) // self.block) * self.block
        outside = IP_HEADER[version] + (UDP_HEADER if udp else 0) + ESP_HEADER
        return outside + self.iv + body + self.icv

    def inner(self, link_mtu: int, version: int) -> int:
        """The largest inner packet that fits, by the outer IP version."""
        room = link_mtu - IP_HEADER[version] - UDP_HEADER - ESP_HEADER - self.iv - self.icv
        return room - room % self.block - ESP_TRAILER


USUAL = Esp(8, 4, 16)
"""AES-GCM-16 (RFC 4106), which charon proposes first: reckoned with until a child is there."""

WORST = Esp(16, 16, 32)
"""For a name we do not know: AES-CBC with HMAC-SHA2-512-256 is the most that charon offers."""

CIPHERS = {
    "AES_CBC": (16, 16),
    "CAMELLIA_CBC": (16, 16),
    "SERPENT_CBC": (16, 16),
    "TWOFISH_CBC": (16, 16),
    "3DES_CBC": (8, 8),
    "AES_CTR": (8, 4),
    "CAMELLIA_CTR": (8, 4),
    "NULL": (0, 4),
}
"""IV and block by charon's names; the ICV is the integrity algorithm's."""

COMBINED = re.compile(r"(?:AES|CAMELLIA)_(?:GCM|CCM)_(\d+)|NULL_AES_GMAC|CHACHA20_POLY1305")
"""Algorithms that need no other: an IV of 8, and an ICV of as many bytes as the name says, or 16
(RFC 4106, 3; 4309, 3; 4543, 3; 7634, 2)."""

TRUNCATED = re.compile(r".*_(\d+)")
"""`HMAC_SHA2_256_128`: as many bits are sent."""


def esp(child: Child) -> Esp:
    """What the algorithms of a child add."""
    combined = COMBINED.fullmatch(child.encryption)
    if combined:
        return Esp(8, 4, int(combined[1] or 16))
    cipher = CIPHERS.get(child.encryption)
    integrity = TRUNCATED.fullmatch(child.integrity)
    if cipher is None or integrity is None:
        return WORST
    return Esp(*cipher, int(integrity[1]) // 8)


def smallest(paths: Iterable[Path], links: Sequence[Link], children: Iterable[Child]) -> int | None:
    """Bytes that fit on every path whose link is there; None while there is none."""
    mtus = {link.name: link.mtu for link in links}
    ways = {esp(child) for child in children if child.works} or {USUAL}
    return min(
        (
            way.inner(mtus[path.name.link], path.remote.version)
            for path in paths
            if path.pair is not None and mtus.get(path.name.link)
            for way in ways
        ),
        default=None,
    )


def floored(mtu: int, version: int) -> int:
    """For inner packets of this IP version: never less than every host has to take."""
    return max(mtu, MINIMUM[version])


def segment(mtu: int, version: int) -> int:
    """TCP's maximum segment size (RFC 9293, 3.7.1): what is left of an inner packet."""
    return floored(mtu, version) - IP_HEADER[version] - TCP_HEADER
