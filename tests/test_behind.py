# SPDX-License-Identifier: Apache-2.0
"""Mode per-path with several children: what one of them lacks takes no protection off another."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.simulated import ROAD_WARRIOR, World, up
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.ground.behind import Behind
from vici_mif.core.model import Child, ChildTemplate, IPNetwork, Sa, Steering

LAN, VOIP, ALL = map(ip_network, ("10.100.0.0/16", "10.101.0.0/16", "0.0.0.0/0"))
INNER, UNBOUND, LIVES = 150, 158, 159


def template(name: str, *remote_ts: str) -> ChildTemplate:
    return ChildTemplate(name, local_ts=("dynamic",), remote_ts=remote_ts)


NET = template("net", str(LAN))
TWO = replace(ROAD_WARRIOR, children=(NET, template("voip", str(VOIP))))
WHOLE = replace(ROAD_WARRIOR, children=(NET, template("all", str(ALL))))


def refuse(world: World, name: str) -> World:
    """The gateway answers TS_UNACCEPTABLE for this child."""
    opened = world._opened

    def answer(action: a.CreateChild) -> None:
        if action.template == name:
            world.feed(e.ActionFailed(action.tag, "peer-refused", "TS_UNACCEPTABLE"))
        else:
            opened(action)

    world._opened = answer  # type: ignore[method-assign]
    return world


def close(world: World, name: str) -> None:
    """The gateway deletes this child of every tunnel."""
    for ike_id, sa in list(world.sas.items()):
        left = tuple(child for child in sa.children if not child.name.startswith(name))
        world.sas[ike_id] = replace(sa, children=left)
        world._seen(ike_id)


def underneath(steering: Steering, net: IPNetwork) -> set[int]:
    """Tables with `unreachable` for a network."""
    return {r.table for r in steering.routes if r.device is None and r.destination == net}


def is_protected(world: World, net: IPNetwork) -> bool:
    """From inner addresses and unbound sockets, by routes and by nftables."""
    rules, guard = world.steering.rules, world.guard
    tables = {r.table for r in rules if r.priority == INNER}
    tables |= {r.table for r in rules if r.priority == UNBOUND and r.destination == net}
    sources = {r.source for r in rules if r.priority == INNER}
    guarded = {s.local for s in guard.selectors if s.remote == net} if guard else set()
    return len(tables) == 4 and tables <= underneath(world.steering, net) and guarded == sources


@pytest.mark.parametrize("plugin", ["kernel-netlink", "kernel-libipsec"])
def test_a_child_that_is_refused_stays_protected(plugin: str) -> None:
    """For as long as the gateway refuses it; the other one carries."""
    world = refuse(World(connection=TWO, plugins=frozenset({plugin})), "voip").start().run(30)

    assert world.hq.state == "degraded"
    assert len(world.working()) == 3
    assert is_protected(world, LAN)
    assert is_protected(world, VOIP)


def test_a_child_that_is_closed_stays_protected() -> None:
    """Deleted by the gateway, and refused from then on."""
    world = refuse(up(connection=TWO), "voip")
    close(world, "voip")
    world.run(30)

    assert {child.name.partition("@")[0] for sa in world.working() for child in sa.children} == {
        "net"
    }
    assert is_protected(world, VOIP)


def test_no_moment_of_the_start_leaves_a_network_out() -> None:
    """Between the first child of one and the first of the other."""
    world = World(connection=TWO).start().run(5)
    wishes = [action.wish for action in world.actions(a.Steer) if isinstance(action, a.Steer)]

    assert {rule.priority for rule in wishes[-1].rules} >= {INNER, UNBOUND}
    assert all(underneath(wish, VOIP) == underneath(wish, LAN) != set() for wish in wishes)


def test_a_network_that_is_added_while_nothing_works_is_protected_at_once() -> None:
    """`swanctl --load-all` with another remote_ts."""
    world = up()
    world.dead = {"eth0", "eth1", "eth2"}
    for ike_id in list(world.sas):
        world.peer_deletes(ike_id)
    world.connection = replace(ROAD_WARRIOR, children=(template("net", str(LAN), str(VOIP)),))
    world.feed(e.ConnectionsSeen((world.connection,)))
    world.run(1)

    assert world.working() == []
    assert is_protected(world, LAN)
    assert is_protected(world, VOIP)


def test_everything_behind_a_child_that_is_refused_leaves_the_host_alive() -> None:
    """0.0.0.0/0 beside a child that works: unbound traffic goes by main, inner sources do not."""
    world = refuse(World(connection=WHOLE), "all").start().run(30)
    unbound = {r.destination for r in world.steering.rules if r.priority == UNBOUND}

    assert unbound == {LAN}
    assert [r.table for r in world.steering.rules if r.priority == LIVES] == [254]
    tables = {r.table for r in world.steering.rules if r.priority == INNER}
    assert tables <= underneath(world.steering, ALL)
    world = up(connection=WHOLE)
    assert {r.destination for r in world.steering.rules if r.priority == UNBOUND} == {LAN, None}
    assert not [r for r in world.steering.rules if r.priority == LIVES]


# --- the networks alone -----------------------------------------------------------


def member(**children: str) -> Sa:
    """An IKE SA with these children: names and what was negotiated, one selector each."""
    outer = ip_address("192.0.2.1")
    made = tuple(
        Child(f"{name}@eth0/gw", number, "INSTALLED", ("10.9.0.1/32",), (remote,))
        for number, (name, remote) in enumerate(children.items())
    )
    return Sa(1, "hq", "ESTABLISHED", outer, outer, children=made)


def test_what_was_negotiated_last_holds_while_a_child_is_away() -> None:
    """What the gateway left out is not protected, before or after."""
    narrow, behind = ip_network("10.101.7.0/24"), Behind()
    behind.see([member(net=str(LAN))], TWO.children)
    assert (behind.networks, behind.closed) == ((LAN, VOIP), {VOIP})
    behind.see([member(net=str(LAN), voip=str(narrow))], TWO.children)
    assert (behind.networks, behind.closed) == ((LAN, narrow), set())
    behind.see([member(net=str(LAN))], TWO.children)
    assert (behind.networks, behind.closed) == ((LAN, narrow), {narrow})
    behind.see([], TWO.children)
    assert (behind.networks, behind.closed) == ((LAN, narrow), set())
    behind.see([], ())
    assert behind.networks == (LAN, narrow)


def test_selectors_that_changed_since_count_once_nothing_works() -> None:
    """As long as a child works, what it has is what is protected."""
    behind, more = Behind(), (template("net", str(LAN), str(VOIP)),)
    behind.see([member(net=str(LAN))], (NET,))
    behind.see([member(net=str(LAN))], more)
    assert behind.networks == (LAN,)
    behind.see([], more)
    assert behind.networks == (LAN, VOIP)
    behind.see([member(net=str(LAN))], more)
    behind.see([], more)
    assert behind.networks == (LAN,)


def test_dynamic_is_known_once_it_was_negotiated() -> None:
    """It stands for the gateway's own address."""
    behind, own = Behind(), ip_network("203.0.113.1/32")
    dynamic = (NET, template("gw", "dynamic"))
    behind.see([], dynamic)
    assert behind.networks == (LAN,)
    behind.see([member(gw=str(own))], dynamic)
    behind.see([member(net=str(LAN))], dynamic)

    assert behind.networks == (LAN, own)


def test_bypasses_are_not_behind_the_peer() -> None:
    """A child that is not wanted is, as long as it works."""
    behind, bypass = Behind(), replace(template("lan", "192.168.0.0/16"), mode="PASS")
    behind.see([member(voip=str(VOIP))], (NET, bypass))
    assert behind.networks == (LAN, VOIP)
    behind.see([], (NET, bypass))

    assert behind.networks == (LAN,)
