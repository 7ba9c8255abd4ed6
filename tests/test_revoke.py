# SPDX-License-Identifier: Apache-2.0
"""`tunnel revoke` and `peer revoke`, on the simulated stage."""

from __future__ import annotations

import pytest

from tests.simulated import GATEWAY, SITE, World, up
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.model import OrderKind

E0, E1, E2 = (f"eth{i}/{GATEWAY}" for i in range(3))
AT_HOME = {E0: E0, E1: E1, E2: E2}
GIVEN = "2026-11-20T21:00:00Z"


def revoke(world: World, path: str = "") -> None:
    world.feed(e.OrderGiven(OrderKind.REVOKE, "hq", GIVEN, path))


def ids(world: World) -> dict[str, int]:
    return {str(t.home): t.ike_id for t in world.hq.tunnels}


@pytest.mark.parametrize("path", [E0, E1, "eth2"])
def test_only_that_tunnel_gets_new_keys(path: str) -> None:
    """Closed at once, cloned anew with its inner address; the root is no exception."""
    world = up()
    before = {t.home: (t.ike_id, t.inner) for t in world.hq.tunnels}
    revoke(world, path)
    assert len(world.actions(a.Terminate)) == 1
    world.run(10)
    after = {t.home: (t.ike_id, t.inner) for t in world.hq.tunnels}

    changed = {home for home in before if after[home][0] != before[home][0]}
    assert changed == {home for home in before if str(home).startswith(path)}
    assert {home: inner for home, (_, inner) in after.items()} == {
        home: inner for home, (_, inner) in before.items()
    }
    assert (world.seats(), world.hq.state, world.hq.authentications) == (AT_HOME, "up", 1)
    assert world.stored == ()


def test_it_is_kept_until_it_is_done() -> None:
    """What was written names the keys, and it is written before anything is closed."""
    world = up()
    world.dead = {"eth1"}
    before = len(world.log)
    revoke(world, "eth1")
    kinds = [type(x) for _, x in world.log[before:]]
    assert kinds.index(a.StoreOrders) < kinds.index(a.Terminate)
    assert [(o.kind, o.path) for o in world.stored] == [(OrderKind.REVOKE, "eth1")]
    assert world.stored[0].spis
    world.run(10)

    assert world.stored == ()


def test_a_silent_peer_does_not_keep_the_keys() -> None:
    """Closed without its answer."""
    world = up()
    world.dead = {"eth1"}
    doomed = ids(world)[E1]
    revoke(world, E1)
    world.run(5)

    assert doomed not in world.sas


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.015, 0.03, 0.1])
@pytest.mark.parametrize("path", [E1, ""])
def test_a_crash_in_between(path: str, seconds: float) -> None:
    """The successor goes on, and takes it for no `down`."""
    world = up()
    before = ids(world)
    revoke(world, path)
    world.run(seconds)
    world.restart_controller()
    world.run(15)
    after = ids(world)

    assert (world.seats(), world.hq.state, world.stored) == (AT_HOME, "up", ())
    assert before[E1] != after[E1]
    assert (before[E0] != after[E0]) is (path == "")


@pytest.mark.parametrize("seconds", [0.13, 0.141, 0.15, 0.17])
def test_a_clone_that_is_under_way_is_revoked_too(seconds: float) -> None:
    """It appears when the others are gone already: not one of that family lives on."""
    world = World().start().run(seconds)
    revoke(world)
    world.run(15)

    assert {sa.family for sa in world.sas.values()} != {1}
    assert (world.seats(), world.hq.authentications, world.stored) == (AT_HOME, 2, ())


def test_charon_that_dies_in_between_has_done_it() -> None:
    """Its keys died with it."""
    world = up()
    world.dead = {"eth1"}
    revoke(world, E1)
    world.run(0.5)
    world.lose_charon(with_sas=True)
    world.dead = set()
    world.connect()
    world.run(10)

    assert (world.seats(), world.stored) == (AT_HOME, ())


def test_a_peer_is_authenticated_anew() -> None:
    """All of the family goes, then one authentication makes a new one."""
    world = up()
    before = set(world.sas)
    open_at: list[int] = []
    world.watchers.append(
        lambda x: open_at.append(len(world.sas)) if isinstance(x, a.CreateIke) else None
    )
    revoke(world)
    world.run(10)

    assert before.isdisjoint(world.sas)
    assert open_at == [0]
    assert (world.seats(), world.hq.authentications) == (AT_HOME, 2)
    assert world.status.orders == ()


def test_a_peer_that_is_down_stays_down() -> None:
    """There is nothing to revoke, and nothing begins."""
    world = up()
    world.feed(e.OrderGiven(OrderKind.DOWN, "hq", GIVEN))
    world.run(10)
    revoke(world)
    world.run(10)

    assert (world.sas, world.hq.state) == ({}, "down")
    assert [o.kind for o in world.status.orders] == ["down"]


def test_the_tunnel_with_the_children_in_mode_one() -> None:
    """They are opened again on another member."""
    world = up(connection=SITE)
    revoke(world, "eth0")
    world.run(15)

    assert world.hq.state == "up"
    assert [len(sa.children) for sa in world.working()] == [2]
    assert world.seats() == AT_HOME


def test_with_the_peers_limit_used_up() -> None:
    """The clone waits until the old member has gone: else it would be refused."""
    world = World()
    world.gateway.max_clones = 2
    world.start().run(5)
    assert len(world.sas) == 3
    revoke(world, "eth1")
    world.run(3)

    assert world.seats() == AT_HOME


def test_a_tunnel_that_is_not_there() -> None:
    """Refused, with those that are."""
    world = up()
    event = e.OrderGiven(OrderKind.REVOKE, "hq", GIVEN, "eth9")

    assert E1 in world.planner.refuses(event)
    revoke(world, "eth9")
    assert world.status.orders == ()


def test_what_has_begun_cannot_be_taken_back() -> None:
    """An act ends by itself."""
    world = up()
    world.dead = {"eth1"}
    revoke(world, "eth1")

    assert "ends by itself" in world.planner.refuses(e.OrderCleared(id=1))


def test_what_is_not_ordered_cannot_be_taken_back() -> None:
    """By its words or by its number."""
    world = up()
    world.feed(e.OrderGiven(OrderKind.DRAIN, "hq", GIVEN, "eth0"))
    refuses = world.planner.refuses

    assert "eth0 (order 1)" in refuses(e.OrderCleared(kind=OrderKind.DRAIN, path=E0))
    assert "no order 7" in refuses(e.OrderCleared(id=7))
    assert refuses(e.OrderCleared(kind=OrderKind.DRAIN, path="eth0")) == ""
    assert refuses(e.OrderCleared(id=1)) == ""
