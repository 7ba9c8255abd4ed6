# SPDX-License-Identifier: Apache-2.0
"""Packets of a capture file: addresses, ports and what is inside.

By hand, since it is short and the libraries are not better: dpkt (BSD) has had no release
since 2022, ships no types, and raises errors of many kinds on what is cut off.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from vici_mif.lab.errors import LabError

Address = IPv4Address | IPv6Address

TCP, UDP, ESP = 6, 17, 50

# hop-by-hop, routing, destination options: each says its own length in units of 8
_IPV6_OPTIONS = {0, 43, 60}
_IPV6_FRAGMENT = 44

# link types of https://www.tcpdump.org/linktypes.html: offset of the EtherType, of the payload
_ETHERTYPES = {1: (12, 14), 113: (14, 16), 276: (0, 20)}
_RAW = {12, 101, 228, 229}

_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}


HEAD = 24
"""Bytes before the first packet."""


class CaptureError(LabError):
    """The file is no capture, or of a kind that is not read here."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet, seen at one place."""

    time: float
    """Seconds since 1970."""
    place: str
    """Name of the capture: `<host>-<interface>`."""
    src: Address
    dst: Address
    protocol: int
    sport: int
    """0 where the protocol has no ports, and in fragments after the first."""
    dport: int
    data: bytes
    """What follows the UDP header; for other protocols, the IP payload."""
    size: int
    """Bytes of the IP packet as it was sent."""


def read(path: Path, place: str | None = None) -> Iterator[Packet]:
    """The IP packets of a capture file; a last one cut off (still being written) is left out."""
    raw = path.read_bytes()
    yield from packets(raw, place if place is not None else path.stem)


def packets(raw: bytes, place: str) -> Iterator[Packet]:
    """The IP packets of a capture in memory."""
    if len(raw) < HEAD or raw[:4] not in _MAGICS:
        raise CaptureError(f"{place}: not a pcap file (tcpdump -w writes one)")
    order, unit = _MAGICS[raw[:4]]
    link = struct.unpack_from(f"{order}I", raw, 20)[0] & 0xFFFF
    if link not in _ETHERTYPES and link not in _RAW:
        raise CaptureError(f"{place}: link type {link} is not read here")
    record = struct.Struct(f"{order}IIII")
    at = HEAD
    while at + 16 <= len(raw):
        seconds, fraction, kept, _ = record.unpack_from(raw, at)
        at += 16
        if at + kept > len(raw):
            return
        packet = ip_packet(_network(raw[at : at + kept], link), seconds + fraction * unit, place)
        if packet is not None:
            yield packet
        at += kept


def whole(head: bytes, raw: bytes) -> int:
    """Bytes of the packets that stand whole at the beginning of what follows a file's head."""
    if len(head) < HEAD:
        return 0
    record = struct.Struct(f"{_MAGICS[head[:4]][0]}IIII")
    at = 0
    while at + 16 <= len(raw):
        kept = record.unpack_from(raw, at)[2]
        if at + 16 + kept > len(raw):
            break
        at += 16 + kept
    return at


def _network(frame: bytes, link: int) -> bytes:
    """The IP packet of a frame, or nothing."""
    if link in _RAW:
        return frame
    kind_at, at = _ETHERTYPES[link]
    kind = frame[kind_at : kind_at + 2]
    while kind in (b"\x81\x00", b"\x88\xa8"):  # VLAN tags
        kind, at = frame[at + 2 : at + 4], at + 4
    return frame[at:] if kind in (b"\x08\x00", b"\x86\xdd") else b""


def ip_packet(raw: bytes, time: float, place: str) -> Packet | None:
    """What an IP packet carries; None for what is not IP or too short to say."""
    if not raw:
        return None
    if raw[0] >> 4 == 4:
        return _ipv4(raw, time, place)
    if raw[0] >> 4 == 6:
        return _ipv6(raw, time, place)
    return None


def _ipv4(raw: bytes, time: float, place: str) -> Packet | None:
    header = (raw[0] & 15) * 4
    if header < 20 or len(raw) < header:
        return None
    size, _, flags = struct.unpack_from("!HHH", raw, 2)
    first = flags & 0x1FFF == 0
    ends = (IPv4Address(raw[12:16]), IPv4Address(raw[16:20]))
    return _transport(raw[header:size], raw[9], first, ends, size, time, place)


def _ipv6(raw: bytes, time: float, place: str) -> Packet | None:
    if len(raw) < 40:
        return None
    size = 40 + int.from_bytes(raw[4:6], "big")
    protocol, at, first = raw[6], 40, True
    while protocol in _IPV6_OPTIONS or protocol == _IPV6_FRAGMENT:
        if at + 8 > len(raw):
            return None
        if protocol == _IPV6_FRAGMENT:
            first = first and int.from_bytes(raw[at + 2 : at + 4], "big") >> 3 == 0
            length = 8
        else:
            length = (raw[at + 1] + 1) * 8
        protocol, at = raw[at], at + length
    ends = (IPv6Address(raw[8:24]), IPv6Address(raw[24:40]))
    return _transport(raw[at:size], protocol, first, ends, size, time, place)


def _transport(
    data: bytes,
    protocol: int,
    first: bool,
    ends: tuple[Address, Address],
    size: int,
    time: float,
    place: str,
) -> Packet:
    sport = dport = 0
    if first and protocol in (TCP, UDP) and len(data) >= 4:
        sport, dport = struct.unpack_from("!HH", data)
        if protocol == UDP:
            data = data[8:]
    return Packet(time, place, ends[0], ends[1], protocol, sport, dport, data, size)


def tcp_payload(packet: Packet) -> bytes:
    """What follows the TCP header of a packet."""
    return packet.data[(packet.data[12] >> 4) * 4 :] if len(packet.data) > 12 else b""


def is_natt(packet: Packet) -> bool:
    """Whether the packet is on UDP port 4500, where IKE and ESP share (RFC 3948)."""
    return packet.protocol == UDP and 4500 in (packet.sport, packet.dport)


def ike_of(packet: Packet) -> bytes | None:
    """The IKE message of a packet: port 500, or port 4500 behind four zero bytes."""
    if packet.protocol != UDP:
        return None
    if 500 in (packet.sport, packet.dport):
        return packet.data
    if is_natt(packet) and packet.data[:4] == bytes(4):
        return packet.data[4:]
    return None


def esp_of(packet: Packet) -> bytes | None:
    """The ESP packet of a packet: protocol 50, or port 4500 with no zero marker.

    One byte 0xff is a NAT keepalive (RFC 3948, 2.3).
    """
    if packet.protocol == ESP:
        return packet.data
    if is_natt(packet) and len(packet.data) >= 8 and packet.data[:4] != bytes(4):
        return packet.data
    return None
