# SPDX-License-Identifier: Apache-2.0
"""IKEv2 messages built from the RFCs are read; anything else raises IkeError and nothing else."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import wire
from vici_mif.lab.evidence.ikekeys import open_message, read_keys
from vici_mif.lab.evidence.ikev2 import (
    PROTOCOL_ESP,
    PROTOCOL_IKE,
    Configuration,
    Delete,
    Exchange,
    IkeError,
    Kind,
    Message,
    N,
    Notify,
    Proposals,
    Selectors,
    parse,
)

SPIS = (b"initiatr", b"respondr")
OWN = wire.keys(SPIS, 7)


def plain(*bodies: wire.Body) -> Message:
    return parse(wire.message(SPIS, Exchange.INFORMATIONAL, wire.INITIATOR, 5, bodies))


def test_the_header_is_read() -> None:
    """Who, what, which."""
    header = parse(
        wire.message(SPIS, Exchange.IKE_AUTH, wire.INITIATOR | wire.RESPONSE, 9, [])
    ).header

    assert (header.spis, header.exchange, header.message_id) == (SPIS, 35, 9)
    assert header.from_initiator
    assert header.response


@pytest.mark.parametrize(
    ("octets", "kind", "name"),
    [
        ("00 00 00 08 00 00 40 30", 16432, "CLONE_IKE_SA_SUPPORTED"),
        ("00 00 00 08 00 00 40 31", 16433, "CLONE_IKE_SA"),
    ],
)
def test_the_notifies_of_rfc_7791_byte_for_byte(octets: str, kind: int, name: str) -> None:
    """Section 6: Protocol ID 0, SPI Size 0, no data."""
    payload = bytes.fromhex(octets)
    raw = wire.message(SPIS, Exchange.IKE_AUTH, wire.INITIATOR, 1, [(Kind.NOTIFY, payload[4:])])

    assert raw[28:] == payload
    assert parse(raw).payloads == (Notify(kind),)
    assert Notify(kind).name == name


def test_a_notify_with_spi_and_data() -> None:
    """REKEY_SA names a CHILD_SA (RFC 7296, 1.3.3)."""
    message = plain(wire.notify(N.REKEY_SA, b"", PROTOCOL_ESP, b"\1\2\3\4"))

    assert message.notify(N.REKEY_SA) == Notify(N.REKEY_SA, PROTOCOL_ESP, b"\1\2\3\4", b"")
    assert message.notify(N.CLONE_IKE_SA) is None


def test_a_notify_of_unknown_type_shows_its_number() -> None:
    """Also error types in the private range."""
    assert plain(wire.notify(41234)).payloads[0].name == "41234"  # type: ignore[union-attr]


def test_a_proposal_has_its_spi_and_transforms() -> None:
    """3.3: an IKE SA's SPI has 8 octets when it is made by another IKE SA."""
    message = plain(wire.proposal(PROTOCOL_IKE, b"12345678"))

    assert isinstance(message.payloads[0], Proposals)
    chosen = message.proposal()
    assert chosen is not None
    assert (chosen.protocol, chosen.spi) == (PROTOCOL_IKE, b"12345678")
    assert chosen.transforms == ((1, 20, 128),)


@pytest.mark.parametrize(("low", "high"), [("10.0.0.0", "10.255.255.255"), ("fd00::", "fd00::ff")])
def test_traffic_selectors(low: str, high: str) -> None:
    """3.13, both families."""
    message = plain(wire.selectors(Kind.TSR, low, high))

    assert isinstance(message.payloads[0], Selectors)
    (found,) = message.selectors()[Kind.TSR]
    assert (found.start, found.end) == (ip_address(low), ip_address(high))


def test_inner_addresses_of_a_reply() -> None:
    """INTERNAL_IP4_ADDRESS and INTERNAL_IP6_ADDRESS with its prefix length (3.15.1)."""
    attributes = b"\0\1\0\4\x0a\xde\0\1" + b"\0\x08\0\x11" + ip_address("fd00::5").packed + b"\x80"
    (reply,) = plain((Kind.CP, b"\2\0\0\0" + attributes)).payloads

    assert isinstance(reply, Configuration)
    assert [str(address) for address in reply.addresses()] == ["10.222.0.1", "fd00::5"]


def test_a_delete_of_an_ike_sa_and_of_children() -> None:
    """3.11: no SPIs for the IKE SA itself."""
    own, children = plain((42, b"\1\0\0\0"), (42, b"\3\4\0\2aaaabbbb")).payloads

    assert own == Delete(PROTOCOL_IKE, ())
    assert children == Delete(PROTOCOL_ESP, (b"aaaa", b"bbbb"))


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("flags", [wire.INITIATOR, wire.RESPONSE], ids=["request", "response"])
def test_what_is_encrypted_is_opened(fragments: int, flags: int) -> None:
    """RFC 5282; each direction has its own key; RFC 7383's fragments in any order."""
    bodies = [wire.notify(N.CLONE_IKE_SA), wire.proposal(PROTOCOL_IKE, b"12345678"), wire.NONCE]
    parts = [
        parse(raw)
        for raw in wire.sealed(OWN, Exchange.CREATE_CHILD_SA, flags, 2, bodies, fragments)
    ]
    opened = open_message(parts[::-1], {SPIS: OWN})

    assert opened.sealed is None
    assert opened.notify(N.CLONE_IKE_SA) == Notify(N.CLONE_IKE_SA)
    assert [type(p) for p in opened.payloads][1] is Proposals


def test_a_flipped_bit_is_noticed() -> None:
    """The ICV covers the header too."""
    raw = bytearray(wire.sealed(OWN, Exchange.INFORMATIONAL, wire.INITIATOR, 2, [])[0])
    raw[20] ^= 1

    with pytest.raises(IkeError, match="do not fit"):
        open_message([parse(bytes(raw))], {SPIS: OWN})


def test_without_keys_it_says_so() -> None:
    """And names the IKE SA."""
    (raw,) = wire.sealed(OWN, Exchange.INFORMATIONAL, wire.INITIATOR, 2, [])

    with pytest.raises(IkeError, match=SPIS[0].hex()):
        open_message([parse(raw)], {})


def test_the_table_of_save_keys_is_read() -> None:
    """As charon's plugin writes it; nothing prints the keys."""
    row = f'{SPIS[0].hex()},{SPIS[1].hex()},{"11" * 20},{"22" * 20},"{wire.CIPHER}",,,"NONE"\n'
    (keys,) = read_keys(row + "\n").values()

    assert (keys.initiator, keys.responder) == (b"\x11" * 20, b"\x22" * 20)
    assert "11" * 20 not in repr(keys)


@pytest.mark.parametrize("text", ["x", "00,zz,,,a", "00,00,11,22"])
def test_a_table_that_is_none(text: str) -> None:
    """Half a line, or not hexadecimal."""
    with pytest.raises(IkeError):
        read_keys(text)


@given(st.binary(max_size=200))
def test_arbitrary_octets_raise_only_our_error(raw: bytes) -> None:
    """Whatever is on port 500."""
    with contextlib.suppress(IkeError):
        parse(raw)


@given(
    st.sampled_from([kind.value for kind in Kind if kind not in (Kind.NONE, Kind.SK)]),
    st.binary(max_size=60),
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 255)), max_size=3),
)
def test_arbitrary_payloads_raise_only_our_error(
    kind: int, body: bytes, flips: list[tuple[int, int]]
) -> None:
    """Nearer to what it reads: a right header around anything."""
    raw = bytearray(wire.message(SPIS, Exchange.IKE_AUTH, wire.INITIATOR, 1, [(kind, body)]))
    for at, value in flips:
        if 28 + at < len(raw):
            raw[28 + at] = value
    try:
        message = parse(bytes(raw))
    except IkeError:
        return
    message.proposal()
    message.selectors()
    for payload in message.payloads:
        if isinstance(payload, Configuration):
            payload.addresses()


@given(st.binary(max_size=120))
def test_arbitrary_contents_raise_only_our_error(inside: bytes) -> None:
    """A peer with the right keys may still send anything."""
    raw = wire._seal(OWN, Exchange.INFORMATIONAL, wire.INITIATOR, 2, Kind.SK, Kind.SA, b"", inside)
    with contextlib.suppress(IkeError):
        open_message([parse(raw)], {SPIS: OWN})
