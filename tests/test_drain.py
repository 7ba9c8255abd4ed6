# SPDX-License-Identifier: Apache-2.0
"""Drain, undrain and prefer, on the simulated stage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulated import GATEWAY, SITE, World, up, watch_moves
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.byhand.progress import WAITS, unknown
from vici_mif.core.model import OrderKind, PathName
from vici_mif.core.wish.config import Source, parse

E0, E1, E2 = (f"eth{i}/{GATEWAY}" for i in range(3))
AT_HOME = {E0: E0, E1: E1, E2: E2}
GIVEN = "2026-11-20T21:00:00Z"


def drain(world: World, path: str) -> None:
    world.feed(e.OrderGiven(OrderKind.DRAIN, "hq", GIVEN, path))


def undrain(world: World, path: str) -> None:
    world.feed(e.OrderCleared(kind=OrderKind.DRAIN, peer="hq", path=path))


def prefer(world: World, path: str) -> None:
    world.feed(e.OrderGiven(OrderKind.PREFER, "hq", GIVEN, path))


def states(world: World) -> list[str]:
    return [path.state for path in world.hq.paths]


@pytest.mark.parametrize("words", [E0, "eth0", "eth[0]"])
def test_the_tunnel_leaves_and_the_path_stays_unused(words: str) -> None:
    """Tested before it moves, kept in orders.json, said in the status."""
    world = up()
    drain(world, words)
    world.run(2)

    assert world.seats()[E0] in {E1, E2}
    assert states(world)[0] == "drained"
    assert world.hq.state == "up"
    assert "path undrain" in world.hq.why
    assert [(o.kind, o.path) for o in world.stored] == [(OrderKind.DRAIN, words)]
    world.run(300)
    assert E0 not in world.seats().values()


def test_a_tunnel_says_that_its_home_is_drained() -> None:
    """And not that it waits for a hold-down, which nobody counts."""
    world = up()
    drain(world, E0)
    world.run(10)

    assert next(t.why for t in world.hq.tunnels if t.home == E0) == f"{E0}: drain ordered"


def test_undrain_brings_it_home() -> None:
    """By what was given, or by the link."""
    world = up()
    drain(world, E0)
    world.run(10)
    undrain(world, "eth0")
    world.run(10)

    assert world.seats() == AT_HOME
    assert world.stored == ()


def test_never_to_an_untested_path() -> None:
    """The other links lose everything: the tunnel stays, and the status says that it waits."""
    world = up().run(20)
    world.dead = {"eth1", "eth2"}
    world.run(20)
    good = watch_moves(world)
    drain(world, "eth0")
    world.run(60)

    assert (world.seats()[E0], states(world)[0]) == (E0, "active")
    assert (world.hq.state, world.hq.why, world.hq.paths[0].why) == ("degraded", WAITS, WAITS)
    assert world.hq.paths[0].order == "drain"
    assert False not in good


def test_the_last_path_waits_until_another_works() -> None:
    """The drain is not forgotten."""
    world = up()
    world.link_down("eth1")
    world.link_down("eth2")
    world.run(2)
    drain(world, "eth0")
    world.run(20)
    assert set(world.seats().values()) == {E0}
    world.link_up("eth2")
    world.run(30)

    assert set(world.seats().values()) == {E2}
    assert states(world)[0] == "drained"


def test_a_move_that_fails_may_come_back() -> None:
    """A path that passed its test and dies in the move: the drained one is not given up."""
    world = up()

    def cut(action: a.Action) -> None:
        if isinstance(action, a.Migrate) and world.sas[action.ike_id].pair != action.pair:
            world.dead = {"eth1", "eth2"}

    world.watchers.append(cut)
    drain(world, "eth0")
    world.run(60)

    assert states(world)[0] == "active"
    assert world.seats()[E0] == E0


def test_a_drain_outlives_the_controller() -> None:
    """Before and after the tunnel has left."""
    world = up()
    drain(world, "eth0")
    world.restart_controller()
    world.run(10)
    assert states(world)[0] == "drained"
    assert world.seats()[E0] != E0
    world.restart_controller()
    world.run(100)

    assert states(world)[0] == "drained"
    assert world.seats()[E0] != E0


def test_new_tunnels_are_not_seated_there() -> None:
    """A family made anew leaves the path out; undrained, it gets its tunnel."""
    world = up()
    drain(world, "eth0")
    world.run(5)
    world.lose_charon(with_sas=True)
    world.connect()
    world.run(30)
    assert world.hq.state == "up"
    assert world.seats() == {E1: E1, E2: E2}
    undrain(world, "eth0")
    world.run(10)

    assert world.seats() == AT_HOME


def test_everything_drained_before_anything_was_up() -> None:
    """Nothing is begun, and the reason is said."""
    world = World()
    world.feed(e.OrderGiven(OrderKind.DRAIN, "hq", GIVEN, "eth*"))
    world.start()
    world.run(30)

    assert world.actions(a.CreateIke) == []
    assert "path undrain" in world.hq.why


def test_charon_roamed_onto_a_drained_path() -> None:
    """While no controller ran: it leaves again, tested."""
    world = up()
    drain(world, "eth0")
    world.run(5)
    parked = next(t.ike_id for t in world.hq.tunnels if t.home == E0)
    pair = next(p.pair for p in world.planner.peers["hq"].paths.all() if p.pair)
    world.sas[parked] = replace(world.sas[parked], local=pair.local)
    good = watch_moves(world)
    world.restart_controller()
    world.run(10)

    assert E0 not in world.seats().values()
    assert good == [True]


def test_site_to_site_drains_and_returns() -> None:
    """Mode one: the children go with the tunnel."""
    world = up(connection=SITE)
    drain(world, "eth0")
    world.run(5)
    carrying = [t for t in world.hq.tunnels if t.children]
    assert [t.current for t in carrying] == [E1]
    assert world.hq.state == "up"
    undrain(world, "eth0")
    world.run(10)

    assert [t.current for t in world.hq.tunnels if t.children] == [E0]


def test_prefer_in_mode_one() -> None:
    """The children go there, tested and without a break; cleared, they come back."""
    world = up(connection=SITE)
    good = watch_moves(world)
    prefer(world, E2)
    world.run(2)
    assert [t.current for t in world.hq.tunnels if t.children] == [E2]
    assert world.hq.paths[2].order == "prefer"
    assert set(good) == {True}
    world.feed(e.OrderCleared(kind=OrderKind.PREFER, peer="hq"))
    world.run(10)

    assert [t.current for t in world.hq.tunnels if t.children] == [E0]


def test_a_dead_path_is_not_preferred_to_one_that_works() -> None:
    """It stays ordered, and nothing moves."""
    world = up(connection=SITE)
    world.dead = {"eth2"}
    prefer(world, "eth2")
    world.run(20)

    assert [t.current for t in world.hq.tunnels if t.children] == [E0]


def default_source(world: World) -> set[str]:
    return {str(r.prefsrc) for r in world.steering.routes if r.table == 7831 and r.prefsrc}


def test_prefer_per_path_is_the_default_source() -> None:
    """Unbound sockets take the inner address of the tunnel that is at home there."""
    world = up()
    assert default_source(world) == {"10.9.0.1"}
    prefer(world, "eth2")
    world.run(1)
    there = next(t for t in world.hq.tunnels if t.home == E2)

    assert default_source(world) == set(there.inner)


def test_what_is_parked_goes_to_what_is_preferred() -> None:
    """And a later preference takes the place of an earlier one."""
    world = up()
    world.link_down("eth0")
    world.run(1)
    assert world.seats()[E0] == E1
    prefer(world, "eth1")
    prefer(world, "eth2")
    world.run(8)

    assert world.seats() == {E0: E2, E1: E1, E2: E2}
    assert [o.path for o in world.stored] == ["eth2"]


WISH = parse([Source("c", "version: 1\nconnections:\n  hq: {links: [eth0, 'wwan*']}\n")])


@pytest.mark.parametrize("text", ["eth0", E0, "eth0/*", "wwan3", f"wwan3/{GATEWAY}", "wwan*"])
def test_words_that_are_understood(text: str) -> None:
    """Also a link that may come later."""
    assert unknown(text, WISH.connections["hq"], [PathName("eth0", GATEWAY)]) == ""


@pytest.mark.parametrize("text", ["eth9", "eth0/192.0.2.9", "wwan3/192.0.2.9", "eth0/", ""])
def test_words_that_are_refused(text: str) -> None:
    """With the names that are known."""
    said = unknown(text, WISH.connections["hq"], [PathName("eth0", GATEWAY)])

    assert E0 in said
