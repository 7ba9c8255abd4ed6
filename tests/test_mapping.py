# SPDX-License-Identifier: Apache-2.0
"""A NAT that forgot: IKE is answered, and the tunnels behind it are silent."""

from __future__ import annotations

import pytest

from tests.simulated import SPARE, THREE, World
from vici_mif.core import actions as a

TARGETS = THREE.replace("spares: 0", "spares: 0, probe: {targets: [10.100.0.1]}")
ALL = {"eth0", "eth1", "eth2"}


def up(text: str = TARGETS, natted: set[str] = ALL) -> World:
    world = World(text)
    world.natted = set(natted)
    world.start().run(10)
    assert world.hq.state == "up"
    return world


def told(world: World) -> list[int]:
    """IKE_SAs of which the peer was told again where they are."""
    found = world.actions(a.Migrate)
    return [x.ike_id for x in found if isinstance(x, a.Migrate) and not x.pin_delay]


def test_all_at_once() -> None:
    """No other path tells that the targets live: IKE is asked, and the peer told the new port."""
    world = up()
    for name in ALL:
        world.rebind(name)
    world.run(2)

    assert (world.unmapped, world.hq.state) == (set(), "up")
    assert sorted(told(world)) == sorted(world.sas)
    assert not world.really - {x.tag for x in world.actions(a.Migrate) if x.tag in world.really}


@pytest.mark.parametrize("targets", [True, False])
def test_the_only_uplink(targets: bool) -> None:
    """No other path to go to: it is healed where it is."""
    text = (TARGETS if targets else THREE).replace("[eth0, eth1, eth2]", "[eth0]")
    world = up(text)
    world.streaming = True
    world.run(10)
    world.rebind("eth0")
    world.run(10)

    assert (world.unmapped, world.hq.state) == (set(), "up")


def test_a_tunnel_in_which_nothing_is_sent() -> None:
    """What the peer sends is lost as well; nobody can see that, so it is told once a minute."""
    world = up(THREE.replace("[eth0, eth1, eth2]", "[eth0]"))
    world.rebind("eth0")
    world.run(30)
    assert (told(world), len(world.unmapped)) == ([], 1)
    world.run(60)

    assert (len(told(world)), world.unmapped) == (1, set())


def test_without_a_nat_there_is_nothing_to_tell() -> None:
    """Targets that are dead behind a path that works."""
    world = up(natted=set())
    world.echoes.mute = {"10.100.0.1"}
    world.run(60)

    assert told(world) == []


def test_a_dead_target_behind_a_nat_costs_little() -> None:
    """It did not help, so it is repeated more and more seldom, and nothing is moved."""
    world = up()
    world.echoes.mute = {"10.100.0.1"}
    seats = world.seats()
    world.run(300)

    assert world.seats() == seats
    assert len(told(world)) <= 3 * (len(world.sas) + 8)
    assert world.hq.state == "up"


def test_who_answers_again_is_patient_no_longer() -> None:
    """The next time is the first time."""
    world = up(TARGETS.replace("[eth0, eth1, eth2]", "[eth0]"))
    for _ in range(3):
        world.rebind("eth0")
        world.run(10)
        assert world.unmapped == set()
        world.run(60)


def test_a_spare_shares_the_nat() -> None:
    """Nobody watches it, and it must be there when a link comes."""
    world = up(SPARE.replace("spares: 1", "spares: 1, probe: {targets: [10.100.0.1]}"))
    assert len(world.spares()) == 1
    for name in ALL:
        world.rebind(name)
    assert len(world.unmapped) == 4
    world.run(2)

    assert world.unmapped == set()
