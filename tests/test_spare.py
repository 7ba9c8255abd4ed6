# SPDX-License-Identifier: Apache-2.0
"""Spares: tunnels without a home, ready for a link that comes."""

from __future__ import annotations

import pytest

from tests.simulated import GATEWAY, ROAD_WARRIOR, RTT, SITE, SPARE, Gateway, World, link
from vici_mif.core import actions as a
from vici_mif.core.model import Connection, Pair

E0, E1, E2 = (f"eth{i}/{GATEWAY}" for i in range(3))
W0, W1 = (f"wwan{i}/{GATEWAY}" for i in range(2))
PATTERN = "version: 1\nconnections:\n  hq: {links: [eth0, 'wwan*'], tunnels: 3}\n"


def laptop(**kinds: object) -> World:
    """One cable, and modems that may come."""
    return World(text=PATTERN, links={"eth0": link(0)}, **kinds).start().run(3)  # type: ignore[arg-type]


def plug(world: World, name: str, index: int) -> int:
    """A modem comes; returns the length of the log before."""
    before = len(world.log)
    world.links[name] = link(index, name=name)
    world.see_links()
    return before


def test_one_spare_by_default() -> None:
    """Beside a tunnel for each path; with an inner address and a child of its own, idle."""
    world = World(text=SPARE).start().run(5)
    (spare,) = world.spares()

    assert world.seats() == {E0: E0, E1: E1, E2: E2}
    assert (spare.current, spare.inner) == (E0, ("10.9.0.4",))
    assert [c.name for c in spare.children] == ["net@spare"]
    assert world.hq.state == "up"
    assert len(world.actions(a.Clone)) == 3


def test_nothing_is_asked_of_a_spare_but_its_pin() -> None:
    """It is no tunnel that misses its home: no test, no move."""
    world = World(text=SPARE).start().run(5)
    before = len(world.log)
    (spare,) = world.spares()
    world.run(100)

    about = [x for _, x in world.log[before:] if getattr(x, "ike_id", None) == spare.ike_id]
    assert {type(x) for x in about} == {a.Migrate}
    assert all(x.pair == world.sas[x.ike_id].pair for x in world.actions(a.Migrate)[-8:])  # type: ignore[union-attr]


def test_a_new_link_takes_the_spare_by_one_exchange() -> None:
    """One `migrate`, answered: then its tunnel works there, with no other exchange before."""
    world = laptop()
    (spare,) = world.spares()
    before = plug(world, "wwan0", 5)
    world.run(RTT + 0.01)
    sent = [x for _, x in world.log[before:] if not isinstance(x, a.Steer | a.Guard | a.Say)]

    (move,) = [x for x in sent if isinstance(x, a.Migrate)]
    assert move.ike_id == spare.ike_id
    assert world.seats() == {E0: E0, W0: W0}
    assert [c.name for t in world.hq.tunnels if t.home == W0 for c in t.children] == ["net@spare"]
    assert sent[0] is move
    assert {type(x) for x in sent} <= {a.Migrate, a.Clone}
    assert len(world.actions(a.CreateIke)) == 1


def test_the_spare_is_replaced() -> None:
    """Afterwards, by a clone; the next link takes that one."""
    world = laptop()
    first = world.spares()[0].ike_id
    plug(world, "wwan0", 5)
    world.run(5)
    (second,) = world.spares()
    assert second.ike_id != first
    plug(world, "wwan1", 6)
    world.run(RTT + 0.01)

    assert world.seats() == {E0: E0, W0: W0, W1: W1}
    assert {t.ike_id for t in world.hq.tunnels if t.home == W1} == {second.ike_id}


def test_a_new_link_that_does_not_work() -> None:
    """The spare goes back to where it worked, the others never move, tests follow at leisure."""
    world = laptop()
    world.dead = {"wwan0"}
    plug(world, "wwan0", 5)
    world.run(90)
    assert world.seats() == {E0: E0, W0: E0}
    assert len(world.working()) == 3
    world.dead = set()
    world.run(80)

    assert world.seats() == {E0: E0, W0: W0}
    assert world.hq.state == "up"


def test_a_spare_whose_path_fails_is_parked() -> None:
    """It has to be ready wherever the next link comes from."""
    world = World(text=SPARE).start().run(5)
    world.link_down("eth0")
    world.run(2)

    assert world.spares()[0].current == E1


@pytest.mark.parametrize("moment", [0.0, 0.001, RTT, 1.0])
def test_a_successor_finds_what_took_a_home(moment: float) -> None:
    """Its child is called `net@spare`; where it stands is its home."""
    world = laptop()
    plug(world, "wwan0", 5)
    world.run(moment)
    world.restart_controller()
    world.run(5)

    assert world.seats() == {E0: E0, W0: W0}
    assert len(world.spares()) == 1
    assert world.hq.state == "up"


def test_few_addresses() -> None:
    """Tunnels first; status explains why there is no spare, and nothing is wrong."""
    world = World(text=SPARE, gateway=Gateway(addresses=3)).start().run(200)

    assert (world.hq.state, len(world.hq.tunnels)) == ("up", 3)
    assert world.hq.why == ("the peer gave 3 inner addresses for 3 tunnels and a spare")


def test_few_clones() -> None:
    """The peer grants no more: the same."""
    world = World(text=SPARE, gateway=Gateway(max_clones=2)).start().run(200)

    assert (world.hq.state, len(world.hq.tunnels)) == ("up", 3)
    assert world.hq.why.startswith("0 of 1 spares: the family has all the members")
    assert len(world.actions(a.Clone)) <= 2 + 5


@pytest.mark.parametrize("connection", [ROAD_WARRIOR, SITE])
def test_spares_are_not_surplus(connection: Connection) -> None:
    """One more that is empty is closed, a spare is not."""
    world = World(text=SPARE, connection=connection).start().run(120)
    assert world.actions(a.Terminate) == []
    root = next(sa for sa in world.sas.values() if not sa.cloned)
    world._do_Clone(a.Clone("by-hand", root.unique_id))
    world.run(60)

    assert len(world.sas) == 4
    assert len(world.actions(a.Terminate)) == 1
    assert len(world.spares()) == 1


def test_in_mode_one_a_spare_has_no_child() -> None:
    """The connection's children exist once; a new link is made ready by the spare."""
    world = laptop(connection=SITE)
    assert [t.children for t in world.spares()] == [()]
    before = plug(world, "wwan0", 5)
    world.run(RTT + 0.01)
    moves = [x for _, x in world.log[before:] if isinstance(x, a.Migrate)]

    assert moves[0].pair == Pair(link(5).addresses[0].ip, world.sas[moves[0].ike_id].remote)
    assert world.seats() == {E0: E0, W0: W0}
    assert next(p.state for p in world.hq.paths if p.name == W0) == "ready"


# --- a home that is gone for good ---------------------------------------------------

MODEMS = "version: 1\nconnections:\n  hq: {links: [eth0, 'wwan*'], tunnels: 2, spares: %d}\n"


def unplug(world: World, name: str) -> None:
    del world.links[name]
    world.see_links()


def modem(spares: int) -> World:
    """Both seats taken; then the modem has been away for long."""
    world = World(text=MODEMS % spares, links={"eth0": link(0)}).start().run(3)
    plug(world, "wwan0", 5)
    world.run(10)
    assert world.seats() == {E0: E0, W0: W0}
    unplug(world, "wwan0")
    world.run(700)
    assert world.seats() == {E0: E0, W0: E0}
    return world


@pytest.mark.parametrize("spares", [0, 1])
def test_a_new_link_of_the_pattern_gets_the_seat(spares: int) -> None:
    """No tunnel more, no inner address less, nothing closed."""
    world = modem(spares)
    inner = {t.inner for t in world.hq.tunnels}
    plug(world, "wwan1", 6)
    world.run(10)

    assert world.seats() == {E0: E0, W1: W1}
    assert {t.inner for t in world.hq.tunnels} == inner
    assert len(world.sas) == 2 + spares
    assert world.actions(a.Terminate) == []


def test_a_spare_takes_it_at_once_and_the_orphan_is_the_spare() -> None:
    """What may be in use is not moved for a link that was never tested."""
    world = modem(1)
    orphan = next(t.ike_id for t in world.hq.tunnels if t.home == W0)
    plug(world, "wwan1", 6)
    world.run(RTT + 0.01)

    assert world.seats() == {E0: E0, W1: W1}
    assert [t.ike_id for t in world.spares()] == [orphan]


def test_without_a_spare_the_orphan_goes_after_a_test() -> None:
    """Its inner address works where it is parked."""
    world = modem(0)
    world.dead = {"wwan1"}
    plug(world, "wwan1", 6)
    world.run(60)

    assert world.seats() == {E0: E0, W1: E0}
    assert len(world.working()) == 2


def test_a_short_absence_gives_nothing_up() -> None:
    """The modem is back under its own name in a moment."""
    world = World(text=MODEMS % 0, links={"eth0": link(0)}).start().run(3)
    plug(world, "wwan0", 5)
    world.run(10)
    unplug(world, "wwan0")
    world.run(60)
    plug(world, "wwan1", 6)
    world.run(30)

    assert world.seats() == {E0: E0, W0: E0}


def test_a_link_named_exactly_keeps_its_seat() -> None:
    """However long it is away."""
    world = World(text=SPARE.replace("eth2]", "'eth*'], tunnels: 3")).start().run(3)
    world.link_down("eth1")
    world.run(700)
    world.links["eth7"] = link(7)
    world.see_links()
    world.run(10)

    assert world.seats() == {E0: E0, E1: E0, E2: E2}


def test_after_a_restart_the_new_home_holds() -> None:
    """The child's name still tells the old one."""
    world = modem(0)
    plug(world, "wwan1", 6)
    world.run(10)
    before = len(world.log)
    world.restart_controller()
    world.run(10)

    assert world.seats() == {E0: E0, W1: W1}
    pairs = {x.pair for _, x in world.log[before:] if isinstance(x, a.Migrate)}
    assert pairs <= {sa.pair for sa in world.sas.values()}
