# SPDX-License-Identifier: Apache-2.0
"""A peer deletes one member of a family: the others are asked, and only silence convicts them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulated import ROAD_WARRIOR, Gateway, World
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.health.suspicion import CALM_DELAY
from vici_mif.core.model import Sa

TWO = """
version: 1
connections:
  hq: {links: [eth0, eth1], spares: 0, hold_down: 2s}
"""


def up(text: str = TWO, span: float = 2.0, **kinds: object) -> World:
    """A family that came up a moment ago, without targets."""
    world = World(text=text, **kinds).start().run(span)  # type: ignore[arg-type]
    assert world.hq.state == "up"
    return world


def on(world: World, link: str) -> Sa:
    return next(sa for sa in world.sas.values() if world.link_of(sa.local) == link)


def probes(world: World, since: float) -> list[a.Probe]:
    return [x for at, x in world.log if isinstance(x, a.Probe) and at >= since]


def test_a_member_that_was_forgotten_without_a_word_is_left_soon() -> None:
    """The gateway told one member of its end and not the other: four seconds, not thirteen."""
    world = up()
    deleted, dead = on(world, "eth0"), on(world, "eth1")
    world.forgotten.add(dead.unique_id)
    world.gateway.refuses = True
    world.peer_deletes(deleted.unique_id)
    world.run(4)

    assert not any(path.state == "active" for path in world.hq.paths)
    assert world.hq.state == "down"


def test_a_gateway_that_was_started_anew_is_asked_for_a_new_family() -> None:
    """It told one member of its end, forgot the other, and is back: seconds, not twenty."""
    world = up()
    deleted, dead = on(world, "eth0"), on(world, "eth1")
    world.forgotten.add(dead.unique_id)
    world.peer_deletes(deleted.unique_id)
    world.run(8)

    assert world.hq.authentications == 2
    assert {sa.family for sa in world.working()} == {max(sa.family or 0 for sa in world.working())}
    world.run(10)
    assert world.hq.state == "up"
    assert dead.unique_id not in world.sas


def test_the_standby_takes_over_within_seconds() -> None:
    """Where a family is dead in that way and another gateway stands by."""
    text = TWO.replace("connections:", "connections:\n  backup: {links: [eth0, eth1], spares: 0}")
    text = text.replace("  hq: {", "  hq: {rank: 1, ").replace("backup: {", "backup: {rank: 2, ")
    backup = (replace(ROAD_WARRIOR, name="backup"), Gateway())
    world = World(text=text, more={"backup": backup}).start().run(5)
    status = {peer.name: peer.state for peer in world.status.peers}
    assert status == {"hq": "up", "backup": "standby"}
    own = [sa for sa in world.sas.values() if sa.name == "hq"]
    world.gateway.refuses = True
    world.forgotten |= {sa.unique_id for sa in own}
    world.peer_deletes(own[0].unique_id)
    world.run(6)

    assert {peer.name: peer.state for peer in world.status.peers}["backup"] == "up"


@pytest.mark.parametrize("text", [TWO, TWO.replace("spares: 0", "spares: 1, inner: one")])
def test_a_deliberate_delete_costs_no_other_member(text: str) -> None:
    """Each of the others is asked once and answers; the one that went is made again."""
    world = up(text)
    begun, (first, *others) = world.now, sorted(world.sas)
    world.peer_deletes(first)
    world.run(3)

    assert {x.ike_id for x in probes(world, begun)} <= {*others}
    assert len(probes(world, begun)) == len({x.ike_id for x in probes(world, begun)})
    assert set(others) <= set(world.sas)
    assert world.actions(a.Migrate) == [x for x in world.actions(a.Migrate) if x.ike_id]  # type: ignore[union-attr]
    assert world.hq.state == "up"
    assert world.hq.authentications == 1


def test_a_delete_of_all_asks_nobody() -> None:
    """One after the other within milliseconds: there is nobody left to be asked."""
    world = up()
    begun = world.now
    world.gateway.refuses = True
    for ike_id in list(world.sas):
        world.peer_deletes(ike_id)
        world.run(0.01)
    world.run(1)

    assert probes(world, begun) == []


def test_many_deletes_are_no_storm() -> None:
    """A gateway that deletes each member as soon as it is made again: a round in five seconds."""
    world = up()
    begun = world.now
    while world.now < begun + 30:
        newest = max(world.sas)
        if len(world.sas) > 1:
            world.peer_deletes(newest)
        world.run(0.5)

    asked = probes(world, begun)
    assert 0 < len(asked) <= 30 / CALM_DELAY + 30 / 3
    assert world.hq.authentications == 1


def test_who_closes_at_this_end_suspects_nobody() -> None:
    """`swanctl --terminate` of one member is no word of the peer's."""
    world = up()
    begun = world.now
    one = on(world, "eth1")
    gone = replace(world.sas.pop(one.unique_id), state="DELETING", tasks_active=("IKE_DELETE",))
    world.feed(e.SaClosed(gone))
    world.run(2.5)

    assert probes(world, begun) == []


def test_a_window_that_is_full_is_asked_again() -> None:
    """An exchange of its own is outstanding on the dead one: `busy` is no answer."""
    world = up()
    deleted, dead = on(world, "eth0"), on(world, "eth1")
    world.forgotten.add(dead.unique_id)
    world.gateway.refuses = True
    begun = world.now
    tell = world._failed
    world._failed = lambda tag, reason, delay=0.001: tell(  # type: ignore[method-assign]
        tag, "busy" if reason == "timeout" else reason, 0.001
    )
    world.peer_deletes(deleted.unique_id)
    world.run(12)

    assert len(probes(world, begun)) >= 3
    assert not any(path.state == "active" for path in world.hq.paths)
