# SPDX-License-Identifier: Apache-2.0
"""Payload is counted once, whichever way TCP cut it."""

from __future__ import annotations

from tests.lab import wire
from vici_mif.lab.evidence.esp import Carried
from vici_mif.lab.evidence.payload import Ledger, Reader
from vici_mif.lab.evidence.pcap import ip_packet

HERE, THERE, PORT = "10.222.0.1", "10.100.0.2", 7791
FLOW = ("tcp", HERE, THERE)
START = 0xFFFFFF00  # sequence numbers wrap


def carried(raw: bytes, at: float = 1.0) -> Carried:
    packet = ip_packet(raw, at, "client-eth0")
    assert packet is not None
    return Carried(packet, b"spi1", packet)


def segment(offset: int, length: int) -> Carried:
    number = (START + 1 + offset) & 0xFFFFFFFF
    return carried(wire.tcp(HERE, THERE, (4000, PORT), number, 0x18, bytes(length)))


SYN = carried(wire.tcp(HERE, THERE, (4000, PORT), START, 0x02, b""))


def ledger(*packets: Carried) -> Ledger:
    return Ledger(Reader(PORT, 1000).seen(packets))


def test_segments_are_counted_in_the_blocks_they_hold() -> None:
    """Two and a half blocks in one segment, the rest in another."""
    found = ledger(SYN, segment(0, 2500), segment(2500, 500))

    assert [(s.number, s.size) for s in found.of(FLOW, 0, 2)] == [
        (0, 1000),
        (1, 1000),
        (2, 500),
        (2, 500),
    ]


def test_what_is_sent_again_counts_once() -> None:
    """A block is never worth more than its size."""
    found = ledger(SYN, segment(0, 1000), segment(0, 1000), segment(1000, 600))

    assert found.carried(FLOW, {0: 1000, 1: 1000}, lambda seen: seen.spi == b"spi1") == 1600
    assert found.carried(FLOW, {0: 1000}, lambda seen: seen.place == "client-wlan0") == 0
    assert found.carried(FLOW, {7: 1000}, lambda seen: True) == 0


def test_a_connection_without_its_beginning_is_not_counted() -> None:
    """Its sequence numbers say nothing."""
    assert ledger(segment(0, 1000)).of(FLOW, 0, 2) == []


def test_datagrams_say_their_number() -> None:
    """Other ports are other people's."""
    mine = wire.udp(HERE, THERE, PORT, PORT, (7).to_bytes(8, "big").ljust(400))
    other = wire.udp(HERE, THERE, 53, 53, bytes(40))
    found = ledger(carried(mine), carried(other))

    assert [(s.number, s.size) for s in found.of(("udp", HERE, THERE), 0, 2)] == [(7, 400)]
