# SPDX-License-Identifier: Apache-2.0
"""Two clocks: what is decided hangs on the monotonic one, what is shown on the wall's."""

from __future__ import annotations

import ast
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.simulated import World
from vici_mif.core import actions as a
from vici_mif.core import events as e

PACKAGE = Path(__file__).parent.parent / "vici_mif"
MODULES = sorted(
    p for folder in ("core", "edges", "shell") for p in (PACKAGE / folder).glob("*.py")
)
WALL = {"time", "now", "utcnow", "today", "localtime", "gmtime"}
"""What asks for the time of day, as `time.time()` or `datetime.now()`."""

SHOWS = {"clock.py", "log.py"}

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_one_place_asks_for_the_time_of_day(path: Path) -> None:
    """`loop.time()` is the monotonic clock; everything of the wall's is in shell/clock.py."""
    calls = [
        node.func
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    asked = [
        f"{call.value.id}.{call.attr}"
        for call in calls
        if isinstance(call.value, ast.Name)
        and call.value.id in {"time", "datetime", "date"}
        and call.attr in WALL
    ]

    assert asked == [] or path.name in SHOWS
    assert time.get_clock_info("monotonic").adjustable is False


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(hours=1), timedelta(days=9000)])
def test_a_step_of_the_time_of_day_changes_nothing(jump: timedelta) -> None:
    """NTP at boot, a battery that was empty: only what is shown moves along."""
    world = World().start().run(30)
    before, seats = len(world.log), world.seats()
    shown = world.planner.status(world.now, START, "c").peers[0].tunnels[0].since
    later = world.planner.status(world.now, START + jump, "c")
    world.run(100)

    assert {type(action) for _, action in world.log[before:]} <= {a.Migrate, a.ReadAll, a.Probe}
    assert world.seats() == seats
    moved = datetime.fromisoformat(later.peers[0].tunnels[0].since)
    assert moved - datetime.fromisoformat(shown) == jump


def test_after_a_sleep_everything_is_looked_at_again() -> None:
    """The lid was closed for a night; the peer gave the family up meanwhile."""
    world = World().start().run(30)
    world.sas.clear()
    world.feed(e.Woke(8 * 3600.0))
    assert world.actions(a.ReadAll)

    world.run(20)

    assert world.hq.state == "up"
    assert world.hq.authentications == 2


def test_a_sleep_through_which_all_lived_costs_nothing() -> None:
    """A short one: what is there is kept, and pins are renewed as ever."""
    world = World().start().run(30)
    before, alive = len(world.log), set(world.sas)
    world.feed(e.Woke(3.0))
    world.run(20)

    assert set(world.sas) == alive
    assert {type(x) for _, x in world.log[before:]} <= {a.ReadAll, a.Migrate, a.Probe}
    assert world.hq.authentications == 1
