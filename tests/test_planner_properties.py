# SPDX-License-Identifier: Apache-2.0
"""Whatever happens in whatever order: what the planner never does and always reaches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st

from tests.simulated import ROAD_WARRIOR, SITE, SPARE, THREE, Gateway, World
from tests.thorough import thorough
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.model import Connection, OrderKind
from vici_mif.core.paths.path import WORKS

LINKS = ("eth0", "eth1", "eth2")

REMOTES = ("203.0.113.1", "203.0.113.2")

names = st.sampled_from(LINKS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("down"), names),
        st.tuples(st.just("up"), names),
        st.tuples(st.just("die"), names),
        st.tuples(st.just("revive"), names),
        st.tuples(st.just("address goes"), st.sampled_from(REMOTES)),
        st.tuples(st.just("address comes"), st.sampled_from(REMOTES)),
        st.tuples(st.just("delete"), st.integers(0, 5)),
        st.tuples(st.just("rekey"), st.integers(0, 5)),
        st.tuples(st.just("charon"), st.booleans()),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("drain"), names),
        st.tuples(st.just("undrain"), names),
        st.tuples(st.just("prefer"), names),
        st.tuples(st.just("revoke"), names),
        st.tuples(st.just("wish"), st.sets(names, min_size=1)),
        st.tuples(st.just("run"), st.floats(0.0, 12.0)),
    ),
    max_size=25,
)
connections = st.sampled_from(
    [replace(each, remote_addrs=REMOTES[:n]) for each in (ROAD_WARRIOR, SITE) for n in (1, 2)]
)


def probed(text: str, probe: str) -> str:
    """The same, watched at ease: hundreds of quiet seconds are cheap then."""
    return text.replace("{links:", f"{{probe: {probe}, links:")


WATCHED = "{profile: relaxed, targets: [10.100.0.1]}"
texts = st.sampled_from(
    [probed(THREE, "relaxed"), probed(SPARE, "relaxed"), probed(THREE, WATCHED)]
)
gateways = st.builds(
    Gateway, clones=st.booleans(), max_clones=st.integers(0, 4), childless=st.booleans()
)


def happen(world: World, step: tuple[str, object]) -> None:
    match step:
        case ("down", str(name)):
            world.link_down(name)
        case ("up", str(name)):
            world.link_up(name)
        case ("run", float(span)):
            world.run(span)
        case ("restart", _):
            world.restart_controller()
        case ("wish" | "undrain" | "drain" | "prefer" | "revoke" as kind, about):
            _by_hand(world, kind, about)
        case ("charon", bool(with_sas)):
            world.lose_charon(with_sas=with_sas)
            world.run(1.0)
            world.connect()
        case (kind, str(name)):
            _silently(world, str(kind), name)
        case (kind, int(index)):
            _to_an_sa(world, str(kind), index)


def _by_hand(world: World, kind: str, about: object) -> None:
    match (kind, about):
        case ("wish", set(links)):
            world.configure(world.text.replace("eth0, eth1, eth2", ", ".join(sorted(links))))
        case ("undrain", str(name)):
            world.feed(e.OrderCleared(kind=OrderKind.DRAIN, peer="hq", path=name))
        case (_, str(name)):
            world.feed(e.OrderGiven(OrderKind(kind), "hq", "2026-11-20T21:00:00Z", name))


def _silently(world: World, kind: str, name: str) -> None:
    match kind:
        case "die":
            world.dead = world.dead | {name}
        case "revive":
            world.dead = world.dead - {name}
        case "address goes":
            world.dead_remotes = world.dead_remotes | {name}
        case "address comes":
            world.dead_remotes = world.dead_remotes - {name}


def _to_an_sa(world: World, kind: str, index: int) -> None:
    established = [i for i, sa in world.sas.items() if sa.established]
    if not established:
        return
    ike_id = established[index % len(established)]
    if kind == "delete":
        world.peer_deletes(ike_id)
    else:
        world.rekey(ike_id)


def keep_the_last(world: World) -> None:
    """Fails where the last tunnel that works has to go, unless an operator said so."""

    def watch(action: a.Action) -> None:
        if isinstance(action, a.Terminate):
            sa = world.sas.get(action.ike_id)
            if sa is None:
                return  # the peer deleted it a moment before
            revoked = world.planner.world.orders.revokes_sa(sa.name, sa)
            working = [each.unique_id for each in world.working()]
            assert revoked or working != [action.ike_id], "the last working tunnel"

    world.watchers.append(watch)


def make_before_break(world: World) -> None:
    """Fails where a tunnel that works leaves for a path of which nobody knows that it works.

    What the planner believes to be broken, or has to leave by an order, may take any chance.
    """

    def watch(action: a.Action) -> None:
        if not isinstance(action, a.Migrate) or world.charon_up is False:
            return
        peer = world.planner.peers["hq"]
        families = peer._lines.tunnels  # also of one that is built beside the one in use
        tunnel = next(t for t in families if t.ike_id == action.ike_id)
        target = peer.paths.of(action.pair)
        if tunnel.current == target or not peer.tunnel_works(tunnel):
            return
        if tunnel.fresh and any(peer.tunnel_works(t) for t in families if t != tunnel):
            return  # a spare, which no path misses: for it the move is the test
        assert target is not None
        assert peer.paths.state(target) in WORKS, f"{tunnel.current} -> {target}"

    world.watchers.append(watch)


def all_well(world: World) -> None:
    world.dead = set()
    world.configure(world.text)
    for order in (o for o in world.status.orders if o.kind != "revoke"):
        world.feed(e.OrderCleared(id=order.id))
    world.dead_remotes = set()
    for name in LINKS:
        if not world.links[name].up:
            world.link_up(name)


@thorough(30)
@given(text=texts, connection=connections, gateway=gateways, happenings=steps)
@example(  # a tunnel that carries got another home and was moved there untested
    text=probed(THREE, "relaxed"),
    connection=replace(ROAD_WARRIOR, remote_addrs=REMOTES[:1]),
    gateway=Gateway(clones=False, max_clones=0, childless=False),
    happenings=[("run", 1.0), ("wish", {"eth1"})],
)
@example(  # a spare that waited beside another tunnel gets the path that was drained
    text=probed(THREE, "relaxed").replace("spares: 0", "spares: 1"),
    connection=replace(ROAD_WARRIOR, remote_addrs=REMOTES[:1]),
    gateway=Gateway(clones=True, max_clones=2, childless=True),
    happenings=[("drain", "eth0"), ("run", 1.0)],
)
@example(  # rules that were not taken in time, and then not wished any more
    text=probed(THREE, "relaxed"),
    connection=replace(ROAD_WARRIOR, remote_addrs=REMOTES[:1]),
    gateway=Gateway(clones=False, max_clones=0, childless=True),
    happenings=[
        ("run", 0.5265518044324066),
        *[("down", "eth0")] * 3,
        ("undrain", "eth0"),
        ("down", "eth0"),
        ("charon", False),
        ("drain", "eth0"),
        ("run", 0.5265518044324066),
    ],
)
def test_nothing_raises_and_the_wish_is_reached(
    text: str, connection: Connection, gateway: Gateway, happenings: list[tuple[str, object]]
) -> None:
    """After any history, once all is well: every tunnel at home, then only pins are renewed."""
    world = World(text=text, connection=connection, gateway=gateway)
    keep_the_last(world)
    make_before_break(world)
    world.start()
    for step in happenings:
        happen(world, step)
    all_well(world)
    world.run(260.0)
    note(f"{world.hq.state}: {world.hq.why}; {world.seats()}")

    assert world.hq.state == "up"
    assert all(home == current for home, current in world.seats().items())
    renewed = [x for x in upkeep(world) if isinstance(x, a.Migrate)]
    assert all(x.pair == world.sas[x.ike_id].pair for x in renewed)


def upkeep(world: World) -> list[a.Action]:
    """All that is ordered for a while: fails where it is anything but upkeep."""
    before = len(world.log)
    world.run(25.0)
    ordered = [action for _, action in world.log[before:]]
    assert set(map(type, ordered)) <= {a.Migrate, a.Clone, a.Probe, a.ReadAll, a.Say}
    return ordered


def keep_the_ground(world: World) -> None:
    """Fails where protected traffic of unbound sockets had no `unreachable` underneath."""

    def watch(action: a.Action) -> None:
        if isinstance(action, a.Steer) and action.wish.rules:
            underneath = {str(r.destination) for r in action.wish.routes if r.device is None}
            assert "10.100.0.0/16" in underneath

    world.watchers.append(watch)


@thorough(12)
@given(gateway=gateways, happenings=steps)
def test_two_peers_and_the_better_one_carries_in_the_end(
    gateway: Gateway, happenings: list[tuple[str, object]]
) -> None:
    """Whatever happened: the first is up and at home, the second has no IKE SA any more."""
    backup = replace(ROAD_WARRIOR, name="backup", remote_addrs=REMOTES[1:])
    text = probed(THREE, "relaxed") + "  backup: {links: [eth0, eth1]}\n"
    world = World(text=text, gateway=gateway, more={"backup": (backup, Gateway())})
    keep_the_last(world)
    keep_the_ground(world)
    world.start()
    for step in happenings:
        happen(world, step)
    all_well(world)
    world.run(260.0)
    hq, standby = world.status.peers
    note(f"{hq.state}: {hq.why}; {standby.state}: {standby.why}")

    assert (hq.state, standby.state) == ("up", "standby")
    assert {sa.name for sa in world.working()} == {"hq"}
    upkeep(world)


@thorough(12)
@given(text=texts, happenings=steps)
@example(text=THREE, happenings=[("wish", {"eth0"}), ("run", 1.0)])  # one address was asked for
@example(text=SPARE, happenings=[("wish", {"eth0", "eth1"}), ("run", 1.0)])
def test_one_wins(text: str, happenings: list[tuple[str, object]]) -> None:
    """Never two families of ours side by side once all is well, never two tunnels for one home.

    A spare may be missing where fewer links were wished when addresses were asked for.
    """
    world = World(text=text).start()
    for step in happenings:
        happen(world, step)
    all_well(world)
    world.run(200.0)
    homes = [t.home for t in world.hq.tunnels if t.home is not None]
    short = "3 tunnels and a spare" in world.hq.why
    spares = 0 if short else text.count("spares: 1")

    assert len(set(homes)) == len(homes) == 3
    assert len(world.spares()) == spares
    assert len({t.slots for t in world.planner.peers["hq"].tunnels}) == 3 + spares


def test_a_tunnel_that_comes_back_has_its_home_again() -> None:
    """Revoked, charon lost before it went, the order taken back: the spare gives the home up."""
    world = World(text=SPARE).start().run(5)
    world.feed(e.OrderGiven(OrderKind.REVOKE, "hq", "2026-11-20T21:00:00Z", "eth2"))
    world.lose_charon(with_sas=False)
    world.feed(e.OrderCleared(kind=OrderKind.REVOKE, peer="hq"))
    world.connect()
    world.run(120)

    assert len(world.seats()) == 3
    assert len(world.spares()) == 1


@thorough(5)
@given(text=texts, connection=connections, gateway=gateways, happenings=steps)
def test_nothing_is_ordered_when_nothing_changes(
    text: str, connection: Connection, gateway: Gateway, happenings: list[tuple[str, object]]
) -> None:
    """Ten quiet minutes after any history: pins are renewed every 10 s, idle and empty paths
    looked at and tested every 30 s at most, a refused clone asked for again at most once a
    minute. Nothing else."""
    world = World(text=text, connection=connection, gateway=gateway).start()
    for step in happenings:
        happen(world, step)
    all_well(world)
    world.run(400.0)
    before, pairs = len(world.log), {i: sa.pair for i, sa in world.sas.items()}
    world.run(600.0)
    asked = [action for _, action in world.log[before:]]
    pins = [x for x in asked if isinstance(x, a.Migrate)]
    tests = [x for x in asked if isinstance(x, a.Probe)]
    clones = [x for x in asked if isinstance(x, a.Clone)]

    looks = [x for x in asked if isinstance(x, a.ReadAll)]

    assert len(asked) == len(pins) + len(tests) + len(clones) + len(looks)
    assert len(looks) <= 2 * 21
    assert all(x.pair == pairs[x.ike_id] for x in pins)
    assert len(pins) <= 61 * len(pairs)
    assert len(tests) <= 21 * len(world.hq.paths)
    assert len(clones) <= 11
    assert {i: sa.pair for i, sa in world.sas.items()} == pairs


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.03, 0.07, 0.11, 0.15])
def test_a_crash_at_any_moment_of_the_start(seconds: float) -> None:
    """The successor finishes what was begun."""
    world = World().start().run(seconds)
    world.restart_controller()
    world.run(20)

    assert world.hq.state == "up"
    assert len(world.working()) >= 3
