# SPDX-License-Identifier: Apache-2.0
"""Packets built by hand from the RFCs, for what reads captures."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vici_mif.lab.evidence.ikekeys import IkeKeys
from vici_mif.lab.evidence.ikev2 import FLAG_INITIATOR, FLAG_RESPONSE, Kind, Spis

Body = tuple[int, bytes]
"""A payload: its type and what follows the generic header."""

CIPHER = "AES-GCM-128 with 16 octet ICV [RFC5282]"


def keys(spis: Spis, seed: int) -> IkeKeys:
    """Keys that no one else has."""
    return IkeKeys(spis, CIPHER, bytes([seed]) * 20, bytes([seed + 1]) * 20)


def chain(bodies: Sequence[Body]) -> tuple[int, bytes]:
    """Payloads with their generic headers (RFC 7296, 3.2), and the type of the first."""
    kinds = [kind for kind, _ in bodies] + [0]
    joined = b"".join(
        struct.pack("!BBH", kinds[i + 1], 0, 4 + len(body)) + body
        for i, (_, body) in enumerate(bodies)
    )
    return kinds[0], joined


def message(
    spis: Spis, exchange: int, flags: int, message_id: int, bodies: Sequence[Body]
) -> bytes:
    """A message in clear."""
    first, joined = chain(bodies)
    head = struct.pack("!BBBBII", first, 0x20, exchange, flags, message_id, 28 + len(joined))
    return spis[0] + spis[1] + head + joined


def sealed(
    own: IkeKeys,
    exchange: int,
    flags: int,
    message_id: int,
    bodies: Sequence[Body],
    fragments: int = 1,
) -> list[bytes]:
    """A message in one SK payload, or in so many SKF payloads (RFC 7383)."""
    first, joined = chain(bodies)
    if fragments == 1:
        return [_seal(own, exchange, flags, message_id, Kind.SK, first, b"", joined)]
    step = -(-len(joined) // fragments)
    return [
        _seal(
            own,
            exchange,
            flags,
            message_id,
            Kind.SKF,
            first if i == 0 else 0,
            struct.pack("!HH", i + 1, fragments),
            joined[i * step : (i + 1) * step],
        )
        for i in range(fragments)
    ]


def _seal(
    own: IkeKeys,
    exchange: int,
    flags: int,
    message_id: int,
    kind: int,
    first: int,
    numbers: bytes,
    plain: bytes,
) -> bytes:
    secret = own.initiator if flags & FLAG_INITIATOR else own.responder
    vector = struct.pack("!II", message_id, flags)
    length = 4 + len(numbers) + 8 + len(plain) + 1 + 16
    head = struct.pack("!BBBBII", kind, 0x20, exchange, flags, message_id, 28 + length)
    front = own.spis[0] + own.spis[1] + head + struct.pack("!BBH", first, 0, length) + numbers
    sealed_ = AESGCM(secret[:-4]).encrypt(secret[-4:] + vector, plain + b"\0", front)
    return front + vector + sealed_


def notify(kind: int, data: bytes = b"", protocol: int = 0, spi: bytes = b"") -> Body:
    """A Notify payload (3.10)."""
    return Kind.NOTIFY, struct.pack("!BBH", protocol, len(spi), kind) + spi + data


def proposal(protocol: int, spi: bytes) -> Body:
    """An SA payload with one proposal of one transform: AES-GCM-16 with 128 bits."""
    transform = struct.pack("!BBHBBHHH", 0, 0, 12, 1, 0, 20, 0x800E, 128)
    head = struct.pack("!BBHBBBB", 0, 0, 8 + len(spi) + len(transform), 1, protocol, len(spi), 1)
    return Kind.SA, head + spi + transform


def selectors(kind: int, start: str, end: str) -> Body:
    """A TSi or TSr payload with one selector."""
    ends = ip_address(start).packed + ip_address(end).packed
    family = 7 if len(ends) == 8 else 8
    return kind, b"\1\0\0\0" + struct.pack("!BBHHH", family, 0, 8 + len(ends), 0, 65535) + ends


NONCE: Body = (Kind.NONCE, bytes(32))
KE: Body = (Kind.KE, struct.pack("!HH", 31, 0) + bytes(32))


def udp(src: str, dst: str, sport: int, dport: int, data: bytes) -> bytes:
    """An IP packet with a UDP datagram."""
    return ip(src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data)


def tcp(
    src: str, dst: str, ports: tuple[int, int], sequence: int, flags: int, data: bytes
) -> bytes:
    """An IP packet with a TCP segment."""
    head = struct.pack("!HHIIBBHHH", *ports, sequence, 0, 0x50, flags, 1000, 0, 0)
    return ip(src, dst, 6, head + data)


def ip(src: str, dst: str, protocol: int, data: bytes) -> bytes:
    """An IPv4 or IPv6 packet without options."""
    ends = ip_address(src).packed + ip_address(dst).packed
    if len(ends) == 32:
        return struct.pack("!IHBB", 6 << 28, len(data), protocol, 64) + ends + data
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, protocol, 0) + ends + data


def esp(spi: bytes, number: int, secret: bytes, inner: bytes) -> bytes:
    """An ESP packet in tunnel mode with AES-GCM (RFC 4106)."""
    front, vector = spi + struct.pack("!I", number), struct.pack("!Q", number)
    plain = inner + b"\1\2\2" + bytes([4 if inner[0] >> 4 == 4 else 41])
    return front + vector + AESGCM(secret[:-4]).encrypt(secret[-4:] + vector, plain, front)


def ethernet(packet: bytes) -> bytes:
    """A frame."""
    return bytes(12) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet


def pcap(frames: Sequence[tuple[float, bytes]], link: int = 1) -> bytes:
    """A capture file."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return head + b"".join(
        struct.pack("<IIII", int(at), round(at % 1 * 1e6), len(frame), len(frame)) + frame
        for at, frame in frames
    )


INITIATOR, RESPONSE = FLAG_INITIATOR, FLAG_RESPONSE
