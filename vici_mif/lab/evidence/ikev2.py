# SPDX-License-Identifier: Apache-2.0
"""IKEv2 messages (RFC 7296, 3), parsed.

For looking at captures only. It checks what it needs to read on, not what a peer must
check, and raises `IkeError` on anything that it cannot read, never another error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from vici_mif.lab.errors import LabError

Spis = tuple[bytes, bytes]
"""The SPIs that name an IKE SA: of its initiator, of its responder."""


class IkeError(LabError):
    """The bytes are no IKEv2 message, or cannot be opened with these keys."""


class Exchange(IntEnum):
    """Exchange types (RFC 7296, 3.1; RFC 9242; RFC 9370)."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37
    IKE_INTERMEDIATE = 43
    IKE_FOLLOWUP_KE = 44


class Kind(IntEnum):
    """Payload types (RFC 7296, 3.2; RFC 7383)."""

    NONE = 0
    SA = 33
    KE = 34
    IDI = 35
    IDR = 36
    CERT = 37
    CERTREQ = 38
    AUTH = 39
    NONCE = 40
    NOTIFY = 41
    DELETE = 42
    VENDOR = 43
    TSI = 44
    TSR = 45
    SK = 46
    CP = 47
    EAP = 48
    SKF = 53


class N(IntEnum):
    """Notify message types that are given a name here."""

    UNSUPPORTED_CRITICAL_PAYLOAD = 1
    INVALID_IKE_SPI = 4
    INVALID_SYNTAX = 7
    INVALID_MESSAGE_ID = 9
    INVALID_SPI = 11
    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    AUTHENTICATION_FAILED = 24
    SINGLE_PAIR_REQUIRED = 34
    NO_ADDITIONAL_SAS = 35
    INTERNAL_ADDRESS_FAILURE = 36
    FAILED_CP_REQUIRED = 37
    TS_UNACCEPTABLE = 38
    INVALID_SELECTORS = 39
    UNACCEPTABLE_ADDRESSES = 40
    UNEXPECTED_NAT_DETECTED = 41
    TEMPORARY_FAILURE = 43
    CHILD_SA_NOT_FOUND = 44
    INITIAL_CONTACT = 16384
    SET_WINDOW_SIZE = 16385
    ADDITIONAL_TS_POSSIBLE = 16386
    IPCOMP_SUPPORTED = 16387
    NAT_DETECTION_SOURCE_IP = 16388
    NAT_DETECTION_DESTINATION_IP = 16389
    COOKIE = 16390
    USE_TRANSPORT_MODE = 16391
    HTTP_CERT_LOOKUP_SUPPORTED = 16392
    REKEY_SA = 16393
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394
    NON_FIRST_FRAGMENTS_ALSO = 16395
    MOBIKE_SUPPORTED = 16396
    ADDITIONAL_IP4_ADDRESS = 16397
    ADDITIONAL_IP6_ADDRESS = 16398
    NO_ADDITIONAL_ADDRESSES = 16399
    UPDATE_SA_ADDRESSES = 16400
    COOKIE2 = 16401
    NO_NATS_ALLOWED = 16402
    AUTH_LIFETIME = 16403
    MULTIPLE_AUTH_SUPPORTED = 16404
    REDIRECT_SUPPORTED = 16406
    EAP_ONLY_AUTHENTICATION = 16417
    CHILDLESS_IKEV2_SUPPORTED = 16418
    IKEV2_MESSAGE_ID_SYNC_SUPPORTED = 16420
    FRAGMENTATION_SUPPORTED = 16430
    SIGNATURE_HASH_ALGORITHMS = 16431
    CLONE_IKE_SA_SUPPORTED = 16432
    CLONE_IKE_SA = 16433
    USE_PPK = 16435
    PPK_IDENTITY = 16436
    NO_PPK_AUTH = 16437
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438
    ADDITIONAL_KEY_EXCHANGE = 16441


PROTOCOL_IKE, PROTOCOL_ESP = 1, 3
FLAG_INITIATOR, FLAG_RESPONSE = 0x08, 0x20


@dataclass(frozen=True, slots=True)
class Header:
    """The 28 octets in front."""

    spis: Spis
    first: int
    """Type of the first payload."""
    exchange: int
    flags: int
    message_id: int
    length: int

    @property
    def from_initiator(self) -> bool:
        """Whether the original initiator of this IKE SA sent it."""
        return bool(self.flags & FLAG_INITIATOR)

    @property
    def response(self) -> bool:
        """Whether it answers a request."""
        return bool(self.flags & FLAG_RESPONSE)


@dataclass(frozen=True, slots=True)
class Notify:
    """A Notify payload (3.10)."""

    type: int
    protocol: int = 0
    spi: bytes = b""
    data: bytes = b""

    @property
    def name(self) -> str:
        """The name in the registry, or the number."""
        return N(self.type).name if self.type in N._value2member_map_ else str(self.type)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal of an SA payload (3.3.1)."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[tuple[int, int, int], ...]
    """Type, id, key length in bits (0: none given)."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """An SA payload."""

    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class Selector:
    """One traffic selector (3.13.1)."""

    protocol: int
    ports: tuple[int, int]
    start: IPv4Address | IPv6Address
    end: IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Selectors:
    """A TSi or TSr payload."""

    kind: int
    selectors: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """A CP payload (3.15): 1 request, 2 reply, 3 set, 4 ack."""

    type: int
    attributes: tuple[tuple[int, bytes], ...]

    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The inner addresses in it: INTERNAL_IP4_ADDRESS (1) and INTERNAL_IP6_ADDRESS (8)."""
        found: list[IPv4Address | IPv6Address] = []
        for kind, data in self.attributes:
            if kind == 1 and len(data) == 4:
                found.append(IPv4Address(data))
            elif kind == 8 and len(data) in (16, 17):  # 17: with a prefix length
                found.append(IPv6Address(data[:16]))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Delete:
    """A Delete payload (3.11)."""

    protocol: int
    spis: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Sealed:
    """An SK payload, or one fragment of a message (SKF, RFC 7383)."""

    first: int
    """Type of the first payload inside."""
    authenticated: bytes
    """The message up to the ciphertext's initialization vector."""
    data: bytes
    fragment: int = 1
    total: int = 1


@dataclass(frozen=True, slots=True)
class Other:
    """A payload of which only the type matters here."""

    kind: int
    data: bytes


Payload = Notify | Proposals | Selectors | Configuration | Delete | Sealed | Other


@dataclass(frozen=True, slots=True)
class Message:
    """A message and as many of its payloads as can be read."""

    header: Header
    payloads: tuple[Payload, ...]

    @property
    def sealed(self) -> Sealed | None:
        """What is still encrypted."""
        last = self.payloads[-1] if self.payloads else None
        return last if isinstance(last, Sealed) else None

    def notify(self, kind: int) -> Notify | None:
        """The first notify of this type."""
        return next((n for n in self.notifies() if n.type == kind), None)

    def notifies(self) -> Iterator[Notify]:
        """All Notify payloads, in order."""
        return (p for p in self.payloads if isinstance(p, Notify))

    def proposal(self) -> Proposal | None:
        """The first proposal: the chosen one in a response."""
        found = (p.proposals for p in self.payloads if isinstance(p, Proposals))
        return next((proposals[0] for proposals in found if proposals), None)

    def selectors(self) -> dict[int, tuple[Selector, ...]]:
        """Traffic selectors by payload type."""
        return {p.kind: p.selectors for p in self.payloads if isinstance(p, Selectors)}


def parse(raw: bytes) -> Message:
    """Read a message; an SK payload stays sealed."""
    if len(raw) < 28:
        raise IkeError(f"{len(raw)} octets are too few for an IKE header")
    first, version, exchange, flags, message_id, length = struct.unpack_from("!BBBBII", raw, 16)
    if version >> 4 != 2:
        raise IkeError(f"major version {version >> 4} is not IKEv2")
    if not 28 <= length <= len(raw):
        raise IkeError(f"length {length} does not fit {len(raw)} octets")
    header = Header((raw[:8], raw[8:16]), first, exchange, flags, message_id, length)
    return Message(header, tuple(payloads(raw[:length], 28, first)))


def payloads(raw: bytes, at: int, kind: int) -> Iterator[Payload]:
    """Follow the chain of generic payload headers (3.2)."""
    while kind != Kind.NONE:
        if at + 4 > len(raw):
            raise IkeError(f"payload {kind} begins behind the end")
        following, _, length = struct.unpack_from("!BBH", raw, at)
        if length < 4 or at + length > len(raw):
            raise IkeError(f"payload {kind} has length {length}, {len(raw) - at} octets are left")
        if kind in (Kind.SK, Kind.SKF):
            # always the last one; its "next payload" is that of the first one inside
            yield _sealed(kind, following, raw[: at + length], at)
            return
        yield _payload(kind, raw[at + 4 : at + length])
        kind, at = following, at + length


def _sealed(kind: int, following: int, raw: bytes, at: int) -> Sealed:
    if kind == Kind.SK:
        return Sealed(following, raw[: at + 4], raw[at + 4 :])
    if len(raw) < at + 8:
        raise IkeError("a fragment without its numbers")
    number, total = struct.unpack_from("!HH", raw, at + 4)
    if not 1 <= number <= total:
        raise IkeError(f"fragment {number} of {total}")
    return Sealed(following, raw[: at + 8], raw[at + 8 :], number, total)


def _payload(kind: int, body: bytes) -> Payload:
    reader = _READERS.get(kind)
    try:
        if kind in (Kind.TSI, Kind.TSR):
            return _selectors(kind, body)
        return reader(body) if reader else Other(kind, body)
    except (struct.error, IndexError, ValueError) as error:
        raise IkeError(f"payload {kind} is cut off or malformed: {error}") from error


def _notify(body: bytes) -> Notify:
    protocol, spi, kind = struct.unpack_from("!BBH", body)
    if len(body) < 4 + spi:
        raise IkeError("a notify shorter than its SPI")
    return Notify(kind, protocol, body[4 : 4 + spi], body[4 + spi :])


def _delete(body: bytes) -> Delete:
    protocol, size, count = struct.unpack_from("!BBH", body)
    if len(body) != 4 + size * count:
        raise IkeError(f"a delete of {count} SPIs of {size} octets has {len(body)} octets")
    return Delete(protocol, tuple(body[4 + i * size : 4 + i * size + size] for i in range(count)))


def _proposals(body: bytes) -> Proposals:
    found, at = [], 0
    while at < len(body):
        _, _, length, number, protocol, spi, _ = struct.unpack_from("!BBHBBBB", body, at)
        if length < 8 + spi or at + length > len(body):
            raise IkeError(f"proposal {number} has length {length}")
        transforms = tuple(_transforms(body[at + 8 + spi : at + length]))
        found.append(Proposal(number, protocol, body[at + 8 : at + 8 + spi], transforms))
        at += length
    return Proposals(tuple(found))


def _transforms(body: bytes) -> Iterator[tuple[int, int, int]]:
    at = 0
    while at < len(body):
        _, _, length, kind, _, number = struct.unpack_from("!BBHBBH", body, at)
        if length < 8 or at + length > len(body):
            raise IkeError(f"a transform has length {length}")
        attribute = body[at + 8 : at + 12]
        # the one attribute there is: 14, key length, in the short form (3.3.5)
        bits = int.from_bytes(attribute[2:], "big") if attribute[:2] == b"\x80\x0e" else 0
        yield kind, number, bits
        at += length


def _selectors(kind: int, body: bytes) -> Selectors:
    found, at = [], 4
    for _ in range(body[0]):
        family, protocol, length, low, high = struct.unpack_from("!BBHHH", body, at)
        ends = body[at + 8 : at + length]
        width = {7: 4, 8: 16}.get(family)
        if width is None or len(ends) != 2 * width:
            raise IkeError(f"a traffic selector of type {family} with {len(ends)} octets")
        kind_of = IPv4Address if width == 4 else IPv6Address
        found.append(Selector(protocol, (low, high), kind_of(ends[:width]), kind_of(ends[width:])))
        at += length
    return Selectors(kind, tuple(found))


def _configuration(body: bytes) -> Configuration:
    found, at = [], 4
    while at < len(body):
        kind, length = struct.unpack_from("!HH", body, at)
        if at + 4 + length > len(body):
            raise IkeError(f"configuration attribute {kind & 0x7FFF} has length {length}")
        found.append((kind & 0x7FFF, body[at + 4 : at + 4 + length]))
        at += 4 + length
    return Configuration(body[0], tuple(found))


_READERS: dict[int, Callable[[bytes], Payload]] = {
    Kind.NOTIFY: _notify,
    Kind.SA: _proposals,
    Kind.DELETE: _delete,
    Kind.CP: _configuration,
}
