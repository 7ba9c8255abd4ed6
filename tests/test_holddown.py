# SPDX-License-Identifier: Apache-2.0
"""A path that breaks again and again is trusted later and later."""

from __future__ import annotations

import pytest

from tests.simulated import GATEWAY, ROAD_WARRIOR, SITE, World
from vici_mif.core import actions as a
from vici_mif.core.model import Connection, Pair
from vici_mif.core.paths.holddown import CALM_DELAY, LONGEST, HoldDown

E0, E1, E2 = (f"eth{i}/{GATEWAY}" for i in range(3))
BASE = 5.0


def broken(times: int, hold: HoldDown | None = None) -> HoldDown:
    """Link lost and found `times` times, a second apart, lost in the end."""
    hold = hold or HoldDown(works_at=0.0)
    for second in range(times):
        hold = hold.works(second, proven=False).link_lost(second)
    return hold


@pytest.mark.parametrize(("breaks", "factor"), [(1, 1), (2, 2), (3, 4), (5, 16), (300, LONGEST)])
def test_each_break_doubles_up_to_a_bound(breaks: int, factor: int) -> None:
    """Counted from when it works again."""
    hold = broken(breaks)

    assert hold.due_at(BASE) is None
    assert hold.works(1000.0, proven=False).due_at(BASE) == 1000.0 + factor * BASE


def test_a_calm_time_forgets() -> None:
    """Working long enough without a break."""
    hold = broken(4).works(100.0, proven=True)

    assert hold.failed(100.0 + CALM_DELAY - 1).breaks == 5
    assert hold.failed(100.0 + CALM_DELAY).breaks == 1


def test_what_never_worked_did_not_break() -> None:
    """The link is back, its path is dead: that is one break, not two."""
    hold = broken(1).works(10.0, proven=False).failed(15.0)

    assert (hold.breaks, hold.works_at) == (1, None)
    assert hold.works(99.0, proven=True).due_at(BASE) == 99.0 + BASE


def test_more_answers_change_nothing() -> None:
    """It counts from the first."""
    hold = broken(1).works(10.0, proven=True)

    assert hold.works(14.0, proven=True) == hold


def moves(world: World, since: float) -> list[tuple[float, Pair]]:
    """Where tunnels were sent, without renewed pins."""
    where: dict[int, Pair] = {}
    found = []
    for at, action in world.log:
        if isinstance(action, a.Migrate):
            known = where.get(action.ike_id)
            where[action.ike_id] = action.pair
            if known not in {None, action.pair} and at >= since:
                found.append((at, action.pair))
    return found


@pytest.mark.parametrize("connection", [ROAD_WARRIOR, SITE])
def test_five_times_a_second_for_a_minute(connection: Connection) -> None:
    """At most eight moves, none in the hold-down that follows; the family lives."""
    world = World(connection=connection).start().run(15)
    begun, family = world.now, world.hq.family
    for _ in range(300):
        world.link_down("eth0")
        world.run(0.1)
        world.link_up("eth0")
        world.run(0.1)
    ended = world.now

    assert len(moves(world, begun)) <= 8
    assert world.hq.state == "degraded"
    assert "hold-down" in next(t.why for t in world.hq.tunnels if t.home == E0)
    world.run(BASE * LONGEST - 1)
    assert moves(world, ended) == []
    world.run(10)
    assert (world.hq.state, world.hq.family) == ("up", family)
    assert world.seats() == {E0: E0, E1: E1, E2: E2}
    assert len(moves(world, begun)) <= 8


def test_counted_from_the_answer_after_a_silent_failure() -> None:
    """The link never went; what counts is when tests pass again."""
    world = World().start().run(3)
    world.link_down("eth1")
    world.run(1)
    world.dead = {"eth1"}
    world.link_up("eth1")
    world.run(60)
    world.dead = set()
    while next(p.state for p in world.hq.paths if p.name == E1) != "ready":
        world.run(0.5)
    world.run(BASE - 1)
    assert world.seats()[E1] != E1
    world.run(2)

    assert world.seats()[E1] == E1
