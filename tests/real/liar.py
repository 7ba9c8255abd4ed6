# SPDX-License-Identifier: Apache-2.0
"""Somebody on the way who reads all and has no key: he answers probes, reports paths as dead, and
sends ESP and IKE under the right SPIs.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from itertools import count, product

from tests.real import rig
from vici_mif.core.model import Sa
from vici_mif.edges.echo import HEADER, PAYLOAD, REPLY, REQUEST, checksum
from vici_mif.lab.lab import Lab

NAT_T = 4500
ICMP, UDP = socket.IPPROTO_ICMP, socket.IPPROTO_UDP
UNREACHABLE = 3
CODES = (0, 1, 3, 13)
"""Net, host, port, administratively (RFC 792; RFC 1812, 5.2.7.1)."""
RATE = 500.0
"""Packets a second."""
INFORMATIONAL, RESPONSE, NOTIFY, INVALID_IKE_SPI, ENCRYPTED = 37, 0x20, 41, 4, 46


@contextmanager
def lying(lab: Lab, sa: Sa, target: str) -> Iterator[None]:
    """About one tunnel of the client, for as long as the block lasts, from the router."""
    inner = str(sa.local_vips[0])
    lab.router.exec(["ip", "route", "replace", f"{inner}/32", "via", str(sa.local)])
    words = [str(sa.local), str(sa.remote), inner, target]
    words += [sa.spi_in, sa.spi_responder, sa.children[0].spi_in]
    argv = [sys.executable, "-m", "tests.real.liar", *words]
    try:
        with rig.lasting(lab.router, "liar", argv):
            yield
    finally:
        lab.router.exec(["ip", "route", "del", f"{inner}/32"])


def of_link(lab: Lab, link: str) -> Sa:
    """The client's IKE SA that sits on an uplink and has a child."""
    here = {address.partition("/")[0] for address in lab.port(link).addresses}
    return next(sa for sa in rig.sas(lab) if str(sa.local) in here and sa.children)


def ip(protocol: int, source: str, to: str, payload: bytes) -> bytes:
    """An IPv4 packet; the kernel fills in its checksum (raw(7))."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    return head + ip_address(source).packed + ip_address(to).packed + payload


def icmp(kind: int, code: int, rest: bytes) -> bytes:
    bare = struct.pack("!BBH", kind, code, 0) + rest
    return bare[:2] + struct.pack("!H", checksum(bare)) + bare[4:]


def udp(payload: bytes) -> bytes:
    return struct.pack("!HHHH", NAT_T, NAT_T, 8 + len(payload), 0) + payload


def echo(kind: int, number: int) -> bytes:
    """With an identifier that is right once in 65,536 times, and a cookie that is not."""
    head = HEADER.pack(kind, 0, 0, number & 0xFFFF, number & 0xFFFF)
    return icmp(kind, 0, (head + PAYLOAD.pack(bytes(8), number))[4:])


def ike(spis: bytes, number: int, payload: int, flags: int, body: bytes) -> bytes:
    """An INFORMATIONAL (RFC 7296, 3.1) behind the non-ESP marker (RFC 3948, 2.2).

    Message IDs are there to be read; those of a young IKE SA come all in turn.
    """
    head = struct.pack("!BBBBII", payload, 0x20, INFORMATIONAL, flags, number % 4, 28 + len(body))
    return udp(bytes(4) + spis + head + body)


def lies(words: list[str], number: int) -> Iterator[bytes]:
    """One of each kind."""
    client, gateway, inner, target, *spis = words
    ike_spis = b"".join(bytes.fromhex(spi.zfill(16)) for spi in spis[:2])
    esp = struct.pack("!II", int(spis[2], 16), 0xFFFFFF00) + bytes(80)
    yield ip(ICMP, target, inner, echo(REPLY[4], number))
    yield ip(UDP, gateway, client, udp(esp))
    for code, flags in product(CODES, (0, RESPONSE)):
        asked = ip(ICMP, inner, target, echo(REQUEST[4], number))
        sent = ip(UDP, client, gateway, udp(esp))
        yield ip(ICMP, target, inner, icmp(UNREACHABLE, code, bytes(4) + asked))
        yield ip(ICMP, gateway, client, icmp(UNREACHABLE, code, bytes(4) + sent))
        notify = struct.pack("!BBHBBH", 0, 0, 8, 0, 0, INVALID_IKE_SPI)
        yield ip(UDP, gateway, client, ike(ike_spis, number, NOTIFY, flags, notify))
        encrypted = struct.pack("!BBH", 0, 0, 68) + bytes(64)
        yield ip(UDP, gateway, client, ike(ike_spis, number, ENCRYPTED, flags, encrypted))


def main(words: list[str]) -> None:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    begun, sent = time.monotonic(), 0
    for number in count(1):
        for packet in lies(words, number):
            raw.sendto(packet, (str(ip_address(packet[16:20])), 0))
            sent += 1
            time.sleep(max(0.0, begun + sent / RATE - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1:])
