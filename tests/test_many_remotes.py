# SPDX-License-Identifier: Apache-2.0
"""A gateway with several addresses: links x remotes, pairs, addresses that go and come."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface

from tests.simulated import ROAD_WARRIOR, SITE, Gateway, World, link
from vici_mif.core import actions as a

R1, R2 = "203.0.113.1", "203.0.113.2"
BOTH = replace(ROAD_WARRIOR, remote_addrs=(R1, "%any", R2))
TWO_LINKS = "version: 1\nconnections:\n  hq: {links: [eth0, eth1], spares: 0%s}\n"


def world(more: str = "", links: int = 2, **kinds: object) -> World:
    text = TWO_LINKS % (f", {more}" if more else "")
    if links > 2:
        text = text.replace("eth1]", "eth1, eth2]")
    kinds = {"connection": BOTH, "links": {f"eth{i}": link(i) for i in range(links)}} | kinds
    return World(text=text, **kinds)  # type: ignore[arg-type]


def states(world: World) -> dict[str, str]:
    return {path.name: path.state for path in world.hq.paths}


def pairs(world: World, *kinds: type[a.Action]) -> set[tuple[str, str]]:
    """Over which links to which remotes something was sent."""
    wanted = world.actions(*kinds or (a.CreateIke, a.Migrate, a.Probe))
    found = [action.pair for action in wanted]  # type: ignore[union-attr]
    return {(world.link_of(pair.local), str(pair.remote)) for pair in found}


def beside(world: World) -> list[a.Action]:
    """Tests of pairs on which no tunnel is."""
    here = {sa.pair for sa in world.sas.values()}
    return [x for x in world.actions(a.Probe) if x.pair not in here]  # type: ignore[union-attr]


def at_home(world: World) -> bool:
    return all(home == current for home, current in world.seats().items())


def test_two_by_two_is_four_tunnels() -> None:
    """All of the connection's addresses that can be dialled, one authentication."""
    it = world().start().run(5)

    assert set(it.seats()) == {f"{e}/{r}" for e in ("eth0", "eth1") for r in (R1, R2)}
    assert at_home(it)
    assert (it.hq.state, it.hq.authentications, len(it.working())) == ("up", 1, 4)
    assert len({t.inner for t in it.hq.tunnels}) == 4


def test_three_by_two_spreads_over_the_links_first() -> None:
    """At most four by default: each link, then the second remote on the best one."""
    it = world(links=3).start().run(5)

    assert set(it.seats()) == {f"eth0/{R1}", f"eth1/{R1}", f"eth2/{R1}", f"eth0/{R2}"}
    assert it.hq.state == "up"


def test_empty_paths_are_tested_and_retested() -> None:
    """So that it is known where to go; one a minute."""
    it = world(links=3).start().run(10)
    assert {state for name, state in states(it).items() if name not in it.seats()} == {"ready"}
    before = len(beside(it))
    it.run(120)

    assert 2 <= len(beside(it)) - before <= 6


def test_the_order_of_use_is_rank() -> None:
    """`use` replaces the connection's own addresses."""
    it = world(f"tunnels: 1, remotes: {{use: [{R2}, {R1}]}}").start().run(5)

    assert it.seats() == {f"eth0/{R2}": f"eth0/{R2}"}


def test_both_versions() -> None:
    """A dual-stack gateway, one link with both, one with IPv4 only: three paths."""
    v6 = "2001:db8::1"
    dual = replace(link(0), addresses=(*link(0).addresses, ip_interface("2001:db8:1::2/64")))
    it = world(
        connection=replace(ROAD_WARRIOR, remote_addrs=(R1, v6)),
        links=2,
    )
    it.links["eth0"] = dual
    it.start().run(5)

    assert set(it.seats()) == {f"eth0/{R1}", f"eth1/{R1}", f"eth0/{v6}"}
    assert (it.hq.state, len(it.hq.paths)) == ("up", 3)


def test_a_name_with_both_versions() -> None:
    """Resolved by us; an IPv4-only link has one path, and the peer is up."""
    it = world(connection=replace(ROAD_WARRIOR, remote_addrs=("gw.example.org",)))
    it.names["gw.example.org"] = (ip_address("2001:db8::1"), ip_address(R1))
    it.start().run(5)

    assert set(it.seats()) == {"eth0/gw.example.org.4", "eth1/gw.example.org.4"}
    assert it.hq.state == "up"


# --- pairs -----------------------------------------------------------------------


def test_one_to_one() -> None:
    """The first link with the first remote only."""
    it = world("pairs: {one_to_one: true}").start().run(120)

    assert it.seats() == {f"eth0/{R1}": f"eth0/{R1}", f"eth1/{R2}": f"eth1/{R2}"}
    assert pairs(it) == {("eth0", R1), ("eth1", R2)}
    assert it.hq.state == "up"


def test_a_denied_pair_is_never_used_nor_tested() -> None:
    """Not even when nothing else works; and status says who denied it."""
    it = world(f'pairs: {{deny: [["eth1", {R2}]]}}').start().run(60)
    assert len(it.seats()) == 3
    it.dead = {"eth0"}
    it.dead_remotes = {R1}
    it.link_down("eth0")
    it.run(300)

    assert ("eth1", R2) not in pairs(it)
    (denied,) = [p for p in it.hq.paths if p.state == "denied"]
    assert (denied.name, denied.why) == (f"eth1/{R2}", "denied by configuration")


def test_a_pair_the_peer_refused_says_so() -> None:
    """Also `denied`, with another reason."""
    it = world(gateway=Gateway(denied=frozenset({"eth1"}))).start().run(30)
    why = {p.why for p in it.hq.paths if p.state == "denied"}

    assert why == {"unacceptable-addresses"}


def test_all_pairs_denied_is_said() -> None:
    """Nothing is sent, and status names the key."""
    it = world('pairs: {deny: [["*", "203.*"]]}').start().run(30)

    assert pairs(it) == set()
    assert (it.hq.state, it.hq.why) == ("waiting", "pairs of hq denies every path")


def test_a_tunnel_found_on_a_denied_pair_leaves_it() -> None:
    """The operator changed the configuration; the successor adopts, moves and keeps the SPIs."""
    it = world().start().run(5)
    spis = {c.spi_in for sa in it.sas.values() for c in sa.children}
    denying = world(f'pairs: {{deny: [["eth1", {R2}]]}}')
    it.planner = denying.planner
    it._queue.clear()
    it.start().run(20)

    assert f"eth1/{R2}" not in it.seats().values()
    assert {c.spi_in for sa in it.sas.values() for c in sa.children} == spis
    assert it.hq.authentications == 0


# --- addresses that go and come -----------------------------------------------------


def test_cold_start_with_a_dead_first_remote() -> None:
    """The second attempt takes another link and another remote: either may have been at fault."""
    it = world(links=3)
    it.dead_remotes = {R1}
    it.start().run(3)

    assert it.working()
    assert pairs(it, a.CreateIke) == {("eth0", R1), ("eth1", R2)}


def test_cold_start_with_a_dead_first_link() -> None:
    """The same attempt serves."""
    it = world()
    it.dead = {"eth0"}
    it.start().run(3)

    assert it.working()


def test_an_address_that_is_away_at_the_start_is_found_when_it_comes() -> None:
    """Tunnels wait on the other remote over the same link, tests back off, then all go home."""
    it = world(links=3)
    it.dead_remotes = {R1}
    it.start().run(120)
    homes = it.seats()
    parked = {home: now for home, now in homes.items() if home != now and now}
    assert all(now.endswith(R2) for now in parked.values())
    probes = len(beside(it))
    it.run(300)
    assert len(beside(it)) - probes < 60
    it.dead_remotes = set()
    it.run(150)

    assert at_home(it)
    assert it.hq.state == "up"
    assert it.hq.authentications == 1


def test_site_to_site_takes_the_best_pair() -> None:
    """Mode one: the children are on the first link and remote, the other paths are kept ready."""
    it = world(connection=replace(SITE, remote_addrs=(R1, R2))).start().run(60)
    (carrying,) = [t for t in it.hq.tunnels if t.children]

    assert carrying.current == f"eth0/{R1}"
    assert set(states(it).values()) == {"active", "ready"}


def test_lost_links_and_remotes_never_close_a_tunnel() -> None:
    """A remote dies, then a link, then both are back."""
    it = world().start().run(5)
    it.dead_remotes = {R2}
    it.link_down("eth0")
    it.run(30)
    it.dead_remotes = set()
    it.link_up("eth0")
    it.run(150)

    assert it.actions(a.Terminate) == []
    assert at_home(it)
