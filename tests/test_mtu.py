# SPDX-License-Identifier: Apache-2.0
"""The inner MTU: byte for byte what ESP, UDP and IP leave, and the smallest path counts."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from tests.simulated import SITE, World
from vici_mif.core.ground.mtu import USUAL, WORST, Esp, esp, floored, segment, smallest
from vici_mif.core.model import Child, Link, Pair, PathName
from vici_mif.core.paths.ranking import Path

GCM = ("AES_GCM_16", "")
CBC = ("AES_CBC", "HMAC_SHA2_256_128")


def child(encryption: str, integrity: str = "", state: str = "INSTALLED") -> Child:
    return Child("net", 1, state, (), (), encryption=encryption, integrity=integrity)


@pytest.mark.parametrize(
    ("algorithms", "version", "link_mtu", "expected"),
    [
        # 1500 - 20 - 8 - 8 - 8 - 16 = 1440, of which 2 are the trailer
        (GCM, 4, 1500, 1438),
        (GCM, 4, 1428, 1366),
        (GCM, 6, 1500, 1418),
        (("CHACHA20_POLY1305", ""), 4, 1500, 1438),
        (("AES_CCM_8", ""), 4, 1500, 1446),
        (("NULL_AES_GMAC", ""), 4, 1500, 1438),
        # 1500 - 20 - 8 - 8 - 16 - 16 = 1432, cut to 1424
        (CBC, 4, 1500, 1422),
        (CBC, 6, 1500, 1406),
        (("3DES_CBC", "HMAC_SHA1_96"), 4, 1500, 1438),
        (("AES_CTR", "HMAC_SHA2_512_256"), 4, 1500, 1422),
        (("NULL", "HMAC_SHA1_96"), 4, 1500, 1450),
        # nothing that we know: as much as the most that charon offers
        (("A_NEW_ONE", ""), 4, 1500, 1406),
        (("AES_CBC", ""), 4, 1500, 1406),
        (("AES_CBC", "AES_128_GMAC"), 6, 1500, 1390),
    ],
)
def test_what_is_left(
    algorithms: tuple[str, str], version: int, link_mtu: int, expected: int
) -> None:
    """RFC 4303's layout in RFC 3948's datagram, with the padding at its worst."""
    assert esp(child(*algorithms)).inner(link_mtu, version) == expected


@pytest.mark.parametrize("way", [USUAL, WORST, esp(child(*CBC))])
def test_the_packet_fits_and_one_more_byte_does_not(way: Esp) -> None:
    """Built up again from the inside, the outer packet is never larger than the link's MTU."""

    def outer(inner: int) -> int:
        padded = -(-(inner + 2) // way.block) * way.block
        return 20 + 8 + 8 + way.iv + padded + way.icv

    for link_mtu in range(1280, 1520):
        inner = way.inner(link_mtu, 4)
        assert outer(inner) <= link_mtu < outer(inner + 1)


def link(name: str, mtu: int) -> Link:
    return Link(name, 2, True, mtu, (ip_interface("198.18.0.2/24"),))


def path(name: str, remote: str = "203.0.113.1", there: bool = True) -> Path:
    address = ip_address(remote)
    local = ip_address("198.18.0.2" if address.version == 4 else "2001:db8::2")
    return Path(PathName(name, remote), 0, address, Pair(local, address) if there else None)


def test_the_smallest_path_counts() -> None:
    """Of the links that are there; by the version of each path's own outer header."""
    links = [link("eth0", 1500), link("wwan0", 1428)]
    both = [path("eth0"), path("wwan0")]

    assert smallest(both, links, [child(*GCM)]) == 1366
    assert smallest([path("eth0"), path("wwan0", there=False)], links, [child(*GCM)]) == 1438
    assert smallest([path("eth0", "2001:db8::1"), path("eth0")], links, []) == 1418
    assert smallest([path("gone")], links, []) is None


def test_the_widest_way_to_protect_counts() -> None:
    """Of the children that work; without any, what charon proposes first."""
    links = [link("eth0", 1500)]
    here = [path("eth0")]

    assert smallest(here, links, [child(*GCM), child(*CBC)]) == 1422
    assert smallest(here, links, [child(*GCM), child(*CBC, state="DELETING")]) == 1438
    assert smallest(here, links, []) == USUAL.inner(1500, 4)


def test_what_every_host_takes_is_never_undercut() -> None:
    """Below it a link has to fragment (RFC 8200, 5); IPv4 inside goes further down."""
    assert floored(1200, 6) == 1280
    assert floored(1200, 4) == 1200
    assert segment(1366, 4) == 1326
    assert segment(1366, 6) == 1306
    assert segment(1200, 6) == 1220


# --- the planner ---------------------------------------------------------------


def narrow(world: World, name: str, mtu: int) -> None:
    world.links[name] = replace(world.links[name], mtu=mtu)
    world.see_links()
    world.run(1)


def through(world: World) -> set[int | None]:
    return {route.mtu for route in world.steering.routes if route.device}


def test_the_routes_follow_the_smallest_path() -> None:
    """1500, then 1428 on one of three links, then 1500 again; `status` says it too."""
    world = World().start().run(20)
    assert (through(world), world.hq.mtu) == ({None}, 1400)

    narrow(world, "eth2", 1428)
    assert (through(world), world.hq.mtu) == ({1366}, 1366)

    narrow(world, "eth2", 1500)
    assert (through(world), world.hq.mtu) == ({None}, 1400)
    assert world.hq.state == "up"


def test_a_path_that_is_gone_narrows_nothing() -> None:
    """With its link it goes and comes; while no link is there nothing changes."""
    world = World().start().run(20)
    narrow(world, "eth1", 1300)
    assert world.hq.mtu == 1238
    world.link_down("eth0")
    world.link_down("eth2")
    world.link_down("eth1")
    assert world.hq.mtu == 1238

    world.link_up("eth0")
    assert world.hq.mtu == 1400


def test_the_operators_word_counts() -> None:
    """Where a path is narrower further out than its link says."""
    text = "version: 1\nconnections:\n  hq: {links: [eth0, eth1, eth2], mtu: 1280}\n"
    world = World(text=text).start().run(20)
    narrow(world, "eth2", 1428)

    assert (through(world), world.hq.mtu) == ({1280}, 1280)


def test_mode_one_clamps_what_it_protects() -> None:
    """Both children of the site; with kernel ESP the whole path counts, not charon's device."""
    world = World(connection=SITE, plugins=frozenset({"kernel-netlink"})).start().run(20)
    assert world.guard is not None
    assert {(str(c.selector.remote), c.mss) for c in world.guard.clamps} == {
        ("10.2.0.0/16", 1398),
        ("10.3.0.0/16", 1398),
    }

    narrow(world, "eth0", 1428)
    assert {c.mss for c in world.guard.clamps} == {1326}
