# SPDX-License-Identifier: Apache-2.0
"""ESP (RFC 4303) in captures: whose it is, what is inside, and what goes without it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vici_mif.lab.errors import LabError
from vici_mif.lab.evidence.pcap import Packet, esp_of, ip_packet

Network = IPv4Network | IPv6Network

_IPV4, _IPV6 = 4, 41  # next header of tunnel mode (RFC 4303, 2.6)


class EspError(LabError):
    """The table of ESP keys cannot be read."""


@dataclass(frozen=True, slots=True)
class EspKeys:
    """Keys by SPI. An SPI is its receiver's choice, so two SAs may share one."""

    ciphers: Mapping[bytes, tuple[tuple[AESGCM, bytes], ...]]

    def open(self, esp: bytes) -> bytes | None:
        """The payload with its trailer, or None when no key fits (RFC 4106)."""
        for cipher, salt in self.ciphers.get(esp[:4], ()):
            for aad in (esp[:8], esp[:4] + bytes(4) + esp[4:8]):  # without and with ESN
                try:
                    return cipher.decrypt(salt + esp[8:16], esp[16:], aad)
                except (InvalidTag, ValueError):
                    continue
        return None


def read_keys(text: str) -> EspKeys:
    """The keys of an `esp_sa` table of strongSwan's save-keys plugin.

    Its addresses are those at the time of creation; MOBIKE changes them, so only the SPI counts.
    """
    found: dict[bytes, list[tuple[AESGCM, bytes]]] = {}
    for row in csv.reader(line for line in text.splitlines() if line.strip()):
        try:
            spi, name, secret = bytes.fromhex(row[3][2:]), row[4], bytes.fromhex(row[5][2:])
            if "GCM" not in name:
                raise EspError(f"{name} is not opened here, only AES-GCM")
            cipher = AESGCM(secret[:-4])
        except (ValueError, IndexError) as error:
            raise EspError("a line of the table of ESP keys cannot be read") from error
        found.setdefault(spi, []).append((cipher, secret[-4:]))
    return EspKeys({spi: tuple(keys) for spi, keys in found.items()})


@dataclass(frozen=True, slots=True)
class Carried:
    """An ESP packet and the packet inside."""

    outer: Packet
    spi: bytes
    inner: Packet | None
    """None where no key fits."""


def carried(packets: Iterable[Packet], keys: EspKeys) -> Iterator[Carried]:
    """Every ESP packet, opened."""
    for packet in packets:
        esp = esp_of(packet)
        if esp is not None and len(esp) >= 8:
            yield Carried(packet, esp[:4], _inner(packet, keys.open(esp)))


def _inner(outer: Packet, plain: bytes | None) -> Packet | None:
    if plain is None or len(plain) < 2 or plain[-1] not in (_IPV4, _IPV6):
        return None
    end = len(plain) - 2 - plain[-2]
    return ip_packet(plain[:end], outer.time, outer.place) if end > 0 else None


@dataclass(frozen=True, slots=True)
class Protected:
    """Traffic that belongs in a tunnel: between these networks, in either direction."""

    ours: Network
    theirs: Network

    def holds(self, packet: Packet) -> bool:
        """Whether the packet runs between the two."""
        return (packet.src in self.ours and packet.dst in self.theirs) or (
            packet.src in self.theirs and packet.dst in self.ours
        )


def in_clear(packets: Iterable[Packet], protected: Iterable[Protected]) -> list[Packet]:
    """Packets of an uplink between protected networks.

    ESP and IKE run between outer addresses; so what shows inner ones is in clear, whatever
    its protocol and ports.
    """
    rules = tuple(protected)
    return [packet for packet in packets if any(rule.holds(packet) for rule in rules)]
