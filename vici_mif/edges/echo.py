# SPDX-License-Identifier: Apache-2.0
"""ICMP echo (RFC 792) and ICMPv6 echo (RFC 4443) on raw sockets bound to one address.

Each socket has an identifier and a cookie of its own, drawn at random: an answer counts only
with both, so nobody who did not see the request can make one up.
"""

from __future__ import annotations

import secrets
import socket
import struct
from contextlib import suppress

from vici_mif.core.model import IPAddress

HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
PAYLOAD = struct.Struct("!8sI")  # cookie, number
REQUEST = {4: 8, 6: 128}
REPLY = {4: 0, 6: 129}
INNER_BYTES = {4: 20 + HEADER.size + PAYLOAD.size, 6: 40 + HEADER.size + PAYLOAD.size}
"""Of one packet, with its IP header."""

IP_FREEBIND, IPV6_FREEBIND = 15, 78
SOL_RAW, ICMP_FILTER = 255, 1
IPPROTO_ICMPV6, ICMPV6_FILTER = 58, 1
SIZE = 2048


class Echoes:
    """One tunnel's echo requests from one of its inner addresses."""

    def __init__(self, source: IPAddress) -> None:
        self._source = source
        self._version = source.version
        self._identifier = secrets.randbits(16)
        self._cookie = secrets.token_bytes(8)
        self._socket = _socket(source)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, target: IPAddress, number: int) -> bool:
        """False where the kernel does not take it: no address, no route, no room."""
        try:
            self._socket.sendto(self._request(number), (str(target), 0))
        except OSError:
            return False
        return True

    def _request(self, number: int) -> bytes:
        head = (REQUEST[self._version], 0, 0, self._identifier, number & 0xFFFF)
        packet = HEADER.pack(*head) + PAYLOAD.pack(self._cookie, number)
        if self._version == 6:
            return packet  # the kernel fills in the checksum (RFC 3542, 3.1)
        return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]

    def receive(self) -> list[tuple[str, int]]:
        """The answers that wait: who answered, and to which number."""
        found: list[tuple[str, int]] = []
        with suppress(BlockingIOError):
            while True:
                with suppress(ConnectionError):  # an ICMP error that came back
                    data, sender = self._socket.recvfrom(SIZE)
                    number = self._answer(data)
                    if number is not None:
                        found.append((sender[0], number))
        return found

    def _answer(self, data: bytes) -> int | None:
        start = (data[0] & 0x0F) * 4 if self._version == 4 and data else 0
        if len(data) < start + HEADER.size + PAYLOAD.size:
            return None
        kind, _, _, identifier, low = HEADER.unpack_from(data, start)
        cookie, number = PAYLOAD.unpack_from(data, start + HEADER.size)
        assert isinstance(number, int)
        ours = kind == REPLY[self._version] and identifier == self._identifier
        known = secrets.compare_digest(cookie, self._cookie) and low == number & 0xFFFF
        return number if ours and known else None


def checksum(data: bytes) -> int:
    """RFC 1071; `data` has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _socket(source: IPAddress) -> socket.socket:
    """Bound also where the address is not there yet; takes in nothing but replies."""
    four = source.version == 4
    family, protocol = (
        (socket.AF_INET, socket.IPPROTO_ICMP) if four else (socket.AF_INET6, IPPROTO_ICMPV6)
    )
    made = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    try:
        if four:
            made.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            made.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", ~(1 << REPLY[4]) & 0xFFFFFFFF))
        else:
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            made.setsockopt(IPPROTO_ICMPV6, ICMPV6_FILTER, _only(REPLY[6]))
        made.bind((str(source), 0))
    except OSError:
        made.close()
        raise
    return made


def _only(kind: int) -> bytes:
    """A filter that blocks all but one type: a bit for each, set where blocked (RFC 3542, 3.2)."""
    words = [0xFFFFFFFF] * 8
    words[kind >> 5] &= ~(1 << (kind & 31))
    return struct.pack("8I", *words)
