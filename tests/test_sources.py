# SPDX-License-Identifier: Apache-2.0
"""The outer source check against real packets: what the table lets in is read from a socket."""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from tests.namespace import ip, own_namespace
from vici_mif.core.events import SourcesSeen
from vici_mif.core.model import Source, SourceCounts, SourceWish
from vici_mif.edges import nft, sources
from vici_mif.edges.sources import FAMILY, TABLE, Sources

pytestmark = pytest.mark.real

HERE, HERE6 = "10.9.0.1", "2001:db8:9::1"
HOME = ip_address("10.9.1.1")
SPI = 0xC0FFEE01
FORGED = 100_000


@pytest.fixture(autouse=True)
def _gateway() -> Iterator[None]:
    """HERE receives; whoever sends, sends over loopback, under any address."""
    with own_namespace():
        ip(f"addr add {HERE}/32 dev lo")
        ip(f"addr add {HERE6}/128 dev lo nodad")
        yield


class Wire:
    """Sends packets with any source, and counts what charon's socket would get."""

    def __init__(
        self, raw: socket.socket, raw6: socket.socket, inside: list[socket.socket]
    ) -> None:
        self._raw, self._raw6, self._inside = raw, raw6, inside

    def esp(self, source: str, spi: int = SPI, *, udp: bool = True, port: int = 4500) -> None:
        """One packet of ESP, in UDP or bare."""
        payload = struct.pack("!II", spi, 1) + bytes(16)
        if udp:
            payload = struct.pack("!HHHH", port, 4500, 8 + len(payload), 0) + payload
        protocol = socket.IPPROTO_UDP if udp else 50
        if ":" in source:
            self._send6(source, protocol, payload)
            return
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
        head += socket.inet_aton(source) + socket.inet_aton(HERE)
        self._raw.sendto(head + payload, (HERE, 0))

    def _send6(self, source: str, protocol: int, payload: bytes) -> None:
        assert protocol == 50  # a checksum of zero is no UDP in IPv6 (RFC 8200, 8.1)
        addresses = socket.inet_pton(socket.AF_INET6, source)
        addresses += socket.inet_pton(socket.AF_INET6, HERE6)
        head = struct.pack("!IHBB", 0x60000000, len(payload), protocol, 64)
        self._raw6.sendto(head + addresses + payload, (HERE6, 0))

    def arrived(self) -> int:
        """How many got in since the last time."""
        count = 0
        for one in self._inside:
            try:
                while one.recv(2048):
                    count += 1
            except BlockingIOError:
                pass
        return count


@contextmanager
def wire() -> Iterator[Wire]:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    inside = [
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.socket(socket.AF_INET, socket.SOCK_RAW, 50),
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, 50),
    ]
    inside[0].bind((HERE, 4500))
    for one in inside:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.setblocking(False)
    try:
        yield Wire(raw, raw6, inside)
    finally:
        for one in (raw, raw6, *inside):
            one.close()


def known(*addresses: IPv4Address | IPv6Address, spi: int = SPI) -> frozenset[Source]:
    return frozenset(Source(spi, address) for address in addresses)


def table(*wishes: SourceWish | None) -> list[SourcesSeen]:
    """One after the other, and what was seen at the end."""
    seen: list[SourcesSeen] = []

    async def act() -> None:
        edge = Sources(seen.append)
        for wish in wishes:
            await edge.apply(wish)

    asyncio.run(act())
    return seen


def look() -> SourcesSeen:
    """What the table remembers now."""
    seen: list[SourcesSeen] = []
    edge = Sources(seen.append)
    asyncio.run(edge._look_once())
    return seen[0] if seen else SourcesSeen((), SourceCounts())


@pytest.mark.parametrize("udp", [True, False], ids=["in UDP", "bare"])
def test_strangers_pass_and_are_remembered(udp: bool) -> None:
    """The known source is no news; a new one passes; other SPIs are none of our business."""
    with wire() as packets:
        table(SourceWish(drop=True, known=known(HOME)))
        packets.esp(str(HOME), udp=udp)
        packets.esp("10.9.2.1", udp=udp)
        packets.esp("10.9.2.2", spi=SPI + 1, udp=udp)
        assert packets.arrived() == 3

    seen = look()
    assert {s for s, _ in seen.newcomers} == {Source(SPI, ip_address("10.9.2.1"))}
    assert (seen.counts.new, seen.counts.refused) == (1, 0)


def test_ports_are_not_compared() -> None:
    """A NAT gives another one whenever it likes."""
    with wire() as packets:
        table(SourceWish(drop=True, known=known(HOME)))
        for port in (4500, 1024, 60000):
            packets.esp(str(HOME), port=port)
        assert packets.arrived() == 3
    assert look().counts.new == 0


def test_ike_beside_esp_is_never_looked_at() -> None:
    """Four zeros before it: the non-ESP marker, also where somebody lists that as an SPI."""
    with wire() as packets:
        table(SourceWish(drop=True, known=known(HOME, spi=0), refused=known(HOME, spi=0)))
        packets.esp("10.9.2.1", spi=0)
        assert packets.arrived() == 1
    assert look().counts.new == 0


@pytest.mark.parametrize(
    ("home", "stranger", "udp"),
    [
        ("10.9.1.1", "10.9.3.3", True),
        ("10.9.1.1", "10.9.3.3", False),
        ("2001:db8:1::1", "2001:db8:3::3", False),
    ],
    ids=["in UDP", "bare", "IPv6"],
)
@pytest.mark.parametrize("drop", [True, False], ids=["drop", "count"])
def test_a_refused_source_is_counted_or_dropped(
    home: str, stranger: str, udp: bool, drop: bool
) -> None:
    """The same SPI from its known source goes on, and pardon is pardon."""
    good = known(ip_address(home))
    with wire() as packets:
        table(
            SourceWish(drop, known=good),
            SourceWish(drop, known=good, refused=known(ip_address(stranger))),
        )
        for _ in range(5):
            packets.esp(stranger, udp=udp)
        assert packets.arrived() == (0 if drop else 5)
        packets.esp(home, udp=udp)
        assert packets.arrived() == 1
        assert look().counts.refused == 5

        table(SourceWish(drop, known=good | known(ip_address(stranger))))
        packets.esp(stranger, udp=udp)
        assert packets.arrived() == 1


def test_only_the_difference_is_written() -> None:
    """A move changes two elements; what the kernel learned of others stays."""
    with wire() as packets:
        edge = Sources(lambda _: None)
        before = SourceWish(drop=True, known=known(HOME))
        asyncio.run(edge.apply(before))
        packets.esp("10.9.2.1")
        asyncio.run(edge.apply(SourceWish(drop=True, known=known(ip_address("10.9.5.5")))))
        packets.esp("10.9.5.5")
        assert packets.arrived() == 2
    seen = look()
    assert {s for s, _ in seen.newcomers} == {Source(SPI, ip_address("10.9.2.1"))}
    assert seen.counts.new == 1


@pytest.mark.parametrize("nat", [False, True], ids=["own addresses", "behind a NAT"])
def test_no_honest_move_is_stopped_under_forged_sources(nat: bool) -> None:
    """20 moves to addresses nobody announced, among 100,000 forged sources: nothing is dropped.

    The controller refuses whom it can meanwhile. What the kernel remembers stays bounded.
    """
    chance = random.Random(20)
    edge = Sources(lambda _: None)
    at = HOME
    refused: frozenset[Source] = frozenset()
    with wire() as packets:
        asyncio.run(edge.apply(SourceWish(drop=True, known=known(at))))
        for move in range(20):
            for _ in range(FORGED // 20):
                packets.esp(str(IPv4Address(0x0B000000 + chance.randrange(1 << 24))))
            packets.arrived()
            new = ip_address(f"10.9.{100 + move}.{chance.randrange(1, 255)}")
            for _ in range(10):  # on their way before charon and the controller know
                packets.esp(str(new), port=chance.randrange(1024, 65535) if nat else 4500)
            assert packets.arrived() == 10
            refused |= frozenset(s for s, _ in look().newcomers[:8]) - known(new)
            at = new
            asyncio.run(edge.apply(SourceWish(True, known=known(at), refused=refused)))
            packets.esp(str(at))
            assert packets.arrived() == 1
    seen = look()
    assert len(seen.newcomers) <= 2 * 4 + 20  # four at once, and one more in 15 s
    assert seen.counts.spread > FORGED // 2


def test_forged_sources_of_many_spis_are_bounded() -> None:
    """However many SPIs: no more newcomers than there is room for, and all of it passes."""
    with wire() as packets:
        spis = range(SPI, SPI + 3000)
        good = frozenset(Source(spi, HOME) for spi in spis)
        table(SourceWish(drop=True, known=good))
        for spi in spis:
            for host in range(3):
                packets.esp(f"10.9.9.{host}", spi=spi)
            if spi % 500 == 0:
                packets.arrived()
    seen = look()
    assert len(seen.newcomers) <= sources.MOST
    assert seen.counts.new + seen.counts.full + seen.counts.spread == 9000
    assert seen.counts.full > 0


def test_what_others_take_away_is_put_back_and_counted() -> None:
    """`flush ruleset` is a habit of firewalls; a table nobody wants any more goes."""

    async def act() -> int:
        edge = Sources(lambda _: None)
        await edge.apply(SourceWish(drop=True, known=known(HOME)))
        watch = asyncio.create_task(edge.watch())
        try:
            await asyncio.sleep(0)
            for _ in range(20):
                await nft.run("flush", "ruleset")
                if await put_back(edge):
                    return edge.restored
            return 0
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    assert asyncio.run(act()) >= 1
    table(None)
    assert not asyncio.run(nft.present(FAMILY, TABLE))


async def put_back(edge: Sources) -> bool:
    """Within a second or so: the next flush may not come before it can be seen."""
    for _ in range(20):
        await asyncio.sleep(0.05)
        if edge.restored and await nft.present(FAMILY, TABLE):
            return True
    return False


def test_a_table_that_was_tampered_with_is_made_anew() -> None:
    """An element that others deleted makes a change fail once; the next one makes all of it."""
    edge = Sources(lambda _: None)
    first = SourceWish(drop=True, known=known(HOME))
    second = SourceWish(drop=True, known=known(ip_address("10.9.7.7")))

    async def act() -> None:
        await edge.apply(first)
        await nft.run("flush", "set", FAMILY, TABLE, "known4")
        with pytest.raises(nft.NftError):
            await edge.apply(second)
        await edge.apply(second)

    asyncio.run(act())
    with wire() as packets:
        packets.esp("10.9.7.7")
        assert packets.arrived() == 1
    assert look().counts.new == 0


def used() -> float:
    """Seconds of a processor that we had, and the runs of nft that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def test_thousands_of_sources_take_moments() -> None:
    """4,000 at once, then one that moves: a transaction of two elements, of which not the time
    is bounded but the work, since the machine may be busy."""
    many = frozenset(Source(SPI + n, HOME + n) for n in range(4000))
    edge = Sources(lambda _: None)
    moved = many - {Source(SPI, HOME)} | known(ip_address("10.200.0.1"))

    async def act() -> float:
        await edge.apply(SourceWish(drop=True, known=many))
        begun = used()
        await edge.apply(SourceWish(drop=True, known=moved))
        return used() - begun

    assert asyncio.run(act()) < 2
    with wire() as packets:
        packets.esp("10.200.0.1")
        assert packets.arrived() == 1
    assert look().counts.new == 0
