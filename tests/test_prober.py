# SPDX-License-Identifier: Apache-2.0
"""The prober on real sockets: what it sends, what it believes, what it costs."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from tests.namespace import ip, own_namespace
from vici_mif.core.events import PathHealth
from vici_mif.core.model import Echo, IPAddress, PathName, ProbeWish, Verdict
from vici_mif.edges.echo import HEADER, INNER_BYTES, PAYLOAD, REPLY, Echoes, checksum
from vici_mif.edges.prober import Prober


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with own_namespace():
        yield


def wish(source: str, *targets: str, number: int = 1, interval: float = 0.02) -> ProbeWish:
    echoes = tuple(Echo(ip_address(source), ip_address(target), 90) for target in targets)
    return ProbeWish("hq", PathName(f"eth{number}", "gw"), number, echoes, interval, 3)


class Watched:
    """A prober and what it said."""

    def __init__(self) -> None:
        self.said: list[PathHealth] = []
        self.prober = Prober(self.said.append)

    @property
    def verdicts(self) -> list[Verdict]:
        return [health.verdict for health in self.said]

    async def until(self, check: Callable[[], object], within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while not check():  # noqa: ASYNC110 - what is awaited is in lists
                await asyncio.sleep(0.005)


def run(story: Callable[[Watched], object]) -> Watched:
    """One event loop, one prober."""

    async def play() -> Watched:
        watched = Watched()
        try:
            await story(watched)  # type: ignore[misc]
        finally:
            said = list(watched.said)
            watched.prober.close()
        watched.said = said
        return watched

    return asyncio.run(play())


@pytest.mark.parametrize(("source", "target"), [("127.0.0.1", "127.0.0.2"), ("::1", "::1")])
def test_the_kernel_answers(source: str, target: str) -> None:
    """Both IP versions; the round trip is measured."""

    async def story(watched: Watched) -> None:
        watched.prober.apply([wish(source, target)])
        await watched.until(lambda: watched.said)

    health = run(story).said[0]

    assert health.verdict is Verdict.GOOD
    assert health.rtt_delay is not None
    assert 0 < health.rtt_delay < 1


def test_silence_and_its_end() -> None:
    """The address of the target goes and comes; each is told once."""
    ip("address add 10.100.0.1/32 dev lo")

    async def story(watched: Watched) -> None:
        watched.prober.apply([wish("127.0.0.1", "10.100.0.1")])
        await watched.until(lambda: watched.said)
        ip("address del 10.100.0.1/32 dev lo")
        await watched.until(lambda: len(watched.said) == 2)
        ip("address add 10.100.0.1/32 dev lo")
        await watched.until(lambda: len(watched.said) == 3)

    assert run(story).verdicts == [Verdict.GOOD, Verdict.SILENT, Verdict.GOOD]


def test_without_address_or_route_nothing_raises() -> None:
    """The inner address is not there, the target not reachable: that is lost, and goes on."""

    async def story(watched: Watched) -> None:
        watched.prober.apply([wish("10.9.0.1", "127.0.0.1"), wish("127.0.0.1", "10.1.1.1")])
        await watched.until(lambda: Verdict.UNSURE in watched.verdicts)
        ip("address add 10.9.0.1/32 dev lo")
        await watched.until(lambda: Verdict.GOOD in watched.verdicts)

    assert run(story).said[-1].wish.echoes[0].source == ip_address("10.9.0.1")


def test_the_source_is_the_inner_address() -> None:
    """What another socket hears comes from there and has the size that is reckoned with."""
    ip("address add 10.9.0.1/32 dev lo")
    ear = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    ear.bind(("127.0.0.3", 0))
    ear.settimeout(5)

    async def story(watched: Watched) -> None:
        watched.prober.apply([wish("10.9.0.1", "127.0.0.3")])
        await watched.until(lambda: watched.said)

    run(story)
    packet, sender = ear.recvfrom(2048)
    ear.close()

    assert sender[0] == "10.9.0.1"
    assert len(packet) == INNER_BYTES[4] == 40


def forged(echoes: Echoes, number: int, **wrong: int) -> bytes:
    """An echo reply as the target would send it, but for what is wrong."""
    cookie = bytes(8) if "cookie" in wrong else echoes._cookie
    identifier = echoes._identifier ^ wrong.get("identifier", 0)
    low = (number + wrong.get("low", 0)) & 0xFFFF
    kind = wrong.get("kind", REPLY[4])
    packet = HEADER.pack(kind, 0, 0, identifier, low) + PAYLOAD.pack(cookie, number)
    packet = packet[: len(packet) - wrong.get("short", 0)]
    return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]


@pytest.mark.parametrize(
    "wrong",
    [{"cookie": 1}, {"identifier": 1}, {"low": 1}, {"kind": 8}, {"short": 2}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_was_made_up_outside_changes_nothing(wrong: dict[str, int]) -> None:
    """Right in all but one thing: no answer. The same without the fault is one."""
    echoes = Echoes(ip_address("127.0.0.1"))
    liar = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    liar.bind(("127.0.0.9", 0))

    liar.sendto(forged(echoes, 5, **wrong), ("127.0.0.1", 0))
    time.sleep(0.05)
    assert echoes.receive() == []

    liar.sendto(forged(echoes, 5), ("127.0.0.1", 0))
    time.sleep(0.05)
    assert echoes.receive() == [("127.0.0.9", 5)]
    echoes.close()
    liar.close()


def test_an_answer_from_elsewhere_is_none() -> None:
    """Even with the cookie: who was not asked does not answer."""

    async def story(watched: Watched) -> None:
        watched.prober.apply([wish("127.0.0.1", "10.1.1.1", interval=0.05)])
        echoes = next(iter(next(iter(watched.prober._sockets.values())).values()))
        liar = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        liar.bind(("127.0.0.9", 0))
        for number in range(1, 40):
            liar.sendto(forged(echoes, number), ("127.0.0.1", 0))
            await asyncio.sleep(0.05)
        liar.close()

    assert run(story).verdicts == [Verdict.UNSURE]


def test_a_held_up_loop_blames_nobody() -> None:
    """The process sleeps through many intervals; answers that wait are heard first."""

    async def story(watched: Watched) -> None:
        watched.prober.apply([wish("127.0.0.1", "127.0.0.2")])
        await watched.until(lambda: watched.said)
        for _ in range(5):
            time.sleep(0.3)  # noqa: ASYNC251 - it is what is tested
            await asyncio.sleep(0.05)

    assert run(story).verdicts == [Verdict.GOOD]


def test_what_is_not_wished_any_more_is_closed() -> None:
    """Sockets and timers go with the wish."""

    async def story(watched: Watched) -> None:
        watched.prober.apply([wish("127.0.0.1", "127.0.0.2")])
        await watched.until(lambda: watched.said)
        watched.prober.apply([])
        assert watched.prober._sockets == {}
        assert watched.prober._timer is None
        watched.said.clear()
        watched.prober.report()

    assert run(story).said == []


def test_the_last_word_tells_what_it_cost() -> None:
    """Bytes of a watch that ends are not lost."""

    async def story(watched: Watched) -> None:
        watched.prober.apply([wish("127.0.0.1", "127.0.0.2")])
        await watched.until(lambda: watched.said)
        (tally,) = watched.prober.tallies.values()
        await watched.until(lambda: tally.rtt.count >= 3)
        watched.said.clear()
        watched.prober.apply([])

    (last,) = run(story).said

    assert last.outer_bytes >= 2 * 3 * 90
    assert last.outer_bytes % 90 == 0


def test_sixteen_tunnels_cost_little() -> None:
    """16 x 20 echoes a second, and their answers, in under a quarter of one processor."""
    for number in range(1, 17):
        ip(f"address add 10.9.0.{number}/32 dev lo")
    addresses: list[IPAddress] = []

    async def story(watched: Watched) -> None:
        wishes = [wish(f"10.9.0.{n}", "127.0.0.1", number=n, interval=0.05) for n in range(1, 17)]
        watched.prober.apply(wishes)
        await watched.until(lambda: len(watched.said) == 16)
        begun, used = time.monotonic(), time.process_time()
        await asyncio.sleep(3)
        share = (time.process_time() - used) / (time.monotonic() - begun)
        watched.prober.report()
        print(f"prober: {share:.1%} of one processor for 16 tunnels x 50 ms")
        assert share < 0.25
        addresses.extend(h.wish.echoes[0].source for h in watched.said[16:])

    watched = run(story)

    assert len(addresses) == 16
    assert set(watched.verdicts) == {Verdict.GOOD}
