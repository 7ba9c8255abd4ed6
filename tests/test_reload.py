# SPDX-License-Identifier: Apache-2.0
"""Another configuration while the controller runs: only the difference, make before break."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.simulated import GATEWAY, ROAD_WARRIOR, SITE, THREE, Gateway, World, up, watch_moves
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.model import ChildTemplate, OrderKind, Sa, Steering
from vici_mif.core.peers import roster
from vici_mif.core.wish import reload
from vici_mif.core.wish.config import ConfigError, Source, parse

E0, E1, E2 = (f"eth{i}/{GATEWAY}" for i in range(3))
AT_HOME = {E0: E0, E1: E1, E2: E2}
OTHER = "203.0.113.2"
E_LOCAL = ip_address("192.0.2.77")


def wish(text: str) -> str:
    return f"version: 1\nconnections:\n  hq: {text}\n"


def actions_since(world: World, before: int) -> set[type]:
    return {type(x) for _, x in world.log[before:]}


def test_hold_down_alone_is_no_action() -> None:
    """It is in force from then on."""
    world = up()
    before = len(world.log)
    world.configure(wish("{links: [eth0, eth1, eth2], hold_down: 30s, spares: 0}"))
    assert actions_since(world, before) == set()
    world.link_down("eth1")
    world.run(1)
    world.link_up("eth1")
    world.run(20)
    assert world.seats()[E1] != E1
    world.run(20)

    assert world.seats() == AT_HOME


def test_a_link_that_is_taken_out_is_left_without_a_break() -> None:
    """Its tunnel goes to a tested path, then the path is forgotten, and its rules with it."""
    world = up(wish("{links: [eth0, eth1, eth2], spares: 0}"))
    good = watch_moves(world)
    world.configure(wish("{links: [eth0, eth1], spares: 0}"))
    world.run(3)
    assert [p.name for p in world.hq.paths] == [E0, E1]
    assert good == [True]
    assert "eth2" not in {t.link for t in world.steering.link_tables}
    world.run(60)

    assert len(world.sas) == 2
    assert world.hq.state == "up"


def test_a_link_that_nobody_has_is_named() -> None:
    """A name with a slip of the pen: the reason says which one has no tunnel."""
    world = up(wish("{links: [eth0, eth1]}"))
    world.configure(wish("{links: [eth0, eth9]}"))
    world.run(20)

    assert world.hq.state == "degraded"
    assert world.hq.why.startswith("1 of 2 tunnels: eth9/")
    assert "absent" in world.hq.why


def test_it_waits_while_no_other_path_works() -> None:
    """A tunnel that works is never given up for a change that may fail."""
    world = up(wish("{links: [eth0, eth1, eth2], spares: 0}"))
    world.run(20)
    world.dead = {"eth0", "eth1"}
    world.run(20)
    good = watch_moves(world)
    world.configure(wish("{links: [eth0, eth1], spares: 0}"))
    world.run(30)
    assert E2 in world.seats().values()
    assert "no longer configured" in world.hq.paths[-1].why
    assert False not in good
    world.dead = set()
    world.run(90)

    assert E2 not in world.seats().values()
    assert [p.name for p in world.hq.paths] == [E0, E1]


def test_a_link_that_is_added_is_used() -> None:
    """A clone for it; the others keep their keys."""
    world = up(wish("{links: [eth0, eth1], tunnels: 3}"))
    before = set(world.sas)
    world.configure(wish("{links: [eth0, eth1, eth2], tunnels: 3}"))
    world.run(10)

    assert {*world.seats().values()} >= {E0, E1, E2}
    assert before <= set(world.sas)
    assert world.hq.authentications == 1


def test_fewer_tunnels() -> None:
    """The best ranked keep their homes, one stays as spare, the others go."""
    world = up(wish("{links: [eth0, eth1, eth2]}"))
    assert len(world.sas) == 4
    world.configure(wish("{links: [eth0, eth1, eth2], tunnels: 2}"))
    world.run(60)

    assert len(world.sas) == 3
    assert {t.home for t in world.hq.tunnels if t.home} == {E0, E1}
    assert world.hq.state == "up"


def test_other_remotes() -> None:
    """Each tunnel goes over to the new address, tested."""
    world = up(wish(f"{{links: [eth0, eth1], remotes: {{use: {GATEWAY}}}}}"))
    good = watch_moves(world)
    before = set(world.sas)
    world.configure(wish(f"{{links: [eth0, eth1], remotes: {{use: {OTHER}}}}}"))
    world.run(60)

    assert [p.name for p in world.hq.paths] == [f"eth0/{OTHER}", f"eth1/{OTHER}"]
    assert set(good) == {True}
    assert before >= set(world.sas)
    assert {str(sa.remote) for sa in world.sas.values()} == {OTHER}
    assert world.hq.state == "up"


def test_a_pair_that_is_denied_now_is_left_without_a_break() -> None:
    """And shown as denied after that."""
    world = up()
    good = watch_moves(world)
    world.configure(wish(f'{{links: [eth0, eth1, eth2], pairs: {{deny: [[eth2, "{GATEWAY}"]]}}}}'))
    world.run(60)

    assert set(good) == {True}
    assert next(p.state for p in world.hq.paths if p.name == E2) == "denied"
    assert E2 not in world.seats().values()


def test_children_that_are_no_longer_wanted_are_closed() -> None:
    """And one that is wanted now is opened; the IKE SAs stay."""
    world = up(wish("{links: [eth0, eth1, eth2], children: [lan]}"), connection=SITE)
    before = set(world.sas)
    world.configure(wish("{links: [eth0, eth1, eth2], children: [voip]}"))
    world.run(5)

    assert [[c.name for c in sa.children] for sa in world.working()] == [["voip"]]
    assert before == set(world.sas)


def test_a_child_that_is_not_there_costs_nothing() -> None:
    """A name that is mistyped: what carries stays, and so does what refuses it in clear."""
    world = up(wish("{links: [eth0, eth1, eth2], children: [lan]}"), connection=SITE)
    guard = world.guard
    world.configure(wish("{links: [eth0, eth1, eth2], children: [lna]}"))
    world.run(30)

    assert [[c.name for c in sa.children] for sa in world.working()] == [["lan"]]
    assert world.guard == guard
    assert world.hq.state == "degraded"
    assert world.hq.why == "the connection hq in charon has no child lna"
    world.configure(wish("{links: [eth0, eth1, eth2], children: [voip]}"))
    world.run(5)
    assert [[c.name for c in sa.children] for sa in world.working()] == [["voip"]]


def test_a_peer_that_is_taken_out() -> None:
    """Its family is closed, nothing of ours is left, and another peer begins."""
    world = up()
    alive: list[int] = []
    world.watchers.append(
        lambda x: alive.append(len(world.sas)) if x == a.Steer(x.tag, Steering()) else None
    )
    world.configure("version: 1\nconnections:\n  branch: {links: [eth0]}\n")
    assert [p.name for p in world.status.peers] == ["branch", "hq"]
    assert "no longer configured" in world.status.peers[1].why
    world.run(10)

    assert world.sas == {}
    assert (world.steering, world.guard, alive) == (Steering(), None, [0])
    assert [p.name for p in world.status.peers] == ["branch"]


def test_a_peer_that_comes_back_at_once() -> None:
    """It is built again."""
    world = up()
    world.configure("version: 1\nconnections:\n  branch: {links: [eth0]}\n")
    world.run(0.001)
    world.configure(THREE)
    world.run(20)

    assert world.seats() == AT_HOME


def crowd(*names: str) -> str:
    """A configuration of these peers, as many as they are."""
    lines = [f"  {name}: {{links: [eth0, eth1, eth2]}}\n" for name in names]
    return "version: 1\nconnections:\n" + "".join(lines)


def five() -> World:
    """As many peers as there are routing tables for, each with a network of its own."""
    world = World(crowd("hq", "b", "c", "d", "e"))
    for number, name in enumerate("bcdef", 101):
        net = ChildTemplate("net", local_ts=("dynamic",), remote_ts=(f"10.{number}.0.0/16",))
        world.more[name] = (replace(ROAD_WARRIOR, name=name, children=(net,)), Gateway())
    return world.start().run(10)


def peers(world: World) -> dict[str, str]:
    return {peer.name: peer.state for peer in world.status.peers}


def test_a_peer_that_is_renamed_waits_for_the_tables_of_the_old_one() -> None:
    """Once nothing of that is left; until then `status` says so."""
    world = five()
    tables = {route.table for route in world.steering.routes}
    new = crowd("hq", "b", "c", "d", "f")
    reload.read([Source("config.yaml", new)], world.planner.config, set())
    world.configure(new)
    (waiting,) = [peer for peer in world.status.peers if peer.name == "f"]
    assert (waiting.state, waiting.why) == ("waiting", roster.SOON)
    world.run(15)

    assert peers(world) == dict.fromkeys(["hq", "b", "c", "d", "f"], "up")
    assert {route.table for route in world.steering.routes} == tables
    assert world.stored == ()


@pytest.mark.parametrize("name", ["", "f"])
def test_a_peer_that_waits_for_tables_takes_the_order_down(name: str) -> None:
    """It does not come up once they are free, until that is taken back."""
    world = five()
    world.configure(crowd("hq", "b", "c", "d", "f"))
    assert "f" in world.planner.names
    world.feed(e.OrderGiven(OrderKind.DOWN, name, "2026-01-01T00:00:00Z"))
    world.run(15)
    assert peers(world)["f"] == "down"
    assert peers(world)["hq"] == ("down" if not name else "up")
    world.feed(e.OrderCleared(kind=OrderKind.DOWN, peer=name))
    world.run(15)

    assert peers(world) == dict.fromkeys(["hq", "b", "c", "d", "f"], "up")


def test_a_peer_that_waits_for_tables_has_no_path_to_drain() -> None:
    """Who asks is told what it waits for."""
    world = five()
    world.configure(crowd("hq", "b", "c", "d", "f"))
    order = e.OrderGiven(OrderKind.DRAIN, "f", "2026-01-01T00:00:00Z", "eth0")

    assert world.planner.refuses(order) == f"f waits: {roster.SOON}"


def test_a_peer_for_which_the_gaps_are_too_small_says_so() -> None:
    """Places of running peers are not moved: only a restart makes one gap of two."""
    world = five()
    world.configure(crowd("hq", "c", "e", "f").replace("f: {", "f: {tunnels: 8, "))
    world.run(15)

    assert peers(world) == {"hq": "up", "c": "up", "e": "up", "f": "waiting"}
    assert world.status.peers[-1].why == roster.NEVER
    said = [x.text for x in world.actions(a.Say) if isinstance(x, a.Say)]
    assert said.count(f"f: {roster.NEVER}") == 1
    world.configure(crowd("hq", "c", "e", "f"))
    world.run(15)
    assert peers(world)["f"] == "up"


INLINE = """version: 1
connections:
  hq:
    links: [eth0, eth1, eth2]
    connection:
      remote_addrs: 203.0.113.1
      rekey_time: {0}
      vips: 0.0.0.0
      local: {{auth: psk}}
      remote: {{auth: psk}}
      children: {{net: {{remote_ts: 10.100.0.0/16}}}}
      secrets: {{ike-gw: {{secret: {{file: psk}}}}}}
"""


def test_an_inline_connection_that_changed_is_loaded_again() -> None:
    """The connection, not its secret; no SA is touched."""
    world = up(INLINE.format("4h"), connection=None)
    sas, loaded = set(world.sas), len(world.loaded)
    world.configure(INLINE.format("2h"))
    world.run(5)

    assert [type(x) for x in world.loaded[loaded:]] == [a.LoadConnection]
    assert set(world.sas) == sas


def load_all(world: World) -> None:
    """`swanctl --load-all`: what its files have not is unloaded, secrets too."""
    world.connection = None
    world.keys.clear()
    world.feed(e.ConnectionsSeen(()))


def test_an_inline_connection_that_somebody_unloads_is_loaded_again() -> None:
    """All of it at once, with its secret, under tunnels that stay."""
    world = up(INLINE.format("4h"), connection=None).run(30)
    sas, loaded = set(world.sas), len(world.loaded)
    load_all(world)
    assert world.hq.state == "degraded"
    assert world.hq.why == "charon has no connection hq: it is being loaded"
    world.run(1)
    assert [type(x) for x in world.loaded[loaded:]] == [a.LoadSecret, a.LoadConnection]
    assert (set(world.sas), world.hq.state) == (sas, "up")
    world.run(600)

    assert len(world.loaded) == loaded + 2
    warned = [x for x in world.actions(a.Say) if "unloaded" in x.text]  # type: ignore[union-attr]
    assert len(warned) == 1


def test_nobody_has_to_load_an_inline_connection_by_hand() -> None:
    """Unloaded while no tunnel is up: nothing tells to load it, and then there is one."""
    world = up(INLINE.format("4h"), connection=None).run(30)
    world.forget_all()
    world.sas.clear()
    world.feed(e.SasSeen(()))
    load_all(world)
    assert world.hq.why == "charon has no connection hq: it is being loaded"
    world.run(10)

    assert world.seats() == AT_HOME


def test_who_unloads_again_and_again_is_not_fought() -> None:
    """Six times in a minute; with the last of them it is there."""
    world = up(INLINE.format("4h"), connection=None).run(30)
    loaded = len(world.loaded)
    for _ in range(60):
        load_all(world)
        world.run(1)
    assert len(world.loaded) - loaded <= 2 * 6
    world.run(10)

    assert world.hq.state == "up"


def test_a_key_that_somebody_unloads_is_still_ours() -> None:
    """It is loaded again, and goes with its peer."""
    world = up(KEYED.format("4h"), connection=None).run(30)
    keys = set(world.keys)
    load_all(world)
    world.run(1)
    assert world.keys == keys != set()
    world.configure(NOBODY)
    world.run(10)

    assert world.keys == set()


def test_secrets_that_somebody_unloads_alone() -> None:
    """`swanctl --load-creds` leaves the connection: seen when the authentication is refused."""
    world = up(INLINE.format("4h"), connection=None).run(30)
    world.gateway.refuses = True
    world.watchers.append(lambda action: given(world, action))
    for ike_id in list(world.sas):
        world.peer_deletes(ike_id)
    world.run(20)

    assert world.seats() == AT_HOME


def test_a_secret_whose_file_is_gone_is_still_charons() -> None:
    """A refusal that passes, of a gateway in trouble: what cannot be loaded again is not needed."""
    world = up(INLINE.format("4h"), connection=None).run(30)
    world.secrets_missing = world.gateway.refuses = True
    for ike_id in list(world.sas):
        world.peer_deletes(ike_id)
    world.run(20)
    world.gateway.refuses = False
    world.run(70)

    assert world.seats() == AT_HOME


def given(world: World, action: a.Action) -> None:
    """With its secret charon can authenticate."""
    if isinstance(action, a.LoadSecret):
        world.gateway.refuses = False


def test_what_cannot_be_loaded_again_costs_no_tunnel() -> None:
    """The secret's file is gone meanwhile: said, and a link that fails is left all the same."""
    world = up(INLINE.format("4h"), connection=None).run(30)
    world.secrets_missing = True
    load_all(world)
    world.run(5)
    assert world.hq.why.startswith("charon did not take the connection: hq.psk: No such file")
    world.link_down("eth1")
    world.run(5)
    assert world.seats()[E1] in (E0, E2)
    world.secrets_missing = False
    world.link_up("eth1")
    world.run(60)

    assert (world.seats(), world.hq.state) == (AT_HOME, "up")


def test_an_inline_connection_that_is_taken_out_is_unloaded() -> None:
    """The connection first, then the secret that came with it."""
    world = up(INLINE.format("4h"), connection=None)
    world.configure("version: 1\nconnections:\n  branch: {links: [eth0]}\n")
    world.run(10)

    assert [(x.command, x.name) for x in world.unloaded] == [
        ("unload-conn", "hq"),
        ("unload-shared", "vici-mif-hq-ike-gw"),
    ]
    assert [p.name for p in world.status.peers] == ["branch"]


def unloads(world: World) -> list[tuple[str, str]]:
    return [(x.command, x.name) for x in world.unloaded]


@pytest.mark.parametrize("to", ["ike-new: {secret: {file: psk2}}", ""])
def test_a_secret_that_is_taken_out_is_unloaded_at_once(to: str) -> None:
    """Its name is another one, or it has none: it is of no use any more; nothing else goes."""
    world = up(INLINE.format("4h"), connection=None)
    sas = set(world.sas)
    world.configure(INLINE.format("4h").replace("ike-gw: {secret: {file: psk}}", to))
    world.run(5)
    assert unloads(world) == [("unload-shared", "vici-mif-hq-ike-gw")]
    assert (set(world.sas), world.hq.state) == (sas, "up")
    world.configure(NOBODY)
    world.run(10)

    left = [("unload-shared", "vici-mif-hq-ike-new")] if to else []
    assert unloads(world)[1:] == [("unload-conn", "hq"), *left]


def test_a_secret_under_the_same_name_stays() -> None:
    """charon puts the new one in its place."""
    world = up(INLINE.format("4h"), connection=None)
    world.configure(INLINE.format("4h").replace("psk}}}", "psk2}}}"))
    world.run(5)

    assert unloads(world) == []


def test_a_secret_taken_out_while_it_is_loaded() -> None:
    """charon has not answered yet: it has it all the same."""
    world = World(INLINE.format("4h"), connection=None).start()
    assert world.actions(a.LoadSecret)
    assert not world.actions(a.LoadConnection)
    world.configure(INLINE.format("4h").replace("ike-gw: {secret: {file: psk}}", ""))
    world.run(5)

    assert unloads(world) == [("unload-shared", "vici-mif-hq-ike-gw")]


def test_a_private_key_in_another_file_takes_its_place() -> None:
    """The one before goes; the one after goes with the peer."""
    world = up(KEYED.format("4h"), connection=None)
    (before,) = world.keys
    world.configure(KEYED.format("4h").replace("key.pem", "key2.pem"))
    world.run(5)
    assert before not in world.keys
    assert len(world.keys) == 1
    world.configure(NOBODY)
    world.run(10)

    assert world.keys == set()


def test_a_connection_that_the_operator_takes_over() -> None:
    """It may be his by now, under the same name: our secret alone is unloaded."""
    world = up(INLINE.format("4h"), connection=None)
    world.configure(THREE)
    world.run(5)
    assert unloads(world) == [("unload-shared", "vici-mif-hq-ike-gw")]
    world.configure(NOBODY)
    world.run(10)

    assert ("unload-conn", "hq") not in unloads(world)


def test_a_peer_taken_out_while_its_secret_has_another_content() -> None:
    """All is being loaded again: what charon has from before goes with the peer."""
    world = up(INLINE.format("4h"), connection=None)
    world.secrets_missing = True
    world.feed(e.ConfigRead(world.planner.config, renewed=frozenset({"hq"})))
    world.configure(NOBODY)
    world.run(10)

    assert unloads(world) == [("unload-conn", "hq"), ("unload-shared", "vici-mif-hq-ike-gw")]


NOBODY = "version: 1\nconnections:\n  branch: {links: [eth0]}\n"
KEYED = INLINE.replace("ike-gw: {{secret: {{file: psk}}}}", "private: {{file: key.pem}}")


def test_a_controller_that_dies_while_it_closes_a_peer() -> None:
    """Its successor does not know the peer, and goes on with what was kept; nothing else goes."""
    world = up(INLINE.format("4h"), connection=None)
    world.dead = {"eth0", "eth1", "eth2"}
    world.configure(NOBODY)
    world.run(0.5)
    assert [o.kind for o in world.stored] == [OrderKind.RETIRE]
    assert world.sas
    world.beside = ((), (Sa(77, "hq", "ESTABLISHED", E_LOCAL, E_LOCAL, spi_in="77"),))
    world.restart_controller()
    world.run(10)

    assert (world.sas, world.stored) == ({}, ())
    assert not [x for x in world.actions(a.Terminate) if x.ike_id == 77]  # type: ignore[union-attr]
    assert {(x.command, x.name) for x in world.unloaded} == {
        ("unload-conn", "hq"),
        ("unload-shared", "vici-mif-hq-ike-gw"),
    }


def test_a_peer_that_is_back_before_the_successor_starts() -> None:
    """Then nobody closes it any more."""
    world = up()
    world.dead = {"eth0", "eth1", "eth2"}
    world.configure(NOBODY)
    world.run(0.5)
    world.dead = set()
    world.planner.config = parse([Source("config.yaml", THREE)])
    world.restart_controller()
    world.run(20)

    assert (world.stored, world.seats()) == ((), AT_HOME)


@pytest.mark.parametrize("before", [set(), {"key"}])
def test_a_private_key_goes_with_its_peer(before: set[str]) -> None:
    """Unless charon had it before: then it is somebody else's, too."""
    world = World(KEYED.format("4h"), connection=None)
    key = "FromFile(path='/etc/vici-mif/key.pem')"
    world.keys = {key} if before else set()
    world.start().run(5)
    assert key in world.keys
    world.configure(NOBODY)
    world.run(10)

    assert world.keys == ({key} if before else set())
    assert [p.name for p in world.status.peers] == ["branch"]


def test_a_private_key_that_another_peer_has_too_stays() -> None:
    """It goes with the last of them."""
    both = KEYED.format("4h")
    second = both.partition("connections:\n")[2].replace("hq:", "branch:")
    world = World(both + second, connection=None)
    world.more = {"branch": (replace(ROAD_WARRIOR, name="branch"), Gateway())}
    world.start().run(5)
    assert len(world.keys) == 1
    world.configure(both)
    world.run(10)
    assert len(world.keys) == 1
    world.configure(NOBODY)
    world.run(10)

    assert world.keys == set()


def test_a_secret_with_another_content_is_loaded_again() -> None:
    """The configuration is the same; what was made with the old one stays."""
    world = up(INLINE.format("4h"), connection=None)
    sas, loaded = set(world.sas), len(world.loaded)
    world.feed(e.ConfigRead(world.planner.config, renewed=frozenset({"hq"})))
    world.run(5)

    assert [type(x) for x in world.loaded[loaded:]] == [a.LoadSecret, a.LoadConnection]
    assert set(world.sas) == sas


def test_an_ike_sa_with_the_number_of_a_part_is_rekeyed() -> None:
    """While that part is being loaded: these numbers have nothing to do with each other."""
    world = up(INLINE.format("4h"), connection=None)
    assert 1 in world.sas
    loaded = len(world.loaded)
    world.feed(e.ConfigRead(world.planner.config, renewed=frozenset({"hq"})))
    world.run(0.0015)
    assert isinstance(world.loaded[-1], a.LoadConnection)
    world.rekey(1)
    world.run(5)

    assert len(world.loaded) == loaded + 2


def test_a_revoke_goes_on() -> None:
    """Also of a peer that is taken out meanwhile."""
    world = up()
    world.feed(e.OrderGiven(OrderKind.REVOKE, "hq", "", "eth1"))
    world.configure("version: 1\nconnections:\n  branch: {links: [eth0]}\n")
    world.run(10)

    assert (world.sas, world.stored) == ({}, ())


def refused(text: str, up: set[str]) -> list[str]:
    now = parse([Source("config.yaml", THREE)])
    with pytest.raises(ConfigError) as error:
        reload.read([Source("config.yaml", text)], now, up)
    return [str(problem) for problem in error.value.problems]


def test_what_needs_a_restart_is_refused_by_name_and_place() -> None:
    """All of it at once."""
    said = refused(THREE + "daemon:\n  vici: /run/other\n  rules: 100-119\n", set())

    assert said == [
        "config.yaml:5:3: daemon.vici: cannot change while the controller runs: restart it",
        "config.yaml:6:3: daemon.rules: cannot change while the controller runs: restart it",
    ]


def test_inner_is_refused_while_tunnels_are_up() -> None:
    """It decides what the family is made of."""
    text = wish("\n    links: [eth0]\n    inner: one")
    (said,) = refused(text, {"hq"})
    assert said.startswith("config.yaml:5:5: connections.hq.inner: ")
    assert "vici-mif down hq" in said
    now = parse([Source("c", THREE)])

    assert reload.read([Source("c", text)], now, set()).connections["hq"].inner == "one"


def test_a_broken_file_is_refused_with_its_places() -> None:
    """Every problem with its line."""
    assert refused(wish("{link: [eth0], tunnels: 99}"), set()) != []
