# SPDX-License-Identifier: Apache-2.0
"""A charon without the series and one loaded connection per path (`authenticate`)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulated import ROAD_WARRIOR, Gateway, World
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.family import stock
from vici_mif.core.model import OrderKind
from vici_mif.core.wish.config import ConfigError, Source, parse

TEXT = """version: 1
connections:
  hq: {links: [eth0, eth1], without_clone: authenticate, authenticate: [hq-a, hq-b]}
"""
EACH = {
    f"hq-{name}": (
        replace(ROAD_WARRIOR, name=f"hq-{name}", local_addrs=(f"198.18.{i}.2",)),
        Gateway(),
    )
    for i, name in enumerate("ab")
}


def up(text: str = TEXT) -> World:
    world = World(text, connection=None, patched=False)
    world.more = dict(EACH)
    return world.start().run(5)


def test_each_connection_has_its_tunnel() -> None:
    """Each begun once, each on its own link; there is no connection that is called as the peer."""
    world = up()
    world.run(60)

    begun = [x.connection for x in world.actions(a.Initiate) if isinstance(x, a.Initiate)]
    assert begun == ["hq-a", "hq-b"]
    assert (world.hq.state, world.hq.mode) == ("up", "authenticate")
    assert "authenticates again by its own rules" in world.hq.why
    assert sorted(str(t.current) for t in world.hq.tunnels) == [
        "eth0/203.0.113.1",
        "eth1/203.0.113.1",
    ]


def test_one_that_nobody_answers_holds_no_other_up() -> None:
    """charon sends its IKE_SA_INIT for minutes; the other path carries after seconds."""
    world = World(TEXT, connection=None, patched=False)
    world.more = dict(EACH)
    world.dead = {"eth0"}
    world.start().run(stock.ANSWER_DELAY - 1)
    assert [sa.name for sa in world.sas.values()] == ["hq-a"]
    world.run(2)

    assert [sa.name for sa in world.sas.values() if sa.established] == ["hq-b"]
    assert [t.current.link for t in world.planner.peers["hq"].tunnels if t.current] == ["eth1"]


def test_one_that_does_not_end_holds_no_other_up_for_long() -> None:
    """IKE_SA_INIT is answered, IKE_AUTH is not: too large for that path, or EAP waits."""
    world = World(TEXT, connection=None, patched=False)
    world.more = dict(EACH)
    world.dead = {"eth0"}
    world.start().run(1)
    (begun,) = world.sas
    world.sas[begun] = replace(world.sas[begun], spi_responder="11")
    world.feed(e.SaSeen(world.sas[begun]))
    world.run(stock.INITIATE_DELAY)
    assert [sa.name for sa in world.sas.values() if sa.established] == ["hq-b"]

    (other,) = (i for i, sa in world.sas.items() if sa.name == "hq-b")
    world.peer_deletes(other)
    world.run(1)
    assert [sa.name for sa in world.sas.values() if sa.established] == ["hq-b"]


def test_one_that_charon_has_given_up_is_begun_again() -> None:
    """Nothing tells the end of an IKE SA that was never established."""
    world = World(TEXT, connection=None, patched=False)
    world.more = dict(EACH)
    world.dead = {"eth0"}
    world.start().run(20)
    (given_up,) = (i for i, sa in world.sas.items() if sa.name == "hq-a")
    world.dead = set()
    del world.sas[given_up]
    world.run(2 * stock.INITIATE_DELAY)

    assert sorted(sa.name for sa in world.sas.values() if sa.established) == ["hq-a", "hq-b"]


def test_one_that_is_missing_is_named_and_begun_again() -> None:
    """The other one carries meanwhile."""
    world = up()
    (first,) = [i for i, sa in world.sas.items() if sa.name == "hq-a"]
    world.peer_deletes(first)
    assert (world.hq.state, world.hq.why.split(";")[0]) == ("degraded", "no tunnel of hq-a")
    world.run(60)

    assert world.hq.state == "up"
    assert len(world.sas) == 2


def test_down_closes_all_of_them() -> None:
    """They are one peer, also for who takes it down by `swanctl --terminate`."""
    world = up()
    world.feed(e.OrderGiven(OrderKind.DOWN, "hq", "2026-01-01T00:00:00Z"))
    world.run(5)
    assert (world.sas, world.hq.state) == ({}, "down")
    world.feed(e.OrderCleared(kind=OrderKind.DOWN, peer="hq"))
    world.run(60)
    assert len(world.sas) == 2
    world.swanctl_terminate()
    world.run(60)

    assert ([o.by for o in world.stored], world.sas) == (["swanctl"], {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT.replace("without_clone: authenticate, ", ""), "wants `without_clone: authenticate`"),
        (TEXT + "  hq-a: {links: [eth0]}\n", "hq-a belongs to hq-a"),
        (
            TEXT + "  b: {links: [eth0], without_clone: authenticate, authenticate: [hq-b]}\n",
            "hq-b belongs to hq",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    """With its place."""
    with pytest.raises(ConfigError, match=said):
        parse([Source("c", text)])
