# SPDX-License-Identifier: Apache-2.0
"""Paths of links that fitted a pattern and went: `status` speaks of them for an hour."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulated import World, link
from vici_mif.core import events as e
from vici_mif.core.model import OrderKind, PathName
from vici_mif.core.paths import departed
from vici_mif.core.paths.departed import MOST_SPOKEN, Departed

DIALUP = """
version: 1
connections:
  hq: {links: [eth0, eth1, "ppp*"], tunnels: 2, spares: 0, hold_down: 1s}
"""
PATH = "ppp0/203.0.113.1"
SHORT = 60.0


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world's hour with all its tests takes half a minute of ours."""
    monkeypatch.setattr(departed, "SPOKEN_DELAY", SHORT)


def dialled(text: str = DIALUP) -> World:
    """Two lines and a modem."""
    world = World(text=text, links={f"eth{i}": link(i) for i in range(2)})
    return appear(world.start().run(20), 0)


def appear(world: World, number: int) -> World:
    name = f"ppp{number}"
    world.links[name] = replace(link(2), name=name, index=100 + number)
    world.see_links()
    return world.run(5)


def vanish(world: World, number: int) -> World:
    del world.links[f"ppp{number}"]
    world.see_links()
    return world.run(5)


def shown(world: World) -> set[str]:
    return {path.name for path in world.hq.paths}


def test_a_path_that_is_gone_disappears_after_its_time() -> None:
    """Until then it says why it cannot be used; whoever listens is told that it is gone."""
    world = vanish(dialled(), 0)
    world.run(50)
    (path,) = (path for path in world.hq.paths if path.name == PATH)
    assert (path.state, path.local) == ("failed", None)
    world.run(10)

    assert PATH not in shown(world)
    assert world.told[-1].path == PATH
    assert world.told[-1].state == "gone"
    assert {t.home for t in world.hq.tunnels} == {"eth0/203.0.113.1", "eth1/203.0.113.1"}


def test_one_that_comes_back_is_there_again() -> None:
    """Before its time is over that begins anew; after it, it is a new path."""
    world = vanish(dialled(), 0)
    world.run(45)
    vanish(appear(world, 0), 0)
    world.run(45)
    assert PATH in shown(world)
    world.run(20)
    assert PATH not in shown(world)
    appear(world, 0).run(60)

    assert [path.state for path in world.hq.paths if path.name == PATH] == ["ready"]


@pytest.mark.parametrize("kind", [OrderKind.DRAIN, OrderKind.PREFER])
def test_what_an_order_names_stays(kind: OrderKind) -> None:
    """It has to be seen what was ordered."""
    world = dialled()
    world.feed(e.OrderGiven(kind, "hq", "2026-11-21T00:00:00Z", PATH))
    vanish(world.run(20), 0)
    world.run(2 * SHORT)

    assert PATH in shown(world)


def test_the_home_of_a_tunnel_stays() -> None:
    """Its inner address is used by what was begun there."""
    world = dialled(DIALUP.replace("tunnels: 2", "tunnels: 3"))
    world.run(30)
    assert PATH in {t.home for t in world.hq.tunnels}
    vanish(world, 0)
    world.run(2 * SHORT)

    assert PATH in shown(world)
    assert PATH in {t.home for t in world.hq.tunnels}


def test_a_link_that_is_named_stays() -> None:
    """The operator wants to hear of it."""
    world = dialled()
    del world.links["eth1"]
    world.see_links()
    world.run(2 * SHORT)

    assert "eth1/203.0.113.1" in shown(world)


def test_many_names_within_the_hour_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A modem that is called otherwise every ten seconds."""
    monkeypatch.undo()
    world = vanish(dialled(), 0)
    for number in range(1, MOST_SPOKEN + 20):
        vanish(appear(world, number), number)
    gone = [path for path in world.hq.paths if path.local is None]

    assert len(gone) == MOST_SPOKEN
    assert f"ppp{MOST_SPOKEN + 19}/203.0.113.1" in shown(world)
    assert PATH not in shown(world)


def test_its_time_is_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """As documented."""
    monkeypatch.undo()
    name, it = PathName("ppp0", "203.0.113.1"), Departed()

    assert it.over([name], 1000.0) == set()
    assert it.over([name], 1000.0 + 3599) == set()
    assert it.over([name], 1000.0 + 3600) == {name}
