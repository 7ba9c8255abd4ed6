# SPDX-License-Identifier: Apache-2.0
"""The guard against real packets: what leaves an uplink is counted at its far end."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.namespace import eventually, ip, own_namespace
from vici_mif.core.model import Clamp, GuardWish, Selector
from vici_mif.edges import guard

pytestmark = pytest.mark.real

NETLINK = Path("/proc/thread-self/net/netlink")
NETFILTER = "12"


@pytest.fixture(autouse=True)
def _uplink() -> Iterator[None]:
    """10.1.0.1 and 2001:db8:1::1 live here; everything else lies behind eth0."""
    with own_namespace():
        ip("link add eth0 type veth peer name far0")
        ip("link set far0 up")
        ip("link set eth0 up")
        ip("addr add 198.51.100.2/24 dev eth0")
        ip("addr add 2001:db8:a::2/64 dev eth0 nodad")
        ip("addr add 10.1.0.1/32 dev lo")
        ip("addr add 2001:db8:1::1/128 dev lo")
        ip("neigh add 198.51.100.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
        ip("neigh add 2001:db8:a::1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
        ip("route add default via 198.51.100.1")
        ip("-6 route add default via 2001:db8:a::1")
        yield


def site(*, kernel_esp: bool = False) -> GuardWish:
    pairs = [("10.1.0.0/16", "10.2.0.0/16"), ("2001:db8:1::/48", "2001:db8:2::/48")]
    return GuardWish(
        selectors=tuple(Selector(ip_network(a), ip_network(b)) for a, b in pairs),
        uplinks=("eth0", "wwan0"),
        exempt=(ip_network("10.2.9.0/24"), ip_network("198.51.100.0/24")),
        kernel_esp=kernel_esp,
    )


def leaves(source: str, destination: str, port: int = 9, source_port: int = 0) -> bool:
    """Whether one datagram from here comes out at the far end of eth0."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as tap:
        tap.bind(("far0", 0))
        tap.settimeout(0.3)
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.bind((source, source_port))
            with suppress(PermissionError):
                sender.sendto(b"in clear", (destination, port))
        return any_carries(tap, b"in clear")


def any_carries(tap: socket.socket, payload: bytes) -> bool:
    try:
        while payload not in tap.recv(2048):
            pass
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("source", "destination"), [("10.1.0.1", "10.2.0.1"), ("2001:db8:1::1", "2001:db8:2::1")]
)
async def test_protected_traffic_does_not_leave(source: str, destination: str) -> None:
    """Source and destination both in a selector: refused with the guard, sent without."""
    assert leaves(source, destination)

    await guard.apply(site())
    assert not leaves(source, destination)

    await guard.apply(None)
    assert leaves(source, destination)


@pytest.mark.parametrize(
    ("source", "destination", "source_port"),
    [
        ("10.1.0.1", "203.0.113.1", 0),
        ("198.51.100.2", "10.2.0.1", 0),
        ("10.1.0.1", "10.2.9.1", 0),
        ("10.1.0.1", "10.2.0.1", 4500),
    ],
    ids=["other destination", "other source", "exempt", "IKE"],
)
async def test_the_host_is_not_locked_out(source: str, destination: str, source_port: int) -> None:
    """What is not protected, exempt, or IKE itself goes on."""
    await guard.apply(site())

    assert leaves(source, destination, source_port=source_port)


async def test_everything_to_everything() -> None:
    """0.0.0.0/0 on one side: still only the other side's sources are refused."""
    wish = GuardWish(
        selectors=(Selector(ip_network("10.1.0.0/16"), ip_network("0.0.0.0/0")),),
        uplinks=("eth0",),
        kernel_esp=False,
    )
    await guard.apply(wish)

    assert not leaves("10.1.0.1", "203.0.113.1")
    assert leaves("198.51.100.2", "203.0.113.1")


async def test_ipsec_route_is_accepted_by_the_rule_set() -> None:
    """With kernel ESP the table loads and refuses what has no IPsec policy."""
    await guard.apply(site(kernel_esp=True))

    assert "rt ipsec exists" in listing()
    assert not leaves("10.1.0.1", "10.2.0.1")


async def test_replacing_leaves_one_table_and_removing_none() -> None:
    """A second wish replaces the first as a whole."""
    await guard.apply(site())
    await guard.apply(GuardWish(uplinks=("eth0",)))

    assert "10.2.0.0" not in listing()
    assert await guard.present()

    await guard.apply(None)
    await guard.apply(None)
    assert listing() == ""
    assert not await guard.present()


async def test_refused_traffic_is_told_so() -> None:
    """The sender hears it at once instead of waiting for an answer."""
    await guard.apply(site())
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
        sender.bind(("10.1.0.1", 0))
        sender.settimeout(2)
        with pytest.raises(OSError, match=r"(?i)unreachable|permitted|no route") as caught:
            sender.connect(("10.2.0.1", 80))

    assert not isinstance(caught.value, TimeoutError)


def listing() -> str:
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    return done.stdout


def test_far_end_sees_what_is_sent() -> None:
    """The judge itself: without a guard the datagram is seen at the far end."""
    eventually(lambda: leaves("198.51.100.2", "203.0.113.1"), within=3)


# --- the size of TCP's segments ------------------------------------------------

PAIRS = [("10.1.0.5", "10.2.0.5"), ("2001:db8:1::5", "2001:db8:2::5")]


def clamping(four: int = 1326, six: int = 1306) -> GuardWish:
    """Nothing is refused: no uplink is called wwan0 here."""
    clamps = tuple(
        Clamp(s, {4: four, 6: six}[s.local.version]) for s in site(kernel_esp=False).selectors
    )
    return GuardWish(uplinks=("wwan0",), clamps=clamps)


def _routed() -> None:
    """A second network behind this host, and what is protected on either side."""
    ip("link add eth1 type veth peer name far1")
    for name in ("far1", "eth1"):
        ip(f"link set {name} up")
    for version in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", version).write_text("1")
    for near, far in PAIRS:
        ip(f"route add {near} dev eth1")
        ip(f"route add {far} dev eth0")
        ip(f"neigh add {near} lladdr 02:00:00:00:00:05 dev eth1 nud permanent")
        ip(f"neigh add {far} lladdr 02:00:00:00:00:06 dev eth0 nud permanent")


def syn(source: str, destination: str, mss: int, flags: int = 2) -> bytes:
    """One TCP segment with the option that tells the maximum segment size."""
    there, here = (socket.AF_INET6, 6) if ":" in source else (socket.AF_INET, 4)
    option = struct.pack("!BBH", 2, 4, mss)
    tcp = struct.pack("!HHIIBBHHH", 4000, 80, 7, 0, 6 << 4, flags, 65535, 0, 0) + option
    ends = socket.inet_pton(there, source) + socket.inet_pton(there, destination)
    if here == 6:
        return struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64) + ends + tcp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + ends
    total = sum(struct.unpack("!10H", head))
    check = 0xFFFF & ~((total & 0xFFFF) + (total >> 16))
    return head[:10] + struct.pack("!H", check) + head[12:] + tcp


def forwarded_mss(source: str, destination: str, by: str, out: str, packet: bytes) -> int:
    """What the option says behind this host."""
    kind = 0x86DD if ":" in source else 0x0800
    (near,) = json.loads(ip(f"-j link show {by.replace('far', 'eth')}"))
    frame = (
        bytes.fromhex(near["address"].replace(":", ""))
        + bytes(6)
        + struct.pack("!H", kind)
        + packet
    )
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as tap,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
    ):
        tap.bind((out, 0))
        tap.settimeout(3)
        sender.bind((by, 0))
        sender.send(frame)
        option = packet[-4:-2]
        while (seen := tap.recv(2048))[-4:-2] != option or len(seen) != len(packet):
            pass
        return int.from_bytes(seen[-2:], "big")


@pytest.mark.parametrize(("near", "far"), PAIRS)
async def test_forwarded_syns_announce_what_fits(near: str, far: str) -> None:
    """Of both ends, in both versions; a smaller size and what is no SYN stay as they are."""
    _routed()
    await guard.apply(clamping())
    fits = 1306 if ":" in near else 1326
    out, back = (near, far, "far1", "far0"), (far, near, "far0", "far1")

    for way in (out, back):
        assert forwarded_mss(*way, syn(*way[:2], 1460)) == fits
        assert forwarded_mss(*way, syn(*way[:2], 1200)) == 1200
        assert forwarded_mss(*way, syn(*way[:2], 1460, flags=2 | 16)) == fits
        assert forwarded_mss(*way, syn(*way[:2], 1460, flags=16)) == 1460


async def test_a_clamp_follows_its_wish() -> None:
    """A path that grows narrower: the same table with another number."""
    _routed()
    await guard.apply(clamping(1398))
    await guard.apply(clamping(1326))
    near, far = PAIRS[0]

    assert forwarded_mss(near, far, "far1", "far0", syn(near, far, 1460)) == 1326
    assert listing().count("maxseg size set 1326") == 4


async def test_what_the_host_itself_sends_announces_what_fits() -> None:
    """A protected source of this host, too."""
    await guard.apply(clamping())
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as tap:
        tap.bind(("far0", 0))
        tap.settimeout(3)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
            sender.bind(("10.1.0.1", 0))
            sender.setblocking(False)
            with pytest.raises(BlockingIOError):
                sender.connect(("10.2.0.1", 80))
            assert any_carries(tap, struct.pack("!BBH", 2, 4, 1326))


def flush() -> None:
    subprocess.run(["nft", "flush", "ruleset"], check=True)


async def watching() -> None:
    """Until `nft monitor` listens: somebody in this namespace is in a group of NETFILTER."""
    async with asyncio.timeout(5):
        while not listeners():  # noqa: ASYNC110 - nft says nothing when it is ready
            await asyncio.sleep(0.01)


def listeners() -> list[str]:
    rows = [line.split() for line in NETLINK.read_text().splitlines()[1:]]
    return [row[2] for row in rows if row[1] == NETFILTER and int(row[3], 16)]


async def test_flush_ruleset_of_others_is_undone() -> None:
    """Debian's own nftables.conf begins with `flush ruleset`; the table is back and counted."""
    kept = guard.Guard()
    await kept.apply(site())
    watcher = asyncio.create_task(kept.watch())
    try:
        await watching()
        flush()
        async with asyncio.timeout(5):
            while not kept.restored:  # noqa: ASYNC110 - counted by a task of its own
                await asyncio.sleep(0.01)
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    assert not leaves("10.1.0.1", "10.2.0.1")


async def test_taking_the_guard_away_is_not_undone() -> None:
    """What we remove ourselves stays away."""
    kept = guard.Guard()
    await kept.apply(site())
    watcher = asyncio.create_task(kept.watch())
    try:
        await watching()
        await kept.apply(None)
        await kept.apply(None)  # comes after whatever the watcher does about the first
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    assert listing() == ""
    assert kept.restored == 0
