# SPDX-License-Identifier: Apache-2.0
"""ESP is opened with the right keys only, and what goes without it is found."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import wire
from vici_mif.lab.evidence import esp, pcap

DATA = Path(__file__).parent / "data"
SECRET = bytes(range(20))
SPI = b"\xc0\x01\x02\x03"
RULE = esp.Protected(ip_network("10.222.0.0/24"), ip_network("10.100.0.0/24"))


def table(spi: bytes = SPI, secret: bytes = SECRET) -> str:
    row = ["IPv4", "192.0.2.1", "203.0.113.1", f"0x{spi.hex()}", "AES-GCM [RFC4106]"]
    return ",".join(f'"{c}"' for c in [*row, f"0x{secret.hex()}", "ANY 128 bit", "0x"]) + "\n"


def packet(raw: bytes) -> pcap.Packet:
    found = pcap.ip_packet(raw, 5.0, "client-eth0")
    assert found is not None
    return found


@pytest.mark.parametrize("encapsulated", [True, False], ids=["in UDP", "plain"])
@pytest.mark.parametrize(
    ("src", "dst"), [("10.222.0.1", "10.100.0.2"), ("fd00:222::1", "fd00:100::2")]
)
def test_the_packet_inside(encapsulated: bool, src: str, dst: str) -> None:
    """UDP encapsulation (RFC 3948) and protocol 50 alike."""
    sealed = wire.esp(SPI, 1, SECRET, wire.udp(src, dst, 7, 8, b"hello"))
    outer = (
        wire.udp("192.0.2.1", "203.0.113.1", 4500, 4500, sealed)
        if encapsulated
        else wire.ip("192.0.2.1", "203.0.113.1", 50, sealed)
    )
    (found,) = esp.carried([packet(outer)], esp.read_keys(table()))

    assert found.spi == SPI
    assert found.inner is not None
    assert (str(found.inner.src), str(found.inner.dst)) == (src, dst)
    assert found.inner.data == b"hello"


@pytest.mark.parametrize("text", ["", table(secret=bytes(20)), table(spi=b"\1\2\3\4")])
def test_without_the_right_key_it_stays_closed(text: str) -> None:
    """No key, a wrong one, one of another SPI: the packet is still counted as ESP."""
    sealed = wire.esp(SPI, 1, SECRET, wire.udp("10.222.0.1", "10.100.0.2", 7, 8, b"x"))
    outer = wire.ip("192.0.2.1", "203.0.113.1", 50, sealed)
    (found,) = esp.carried([packet(outer)], esp.read_keys(text))

    assert (found.spi, found.inner) == (SPI, None)


def test_an_spi_that_two_hosts_chose() -> None:
    """SPIs are the receivers' choice: both keys are tried."""
    sealed = wire.esp(SPI, 1, SECRET, wire.udp("10.222.0.1", "10.100.0.2", 7, 8, b"x"))
    keys = esp.read_keys(table(secret=bytes(20)) + table())
    (found,) = esp.carried([packet(wire.ip("192.0.2.1", "203.0.113.1", 50, sealed))], keys)

    assert found.inner is not None


@pytest.mark.parametrize(
    ("raw", "clear"),
    [
        (wire.udp("10.222.0.1", "10.100.0.2", 1, 2, b""), True),
        (wire.udp("10.100.0.2", "10.222.0.9", 500, 500, b""), True),
        (wire.ip("10.222.0.1", "10.100.0.2", 50, bytes(20)), True),
        (wire.udp("10.222.0.1", "192.0.2.53", 1, 53, b""), False),
        (wire.udp("192.0.2.1", "203.0.113.1", 4500, 4500, b"\1" * 20), False),
    ],
    ids=["out", "back", "inner ESP", "other destination", "outer"],
)
def test_what_is_in_clear(raw: bytes, clear: bool) -> None:
    """Source and destination decide, whatever is inside; both directions."""
    assert bool(esp.in_clear([packet(raw)], [RULE])) is clear


def test_a_table_with_another_cipher_is_refused() -> None:
    """Rather than called unreadable traffic."""
    with pytest.raises(esp.EspError, match="AES-CBC"):
        esp.read_keys(table().replace("AES-GCM [RFC4106]", "AES-CBC [RFC3602]"))


@given(st.binary(max_size=80))
def test_no_contents_make_it_fail(inside: bytes) -> None:
    """A peer may send anything under its own keys."""
    sealed = wire.esp(SPI, 1, SECRET, b"\0" + inside)
    list(
        esp.carried(
            [packet(wire.ip("192.0.2.1", "203.0.113.1", 50, sealed))], esp.read_keys(table())
        )
    )


def test_the_pings_of_two_stock_charons() -> None:
    """Eight echo requests and their answers, before and after a rekeying."""
    keys = esp.read_keys((DATA / "stock.esp").read_text())
    found = list(esp.carried(pcap.read(DATA / "stock.pcap"), keys))

    assert [c.inner.protocol for c in found if c.inner] == [1] * 16
    assert len({c.spi for c in found}) == 4
    rule = esp.Protected(ip_network("10.200.0.0/24"), ip_network("10.100.0.0/16"))
    assert esp.in_clear(pcap.read(DATA / "stock.pcap"), [rule]) == []
