# SPDX-License-Identifier: Apache-2.0
"""Captures are read as they were written, and nothing in them makes the reader fail."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import wire
from vici_mif.lab.evidence import pcap

DATA = Path(__file__).parent / "data"


def one(frame: bytes, link: int = 1) -> pcap.Packet:
    (packet,) = pcap.packets(wire.pcap([(1000.25, frame)], link), "client-eth0")
    return packet


@pytest.mark.parametrize(
    ("src", "dst"), [("192.0.2.1", "203.0.113.1"), ("2001:db8::1", "2001:db8::2")]
)
def test_a_datagram_has_its_addresses_ports_and_data(src: str, dst: str) -> None:
    """IPv4 and IPv6 alike."""
    packet = one(wire.ethernet(wire.udp(src, dst, 4500, 4501, b"abc")))

    assert (str(packet.src), str(packet.dst)) == (src, dst)
    assert (packet.sport, packet.dport, packet.data) == (4500, 4501, b"abc")
    assert (packet.time, packet.place) == (1000.25, "client-eth0")


@pytest.mark.parametrize(
    ("link", "front"),
    [
        (1, bytes(12) + b"\x08\x00"),
        (1, bytes(12) + b"\x81\x00\x00\x07\x08\x00"),
        (101, b""),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
    ],
    ids=["ethernet", "vlan", "raw", "cooked", "cooked2"],
)
def test_every_kind_of_link_is_unwrapped(link: int, front: bytes) -> None:
    """tcpdump on one interface, on a TUN device, on `any`."""
    packet = one(front + wire.udp("192.0.2.1", "192.0.2.2", 1, 2, b"x"), link)

    assert packet.data == b"x"


def test_ipv6_options_are_passed_over() -> None:
    """A hop-by-hop header in front of UDP."""
    inner = struct.pack("!HHHH", 5, 6, 9, 0) + b"y"
    packet = one(wire.ethernet(wire.ip("::1", "::2", 0, b"\x11\x00" + bytes(6) + inner)))

    assert (packet.protocol, packet.sport, packet.data) == (17, 5, b"y")


def test_a_later_fragment_has_no_ports() -> None:
    """What stands there is payload and must not be taken for a port."""
    raw = bytearray(wire.udp("192.0.2.1", "192.0.2.2", 500, 500, b"z" * 8))
    raw[6:8] = struct.pack("!H", 185)
    packet = one(wire.ethernet(bytes(raw)))

    assert (packet.sport, pcap.ike_of(packet)) == (0, None)


def test_padding_of_a_short_frame_is_no_data() -> None:
    """Ethernet fills up to 60 octets."""
    packet = one(wire.ethernet(wire.udp("192.0.2.1", "192.0.2.2", 1, 2, b"x")) + bytes(20))

    assert packet.data == b"x"


def test_ike_and_esp_on_port_4500_are_told_apart() -> None:
    """By the non-ESP marker; a keepalive is neither (RFC 3948)."""

    def natt(data: bytes) -> pcap.Packet:
        return one(wire.ethernet(wire.udp("192.0.2.1", "192.0.2.2", 4500, 4500, data)))

    ike, esp, keepalive = natt(bytes(4) + b"ike"), natt(b"\0\0\1\0esp."), natt(b"\xff")

    assert (pcap.ike_of(ike), pcap.esp_of(ike)) == (b"ike", None)
    assert (pcap.ike_of(esp), pcap.esp_of(esp)) == (None, b"\0\0\1\0esp.")
    assert (pcap.ike_of(keepalive), pcap.esp_of(keepalive)) == (None, None)


def test_a_record_cut_off_at_the_end_is_left_out() -> None:
    """tcpdump may still be writing."""
    raw = wire.pcap([(1.0, wire.ethernet(wire.udp("192.0.2.1", "192.0.2.2", 1, 2, b"x")))] * 2)

    assert len(list(pcap.packets(raw[:-3], "x"))) == 1


@pytest.mark.parametrize("raw", [b"", b"\x0a\x0d\x0d\x0a" + bytes(40), wire.pcap([], 147)])
def test_what_is_no_capture_is_refused(raw: bytes) -> None:
    """Empty, pcapng, and a link type that is not read here."""
    with pytest.raises(pcap.CaptureError, match="here"):
        list(pcap.packets(raw, "here"))


@given(st.lists(st.binary(max_size=80), max_size=4), st.sampled_from([1, 101, 113, 276]))
def test_no_frame_makes_it_fail(frames: list[bytes], link: int) -> None:
    """Whatever came over the wire."""
    list(pcap.packets(wire.pcap([(1.0, frame) for frame in frames], link), "x"))


@given(st.binary(max_size=80), st.sampled_from([0x45, 0x4F, 0x60]))
def test_no_ip_packet_makes_it_fail(raw: bytes, first: int) -> None:
    """Nearer to what it reads: a right first octet."""
    pcap.ip_packet(bytes([first]) + raw, 0.0, "x")


def test_a_capture_of_tcpdump_is_read() -> None:
    """Two stock charons, their IKE and ESP."""
    found = list(pcap.read(DATA / "stock.pcap"))

    assert {packet.place for packet in found} == {"stock"}
    assert sum(pcap.ike_of(packet) is not None for packet in found) == 16
    assert sum(pcap.esp_of(packet) is not None for packet in found) == 16


def test_a_growing_capture_is_cut_between_packets() -> None:
    """What is half written is left for the next look."""
    frames = [(1.0 + n, wire.ethernet(wire.udp("192.0.2.1", "192.0.2.2", 1, n, b"x" * n)))
              for n in range(1, 4)]  # fmt: skip
    raw = wire.pcap(frames, 1)
    head, rest = raw[: pcap.HEAD], raw[pcap.HEAD :]
    sizes = [16 + len(frame) for _, frame in frames]

    assert pcap.whole(head, rest) == len(rest) == sum(sizes)
    assert pcap.whole(head, rest[:-1]) == sum(sizes[:2])
    assert pcap.whole(head, rest[: sizes[0]]) == sizes[0]
    assert pcap.whole(head, rest[:15]) == 0
    assert pcap.whole(head[:-1], rest) == 0
