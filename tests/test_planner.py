# SPDX-License-Identifier: Apache-2.0
"""What the planner does in a small world, under a clock that jumps."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from tests.simulated import (
    GATEWAY,
    ROAD_WARRIOR,
    SITE,
    THREE,
    Gateway,
    World,
    link,
)
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.model import (
    ChildTemplate,
    Connection,
    FromFile,
    Order,
    OrderKind,
    Pair,
    Steering,
)

E0, E1, E2 = (f"eth{i}/{GATEWAY}" for i in range(3))
AT_HOME = {E0: E0, E1: E1, E2: E2}


def names(wanted: list[a.Action]) -> list[str]:
    return [type(action).__name__ for action in wanted]


def probes_of(world: World, local: str) -> list[a.Probe]:
    """Tests of the path from an address."""
    probes = [x for x in world.actions(a.Probe) if isinstance(x, a.Probe)]
    return [probe for probe in probes if probe.pair.local == ip_address(local)]


def up(**kinds: object) -> World:
    """A world some seconds after the start."""
    return World(**kinds).start().run(3)  # type: ignore[arg-type]


# --- the happy path -----------------------------------------------------------


def test_one_authentication_three_tunnels() -> None:
    """One create-ike, two clones, three children, each at its own home with its own address."""
    world = up()

    assert names(world.actions(a.CreateIke, a.Clone, a.CreateChild)).count("CreateIke") == 1
    assert len(world.actions(a.Clone)) == 2
    assert world.seats() == AT_HOME
    assert world.hq.state == "up"
    assert [t.inner for t in world.hq.tunnels] == [
        ("10.9.0.1",),
        ("10.9.0.2",),
        ("10.9.0.3",),
    ]


def test_root_is_childless_and_asks_for_distinct_addresses() -> None:
    """One hint per tunnel, no child in IKE_AUTH."""
    (asked,) = up().actions(a.CreateIke)

    assert isinstance(asked, a.CreateIke)
    assert asked.vips == tuple(map(ip_address, ("0.0.0.1", "0.0.0.2", "0.0.0.3")))
    assert (asked.childless, asked.child) == (True, None)


def test_a_clone_moves_before_its_child_opens() -> None:
    """The child is negotiated on the pair it will live on."""
    world = up()
    clones = [tunnel for tunnel in world.hq.tunnels if tunnel.home != E0]

    assert len(clones) == 2
    for clone in clones:
        about = [x for x in world.actions(a.Migrate, a.CreateChild) if x.ike_id == clone.ike_id]  # type: ignore[union-attr]

        assert names(about)[:2] == ["Migrate", "CreateChild"]


def test_the_kernel_comes_first() -> None:
    """Rules for the links stand before anything leaves by them, inner rules before the child."""
    world = up()
    order = names(world.actions(a.Steer, a.CreateIke, a.CreateChild))

    assert order[:4] == ["Steer", "CreateIke", "Steer", "CreateChild"]


def test_quiet_facts_order_only_pins_and_looks() -> None:
    """Nothing happens: leases are renewed, and idle tunnels are looked after where they are."""
    world = up()
    before = len(world.log)
    world.run(100)

    assert {type(action) for _, action in world.log[before:]} == {a.Migrate, a.ReadAll, a.Probe}
    assert all(
        action.pair == world.sas[action.ike_id].pair
        for _, action in world.log[before:]
        if isinstance(action, a.Migrate | a.Probe)
    )
    pins = [x for _, x in world.log[before:] if isinstance(x, a.Migrate)]
    assert len(pins) == pytest.approx(30, abs=3)


def test_same_fact_twice_orders_nothing() -> None:
    """A snapshot that shows what is known changes nothing."""
    world = up()

    assert world.feed(e.LinksSeen(tuple(world.links.values()))) == []
    assert world.feed(e.SasSeen(tuple(world.sas.values()))) == []
    assert world.feed(e.Ticked()) == []


# --- links come and go -----------------------------------------------------------


def test_link_lost_parks_its_tunnel_at_once() -> None:
    """The move is ordered in the very turn of the fact; the others stay untouched."""
    world = up()
    spis = {t.home: [c.spi_in for c in t.children] for t in world.hq.tunnels}
    before = len(world.log)
    world.link_down("eth1")
    moved = [action for _, action in world.log[before:] if isinstance(action, a.Migrate)]

    assert [m.pair.local for m in moved] == [ip_address("198.18.0.2")]
    world.run(1)
    assert world.seats() == {**AT_HOME, E1: E0}
    assert world.hq.state == "degraded"
    assert {t.home: [c.spi_in for c in t.children] for t in world.hq.tunnels} == spis


def test_tunnel_goes_home_after_hold_down_and_a_test() -> None:
    """Not before the hold-down is over, and not onto a path that was not tested."""
    world = up()
    world.link_down("eth1")
    world.run(5)
    world.link_up("eth1")
    world.run(4.9)
    assert world.seats()[E1] == E0
    world.run(0.5)

    assert world.seats() == AT_HOME
    assert world.hq.state == "up"
    assert len(probes_of(world, "198.18.1.2")) == 1


def test_home_that_does_not_answer_is_not_taken() -> None:
    """The link is back, the path is not: the tunnel stays where it works, tests back off."""
    world = up()
    world.link_down("eth1")
    world.run(1)
    world.dead = {"eth1"}
    world.link_up("eth1")
    world.run(120)

    assert world.seats()[E1] == E0
    assert 3 <= len(probes_of(world, "198.18.1.2")) <= 10
    world.dead = set()
    world.run(70)
    assert world.seats() == AT_HOME


def test_a_late_event_is_no_lost_answer() -> None:
    """The move was answered and the host is busy: charon is asked before the move is given up."""
    world = up()
    world.late = 9.0
    world.link_down("eth1")
    world.run(30)
    (path,) = [p for p in world.hq.paths if p.name == E0]

    assert world.seats() == {**AT_HOME, E1: E0}
    assert path.state == "active"
    assert {m.pair.local for m in world.actions(a.Migrate) if m.ike_id == 3} == {  # type: ignore[union-attr]
        ip_address("198.18.0.2"),
        ip_address("198.18.1.2"),
    }


def test_all_links_lost_and_back() -> None:
    """Nothing is deleted; tunnels return home as links do."""
    world = up()
    for name in ("eth0", "eth1", "eth2"):
        world.link_down(name)
    world.run(20)
    assert world.actions(a.Terminate) == []
    assert world.hq.state == "down"
    for name in ("eth0", "eth1", "eth2"):
        world.link_up(name)
    world.run(15)

    assert world.seats() == AT_HOME
    assert len(world.actions(a.CreateIke)) == 1


def test_new_address_on_a_link() -> None:
    """A new lease: the tunnel moves to the new address of its own link."""
    world = up()
    world.links["eth1"] = replace(link(7), name="eth1")
    world.see_links()
    world.run(10)

    assert world.seats() == AT_HOME
    assert {t.local for t in world.hq.tunnels} >= {"198.18.7.2"}


def test_a_new_link_gets_a_clone() -> None:
    """One exchange, no authentication."""
    text = "version: 1\nconnections:\n  hq: {links: [eth0, 'wwan*'], tunnels: 3}\n"
    world = World(text=text, links={"eth0": link(0)}).start().run(3)
    assert world.hq.state == "up"
    world.links["wwan0"] = link(5, name="wwan0")
    world.see_links()
    world.run(3)

    assert world.seats() == {E0: E0, f"wwan0/{GATEWAY}": f"wwan0/{GATEWAY}"}
    assert len(world.actions(a.CreateIke)) == 1


# --- the first authentication -----------------------------------------------------


def test_black_holed_preferred_uplink() -> None:
    """Cold start with a dead best link: a tunnel works within five seconds."""
    world = World()
    world.dead = {"eth0"}
    world.start().run(2.5)

    assert world.hq.state == "degraded"
    assert world.working()
    assert world.hq.authentications == 1
    assert names(world.actions(a.CreateIke, a.Terminate)) == ["CreateIke", "Terminate", "CreateIke"]


def test_never_two_authentications_at_once() -> None:
    """The pair under way is closed before the next one begins."""
    world = World()
    world.dead = {"eth0", "eth1", "eth2"}
    under_way: list[int] = []
    world.watchers.append(
        lambda action: (
            under_way.append(sum(sa.state == "CONNECTING" for sa in world.sas.values()))
            if isinstance(action, a.CreateIke)
            else None
        )
    )
    world.start().run(60)

    assert len(under_way) > 3
    assert max(under_way) <= 1  # the one that was asked to go in the same turn
    assert world.hq.state == "down"
    assert "did not answer" in world.hq.why


def test_slow_authentication_is_not_cut_off() -> None:
    """Once IKE_SA_INIT was answered the pair is settled, however long EAP takes."""
    world = World()
    world._authenticated = lambda ike_id, action: world.later(  # type: ignore[method-assign]
        8.0, lambda: World._authenticated(world, ike_id, action)
    )
    world.start().run(12)

    assert len(world.actions(a.CreateIke)) == 1
    assert world.hq.state == "up"


def test_refused_credentials_back_off() -> None:
    """A refusal is no reason to try other paths, and it is said."""
    world = World(gateway=Gateway(refuses=True)).start().run(30)
    tried = [x.pair.local for x in world.actions(a.CreateIke) if isinstance(x, a.CreateIke)]

    assert set(map(str, tried)) == {"198.18.0.2"}
    assert len(tried) <= 6
    assert "peer-refused" in world.hq.why


def test_up_does_not_wait_for_the_next_try() -> None:
    """Whoever has mended the secret asks for it."""
    world = World(gateway=Gateway(refuses=True)).start().run(30)
    tries = len(world.actions(a.CreateIke))
    while len(world.actions(a.CreateIke)) == tries:
        world.run(0.1)
    world.gateway.refuses = False
    world.run(5)
    assert world.hq.state == "down"
    world.feed(e.OrderCleared(kind=OrderKind.DOWN, peer="hq"))
    world.run(2)

    assert world.hq.state == "up"


def test_peer_without_childless() -> None:
    """A peer without RFC 6023 gets its first child in IKE_AUTH, at once."""
    world = up(gateway=Gateway(childless=False))
    second = world.actions(a.CreateIke)[1]

    assert isinstance(second, a.CreateIke)
    assert second.child == "net"
    assert world.hq.state == "up"


# --- peers and charons that cannot -------------------------------------------------


def test_single_moves_its_one_tunnel() -> None:
    """Without cloning one tunnel is moved by us, and status says why."""
    world = up(gateway=Gateway(clones=False))
    assert (world.hq.mode, world.hq.state, len(world.sas)) == ("single", "up", 1)
    assert "RFC 7791" in world.hq.why
    world.link_down("eth0")
    world.run(1)

    assert world.seats() == {E0: E1}


def test_refuse_builds_nothing() -> None:
    """`without_clone: refuse`: a clear sentence and no tunnel; asked again after minutes."""
    text = THREE.replace("eth2]", "eth2], without_clone: refuse")
    world = World(text=text, gateway=Gateway(clones=False)).start().run(60)

    assert (world.hq.state, world.sas) == ("down", {})
    assert "refuse" in world.hq.why
    assert len(world.actions(a.CreateIke)) == 1


def test_stock_charon_brings_the_connection_up() -> None:
    """An unpatched charon is asked by stock means only, once, and roams by itself."""
    world = World(patched=False).start().run(100)

    assert names([x for _, x in world.log if not isinstance(x, a.Say | a.Guard | a.Steer)]) == [
        "Initiate"
    ]
    assert world.steering == Steering()
    assert (world.hq.mode, world.hq.state) == ("single", "up")
    assert "lacks the series" in world.hq.why


def test_limit_is_a_state_and_no_error() -> None:
    """Fewer members than paths: best ranked first, said in status, asked again seldom."""
    world = World(gateway=Gateway(max_clones=1)).start().run(50)

    assert world.seats() == {E0: E0, E1: E1}
    assert world.hq.state == "up"
    assert "grants" in world.hq.why
    assert len(world.actions(a.Clone)) == 2


def test_fewer_inner_addresses() -> None:
    """As many tunnels as inner addresses."""
    world = up(gateway=Gateway(addresses=2))

    assert world.seats() == {E0: E0, E1: E1}
    assert "2 inner addresses for 3 tunnels" in world.hq.why


def test_denied_addresses() -> None:
    """UNACCEPTABLE_ADDRESSES: the path is denied, its tunnel works elsewhere."""
    world = World(gateway=Gateway(denied=frozenset({"eth1"}))).start().run(10)

    assert [p.state for p in world.hq.paths] == ["active", "denied", "active"]
    assert len(world.working()) == 3


def test_no_mobike_is_left_alone() -> None:
    """What may not be moved is not moved."""
    world = up(gateway=Gateway(mobike=False, clones=False))

    assert world.actions(a.Migrate) == []
    assert world.hq.state == "up"


# --- mode one -----------------------------------------------------------------------


def test_site_to_site_opens_its_children_once() -> None:
    """The connection's own children, unchanged, on the best path; other paths are ready."""
    world = up(connection=SITE)
    carrying = [sa for sa in world.sas.values() if sa.children]

    assert [[c.name for c in sa.children] for sa in carrying] == [["lan", "voip"]]
    assert [p.state for p in world.hq.paths] == ["active", "ready", "ready"]
    assert (world.hq.mode, world.hq.state) == ("one", "up")


def test_site_to_site_moves_its_tunnel_and_brings_it_home() -> None:
    """A failure moves the tunnel to a ready path; it returns after the hold-down."""
    world = up(connection=SITE)
    world.link_down("eth0")
    world.run(1)
    assert world.seats()[E0] == E1
    world.link_up("eth0")
    world.run(6)

    assert world.seats()[E0] == E0


def test_site_to_site_is_guarded_and_not_routed() -> None:
    """No routes of ours; nft refuses what the children protect."""
    world = up(connection=SITE)

    assert world.steering.routes == ()
    assert world.guard is not None
    assert world.guard.uplinks == ("eth0", "eth1", "eth2")
    assert ip_network(f"{GATEWAY}/32") in world.guard.exempt


# --- adoption ------------------------------------------------------------------------


def test_restart_changes_no_sa() -> None:
    """What is there is adopted: no authentication, no clone, no child, no move."""
    world = up()
    before = len(world.log)
    world.restart_controller()
    world.run(3)
    done = {type(x) for _, x in world.log[before:]}

    assert done <= {a.Say, a.Steer, a.Guard, a.Migrate}
    assert all(
        x.pair == world.sas[x.ike_id].pair
        for _, x in world.log[before:]
        if isinstance(x, a.Migrate)
    )
    assert (world.seats(), world.hq.state) == (AT_HOME, "up")


def test_restart_while_parked_remembers_home() -> None:
    """Home is written in the child's name."""
    world = up()
    world.link_down("eth1")
    world.run(1)
    world.restart_controller()
    world.run(1)
    assert world.seats()[E1] == E0
    world.link_up("eth1")
    world.run(6)

    assert world.seats() == AT_HOME


def test_orphan_of_a_crash_is_used() -> None:
    """A clone without a child, made by somebody who died: it takes a free home."""
    world = up()
    orphan = max(world.sas)
    world.sas[orphan] = replace(world.sas[orphan], children=(), local=world.sas[1].local)
    world.restart_controller()
    world.run(3)

    assert len(world.actions(a.Clone)) == 2
    assert (world.seats(), world.hq.state) == (AT_HOME, "up")


def test_adopts_what_charon_began() -> None:
    """A tunnel that was up before us is used where it stands."""
    world = up()
    root = replace(
        world.sas[1],
        local_vips=world.sas[1].local_vips[:1],
        children=(replace(world.sas[1].children[0], name="net"),),
    )
    world.sas = {1: root}
    world.restart_controller()
    world.run(3)

    assert world.seats() == {E0: E0}
    assert len(world.actions(a.CreateChild)) == 3  # those of before
    assert world.hq.state == "up"


def test_rekey_changes_nothing() -> None:
    """Unique ids change; home, inner address and seat do not."""
    world = up()
    before = len(world.actions(a.Clone, a.CreateChild, a.CreateIke))
    world.rekey(1)
    world.rekey(world.hq.tunnels[0].ike_id)
    world.run(30)

    assert world.seats() == AT_HOME
    assert len(world.actions(a.Clone, a.CreateChild, a.CreateIke)) == before


# --- deletions, orders, stopping ----------------------------------------------------------


def test_peer_deletes_one_tunnel() -> None:
    """A peer's delete is healed by one clone."""
    world = up()
    world.peer_deletes(next(t.ike_id for t in world.hq.tunnels if t.home == E1))
    world.run(3)

    assert world.seats() == AT_HOME
    assert (len(world.actions(a.CreateIke)), len(world.actions(a.Clone))) == (1, 3)


def test_peer_deletes_all() -> None:
    """Then one new authentication."""
    world = up()
    for ike_id in list(world.sas):
        world.peer_deletes(ike_id)
    world.run(5)

    assert world.seats() == AT_HOME
    assert len(world.actions(a.CreateIke)) == 2


def test_local_terminate_is_an_order() -> None:
    """`swanctl --terminate --ike hq`: down, kept, until `up`."""
    world = up()
    world.swanctl_terminate()
    world.run(30)
    assert world.sas == {}
    assert (world.hq.state, world.status.orders[0].by) == ("down", "swanctl")
    assert world.stored == world.planner.world.orders.kept != ()
    assert world.steering == Steering()
    world.feed(e.OrderCleared(kind=OrderKind.DOWN, peer="hq"))
    world.run(5)

    assert world.seats() == AT_HOME


def test_charon_that_stops_orders_nothing() -> None:
    """charon closes its SAs when it stops: that is no order."""
    world = up()
    world.swanctl_terminate()
    world.run(0.3)
    world.lose_charon(with_sas=True)
    world.run(5)
    assert world.status.orders == ()
    world.connect()
    world.run(5)

    assert world.seats() == AT_HOME


def test_charon_lost_and_back_with_its_sas() -> None:
    """Only the socket was lost: what is there is adopted."""
    world = up()
    world.lose_charon(with_sas=False)
    assert (world.hq.state, world.status.daemon.charon) == ("down", None)
    world.run(10)
    world.connect()
    world.run(3)

    assert world.seats() == AT_HOME
    assert len(world.actions(a.CreateIke)) == 1


def test_down_and_up() -> None:
    """Down closes, cleans the kernel and stays; up brings it back."""
    world = up()
    world.feed(e.OrderGiven(OrderKind.DOWN, "hq", "2026-01-01T00:00:00Z"))
    world.run(10)
    assert (world.sas, world.steering, world.guard) == ({}, Steering(), None)
    assert "vici-mif up hq" in world.hq.why
    world.feed(e.OrderCleared(kind=OrderKind.DOWN, peer="hq"))
    world.run(5)

    assert world.seats() == AT_HOME


def test_down_keeps_unreachable_until_the_sas_are_gone() -> None:
    """The last Steer comes after the last SA."""
    world = up()
    alive: list[int] = []
    world.watchers.append(
        lambda x: alive.append(len(world.sas)) if x == a.Steer(x.tag, Steering()) else None
    )
    world.feed(e.OrderGiven(OrderKind.DOWN, "", "2026-01-01T00:00:00Z"))
    world.run(10)

    assert alive == [0]


def test_down_with_a_silent_peer() -> None:
    """What does not confirm is closed by force."""
    world = up()
    world.dead = {"eth0", "eth1", "eth2"}
    world.feed(e.OrderGiven(OrderKind.DOWN, "hq", ""))
    world.run(10)

    assert world.sas == {}


def test_order_of_before_is_obeyed_at_start() -> None:
    """A kept `down`: nothing is begun, what a killed predecessor left is cleaned."""
    world = up()
    kept = (Order(1, OrderKind.DOWN, "hq", ""),)
    world.planner = type(world.planner)(world.planner.config)
    world.sas.clear()
    before = len(world.log)
    world.feed(e.OrdersRead(kept))
    world.see_links()
    world.connect()
    world.run(5)

    assert {type(x) for _, x in world.log[before:]} <= {a.Steer, a.Guard, a.Say}
    assert world.steering == Steering()


def test_stop_keeps_tunnels_and_gives_pins_back() -> None:
    """SIGTERM with `keep`: each SA is unpinned once, rules stay."""
    world = up()
    rules = world.steering
    world.feed(e.Stopping())
    world.run(1)

    assert len(world.actions(a.Unpin)) == 3
    assert world.planner.stopped
    assert (len(world.sas), world.steering) == (3, rules)


def test_stop_close() -> None:
    """SIGTERM with `close`: nothing of ours is left."""
    world = up(text=THREE.replace("eth2]", "eth2], on_stop: close"))
    world.feed(e.Stopping())
    world.run(1)

    assert (world.sas, world.steering) == ({}, Steering())
    assert world.planner.stopped


def test_stop_without_charon() -> None:
    """Nothing to wait for."""
    world = up()
    world.lose_charon(with_sas=True)
    world.run(1)
    world.feed(e.Stopping())

    assert world.planner.stopped


# --- other ways in ----------------------------------------------------------------------


def test_missing_connection_waits() -> None:
    """Not an error: looked for every two seconds, said what to do."""
    world = World(connection=None).start().run(5)
    assert (world.hq.state, "swanctl --load-all" in world.hq.why) == ("waiting", True)
    world.connection = ROAD_WARRIOR
    world.run(5)

    assert world.seats() == AT_HOME


INLINE = """
version: 1
connections:
  hq:
    links: [eth0, eth1, eth2]
    connection:
      remote_addrs: 203.0.113.1
      vips: 0.0.0.0
      local: {auth: psk, id: client}
      remote: {auth: psk}
      children: {net: {remote_ts: 10.100.0.0/16}}
      secrets: {ike-hq: {id: [client], secret: {file: hq.psk}}}
"""


def test_inline_connection_is_loaded_each_time_charon_comes() -> None:
    """Secrets first; files are named and not read here."""
    world = World(text=INLINE, connection=None).start().run(5)
    secret, connection = world.loaded

    assert isinstance(secret, a.LoadSecret)
    assert secret.message["data"] == FromFile("/etc/vici-mif/hq.psk")
    assert isinstance(connection, a.LoadConnection)
    assert connection.message["vips"] == ("0.0.0.0",)
    assert world.seats() == AT_HOME
    world.lose_charon(with_sas=True)
    world.connect()
    world.run(5)
    assert len(world.loaded) == 4


@pytest.mark.parametrize("connection", [None, ROAD_WARRIOR], ids=["new", "from before"])
def test_a_secret_that_is_missing_is_named(connection: Connection | None) -> None:
    """The connection waits for it, also if charon has one from before; then it goes on."""
    world = World(text=INLINE, connection=connection, secrets_missing=True).start().run(20)
    peer = world.status.peers[0]

    assert (peer.state, world.loaded, world.sas) == ("waiting", [], {})
    assert "hq.psk" in peer.why
    world.secrets_missing = False
    world.run(60)
    assert world.seats() == AT_HOME


def test_a_name_is_resolved() -> None:
    """A name of the peer becomes an address, and the path keeps the name."""
    named = replace(ROAD_WARRIOR, remote_addrs=("gw.example.org",))
    world = up(connection=named)

    assert len(world.actions(a.Resolve)) == 1
    assert world.hq.tunnels[0].home == "eth0/gw.example.org"


def test_unknown_child_is_said() -> None:
    """A child that the connection lacks is named."""
    world = up(text=THREE.replace("eth2]", "eth2], children: [nett]"))

    assert (world.hq.state, "nett" in world.hq.why) == ("waiting", True)


def test_everything_behind_a_dead_peer_leaves_the_host_alive() -> None:
    """0.0.0.0/0: unbound traffic of the host goes by main until a tunnel works."""
    whole = replace(
        ROAD_WARRIOR,
        children=(ChildTemplate("net", local_ts=("dynamic",), remote_ts=("0.0.0.0/0",)),),
    )
    world = World(connection=whole)
    world.dead = {"eth0", "eth1", "eth2"}
    world.start().run(3)
    lives = [
        r for r in world.steering.rules if r.iif == "lo" and r.table == 254 and r.priority == 159
    ]
    assert len(lives) == 1
    world.dead = set()
    world.run(20)

    assert world.hq.state == "up"
    assert not [r for r in world.steering.rules if r.priority == 159]


def test_a_charon_that_goes_leaves_the_host_alive() -> None:
    """0.0.0.0/0 and charon is gone: inner sources stay refused, the host's own traffic lives."""
    whole = replace(
        ROAD_WARRIOR,
        children=(ChildTemplate("net", local_ts=("dynamic",), remote_ts=("0.0.0.0/0",)),),
    )
    world = up(connection=whole)
    inner = [rule for rule in world.steering.rules if rule.priority == 150]
    world.lose_charon(with_sas=True)
    world.run(1)

    assert [rule for rule in world.steering.rules if rule.priority == 150] == inner != []
    assert [r.table for r in world.steering.rules if r.priority == 159] == [254]
    # what names charon's device goes with it, if it was charon that went and not its socket
    tables = {rule.table for rule in inner}
    underneath = {r.table for r in world.steering.routes if r.device is None}
    assert tables <= underneath
    assert {r.device for r in world.steering.routes} == {None, "ipsec0"}
    world.connect()
    world.dead = {"eth0", "eth1", "eth2"}
    world.run(0.5)
    assert {r.device for r in world.steering.routes} == {None}


def test_lost_tunnels_stay_unreachable() -> None:
    """The family dies: rules for its addresses and `unreachable` stay, routes go."""
    world = up()
    world.dead = {"eth0", "eth1", "eth2"}
    for ike_id in list(world.sas):
        world.peer_deletes(ike_id)
    world.run(5)
    inner = [r for r in world.steering.rules if r.priority == 150]

    assert len(inner) == 3
    assert world.steering.routes
    assert all(route.device is None for route in world.steering.routes)


def test_failed_child_is_said_and_tried_again() -> None:
    """TS_UNACCEPTABLE: status names the child."""
    world = World()
    world._opened = lambda action: world.feed(  # type: ignore[method-assign]
        e.ActionFailed(action.tag, "peer-refused", "TS_UNACCEPTABLE")
    )
    world.start().run(10)

    assert "child net: TS_UNACCEPTABLE" in world.hq.why
    assert 3 < len(world.actions(a.CreateChild)) < 20


def test_kernel_esp_has_an_interface_per_tunnel() -> None:
    """Without libipsec each child has an interface id, its interface and its route."""
    world = up(plugins=frozenset({"kernel-netlink"}))
    ids = {t.sa.children[0].if_id_in for t in world.planner.peers["hq"].tunnels}

    assert [(i.name, i.if_id) for i in world.steering.interfaces] == [
        ("mif0", 7832),
        ("mif1", 7833),
        ("mif2", 7834),
    ]
    assert ids == {7832, 7833, 7834}


def test_woke_looks_at_everything() -> None:
    """After a sleep nothing is believed."""
    world = up()
    world.feed(e.Woke(3600.0))

    assert names([world.log[-1][1]]) == ["ReadAll"]


def test_passive_when_the_peer_began() -> None:
    """Only the original initiator may move: we look on at first."""
    begun = World()
    begun.start().run(3)
    begun.sas = {1: replace(begun.sas[1], original_initiator=False)}
    begun.restart_controller()
    before = len(begun.actions(a.Migrate, a.Clone))
    begun.run(9)

    assert begun.hq.mode == "passive"
    assert len(begun.actions(a.Migrate, a.Clone)) == before


def test_ipv6_outside_and_inside() -> None:
    """The same with IPv6."""
    six = replace(ROAD_WARRIOR, remote_addrs=("2001:db8::1",), vips=("0.0.0.0", "::"))
    links = {
        f"eth{i}": replace(link(i), addresses=(ip_interface(f"2001:db8:{i + 1}::2/64"),))
        for i in range(3)
    }
    world = World(connection=six, links=links).start().run(3)
    (asked,) = world.actions(a.CreateIke)

    assert isinstance(asked, a.CreateIke)
    assert [str(v) for v in asked.vips] == ["0.0.0.1", "0.0.0.2", "0.0.0.3", "::1", "::2", "::3"]
    assert asked.pair == Pair(ip_address("2001:db8:1::2"), ip_address("2001:db8::1"))
    assert world.hq.state == "up"


@pytest.mark.parametrize("connection", [ROAD_WARRIOR, SITE], ids=["road-warrior", "site"])
def test_status_is_the_schema(connection: Connection) -> None:
    """What status says is the model, through JSON and back."""
    world = up(connection=connection)

    assert type(world.status).model_validate_json(world.status.to_json()) == world.status
    assert world.status.exit_code == 0


def test_a_child_of_charons_own_numbering_is_not_routed_past() -> None:
    """Kernel ESP, a child without our interface id: no rule of ours, but guarded."""
    world = up(gateway=Gateway(childless=False), plugins=frozenset({"kernel-netlink"}))
    root = world.planner.peers["hq"].tunnels[0].sa
    vip = ip_network(f"{root.local_vips[0]}/32")
    world.sas[root.unique_id] = replace(
        root, children=(replace(root.children[0], local_ts=(str(vip),)),)
    )
    world.feed(e.SaSeen(world.sas[root.unique_id]))
    world.run(1)

    assert not [r for r in world.steering.rules if r.source == vip]
    assert world.guard is not None
    assert [s.local for s in world.guard.selectors] == [vip]


def test_an_empty_family_beside_goes() -> None:
    """An authentication that nobody waited for any more is closed, not the one in use."""
    world = up()
    late = replace(world.sas[1], unique_id=90, family=90, children=())
    world.sas[90] = late
    world.feed(e.SaSeen(late))
    world.run(40)

    assert 90 not in world.sas
    assert world.seats() == AT_HOME
    assert len(world.actions(a.Terminate)) == 1


def test_a_ready_path_is_measured() -> None:
    """Mode one: paths that wait are probed now and then, and a dead one is known."""
    world = up(connection=SITE)
    world.run(35)
    assert [p.rtt_s for p in world.hq.paths][1:] == [pytest.approx(0.02)] * 2
    world.dead = {"eth2"}
    world.run(40)

    assert world.hq.paths[2].state in {"failed", "testing"}
    assert world.hq.paths[0].state == "active"


def test_an_order_for_all_can_be_taken_back_for_one() -> None:
    """`down`, then `up hq`."""
    world = up()
    world.feed(e.OrderGiven(OrderKind.DOWN, "", ""))
    world.feed(e.OrderCleared(kind=OrderKind.DOWN, peer="hq"))
    world.run(10)

    assert world.status.orders == ()
    assert world.seats() == AT_HOME


def test_an_inner_address_on_an_uplink_is_no_link_address() -> None:
    """kernel-netlink puts virtual IPs on an uplink: they get no rule of a link, and no pair."""
    world = up()
    vip = ip_interface("10.9.0.2/32")
    eth0 = world.links["eth0"]
    world.links["eth0"] = replace(eth0, addresses=(vip, *eth0.addresses))
    world.see_links()
    world.run(20)
    about = [r for r in world.steering.rules if r.source == vip.network]

    assert [r.table for r in about] == [7833]
    assert (world.seats(), world.hq.state) == (AT_HOME, "up")


def test_one_member_terminated_by_hand_is_healed() -> None:
    """`swanctl --terminate --ike-id N`: others live, so the peer was not taken down."""
    world = up()
    gone = next(t.ike_id for t in world.hq.tunnels if t.home == E1)
    sa = replace(world.sas.pop(gone), state="DELETING", tasks_active=("IKE_DELETE",))
    world.feed(e.SaClosed(sa))
    world.run(10)

    assert world.status.orders == ()
    assert world.seats() == AT_HOME


def test_an_sa_whose_time_is_over_is_no_order() -> None:
    """charon closes it by itself: then we authenticate again."""
    world = up()
    for ike_id in list(world.sas):
        sa = replace(world.sas.pop(ike_id), state="DELETING", tasks_active=("IKE_DELETE",))
        world.feed(e.SaClosed(replace(sa, rekey_delay=0.0)))
    world.run(10)

    assert world.status.orders == ()
    assert world.seats() == AT_HOME


def test_a_move_to_a_link_that_goes_is_superseded_at_once() -> None:
    """Not after its time is over."""
    world = up()
    world.dead = {"eth0"}
    world.link_down("eth1")
    world.run(1)
    assert world.seats()[E1] == E0
    world.link_down("eth0")
    world.run(0.2)

    assert world.seats() == {E0: E2, E1: E2, E2: E2}


def test_nothing_begins_before_the_kernel_is_ready() -> None:
    """A slow kernel: no authentication and no child before its rules stand."""
    world = World()
    world._do_Steer = lambda action: world._done(action.tag, 0.5)  # type: ignore[method-assign]
    world.start().run(5)
    steers, begun = (
        [at for at, x in world.log if isinstance(x, kind)]
        for kind in (a.Steer, a.CreateIke | a.CreateChild)
    )

    assert world.hq.state == "up"
    assert not [at for at in begun if any(0 <= at - steer < 0.5 for steer in steers)]


def test_a_second_family_that_carries_is_not_closed() -> None:
    """Whoever opened it: a tunnel that works is not given up for tidiness."""
    world = up()
    other = replace(world.sas[1], unique_id=90, family=90)
    world.sas[90] = other
    world.feed(e.SaSeen(other))
    world.run(60)

    assert 90 in world.sas


NAMED = replace(ROAD_WARRIOR, remote_addrs=("gw.example.org",))


def test_a_resolver_that_is_not_up_yet() -> None:
    """At boot: asked again within seconds, and status says what is missing."""
    world = World(connection=NAMED)
    answer = world._do_Resolve
    world._do_Resolve = lambda action: world._failed(action.tag, "failed")  # type: ignore[method-assign]
    world.start().run(5)
    assert (world.hq.state, "gw.example.org" in world.hq.why) == ("waiting", True)
    world._do_Resolve = answer  # type: ignore[method-assign]
    world.run(10)

    assert world.hq.state == "up"


def test_a_resolver_that_rotates_moves_nothing() -> None:
    """The address in use stays, also where the zone lists it last or no more."""
    world = up(connection=NAMED)
    seats = world.seats()
    moves = len(world.actions(a.Migrate))
    world.feed(e.NameResolved("gw.example.org", (ip_address("203.0.113.9"), ip_address(GATEWAY))))
    world.feed(e.NameResolved("gw.example.org", (ip_address("203.0.113.9"),)))
    world.run(1)

    assert world.seats() == seats
    assert len(world.actions(a.Migrate)) == moves


def test_a_start_without_trouble_warns_nobody() -> None:
    """Progress is said as such; a lost link is a warning."""
    world = up()
    assert {x.level for x in world.actions(a.Say) if isinstance(x, a.Say)} == {"info"}
    world.link_down("eth1")

    assert [x.level for x in world.actions(a.Say) if isinstance(x, a.Say)][-1] == "warning"


def test_what_failed_is_said_with_its_peer_and_path() -> None:
    """Whoever reads the log has several of both."""
    world = up()
    world.dead |= {"eth1"}
    world.run(60)
    told = [x.text for x in world.actions(a.Say) if isinstance(x, a.Say)]

    assert f"hq: eth1/{GATEWAY}: Probe failed: timeout" in told


def test_a_path_that_is_not_wanted_is_no_reason() -> None:
    """Two of three links: the third is away, and the child on the second was refused."""
    text = THREE.replace("spares: 0", "tunnels: 2, spares: 0")
    world = World(text, links={f"eth{i}": link(i, up=i < 2) for i in range(3)})
    world.start()
    seen = set()
    for _ in range(2000):
        world.run(0.001)
        seen.add(world.hq.why)
    assert not [why for why in seen if "eth2" in why]

    world._opened = lambda action: world.feed(  # type: ignore[method-assign]
        e.ActionFailed(action.tag, "peer-refused", "TS_UNACCEPTABLE")
    )
    world._child_closed(world.working()[1].children[0].unique_id)
    world.run(5)
    assert world.hq.why == "1 of 2 tunnels: child net: TS_UNACCEPTABLE"
