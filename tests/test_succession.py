# SPDX-License-Identifier: Apache-2.0
"""A new family beside the old one, which goes last."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from tests.simulated import GATEWAY, ROAD_WARRIOR, SITE, SPARE, THREE, Gateway, World, link
from vici_mif.core import actions as a
from vici_mif.core.family import authentication
from vici_mif.core.family.slots import merged, own
from vici_mif.core.family.succession import MARGIN_PART, RETRY_DELAY
from vici_mif.core.model import ChildTemplate, Connection, Sa

E0, E1, E2 = (f"eth{i}/{GATEWAY}" for i in range(3))
AT_HOME = {E0: E0, E1: E1, E2: E2}
SPAN = 240.0
MARGIN = SPAN / MARGIN_PART
MIF0 = 7832
"""The first tunnel's interface id, and its table."""


def up(**kinds: object) -> World:
    return World(**kinds).start().run(5)  # type: ignore[arg-type]


def never_without(world: World, inner: str = "") -> list[int]:
    """Counts working tunnels (of an inner address) at each order; fails where there is none."""
    counts: list[int] = []

    def watch(action: a.Action) -> None:
        working = [sa for sa in world.working() if not inner or has(sa, inner)]
        counts.append(len(working))
        assert working, f"nothing works {inner} at {action}"

    world.watchers.append(watch)
    return counts


def has(sa: Sa, inner: str) -> bool:
    return any(ts.partition("/")[0] == inner for child in sa.children for ts in child.local_ts)


def inner(world: World) -> set[tuple[str, ...]]:
    return {t.inner for t in world.hq.tunnels}


# --- reauthentication ---------------------------------------------------------------


@pytest.mark.parametrize("text", [THREE, SPARE])
def test_before_charon_reauthenticates(text: str) -> None:
    """Ours comes first, make before break; charon's own never runs."""
    world = up(text=text, reauth=SPAN, gateway=Gateway(leases=True))
    first, addresses = world.hq.family, inner(world)
    never_without(world)
    world.run(SPAN - MARGIN - 10)
    assert world.hq.family == first
    world.run(MARGIN / 2)

    assert world.hq.family != first
    assert world.hq.authentications == 2
    assert world.seats() == AT_HOME
    assert inner(world) == addresses
    assert {sa.family for sa in world.sas.values()} == {world.hq.family}
    world.run(5 * SPAN)
    assert world.own_reauths == 0
    assert world.hq.state == "up"
    assert world.hq.authentications == pytest.approx(2 + 5 * SPAN / (SPAN - MARGIN), abs=1)


def test_the_same_addresses_are_asked_for_from_where_a_member_sits() -> None:
    """Else the gateway would give others."""
    world = up(reauth=SPAN, gateway=Gateway(leases=True))
    held = {vip for sa in world.sas.values() for vip in sa.local_vips}
    pairs = {sa.pair for sa in world.sas.values()}
    world.run(SPAN - MARGIN + 30)
    _, asked = world.actions(a.CreateIke)

    assert isinstance(asked, a.CreateIke)
    assert set(asked.vips) == held
    assert asked.pair in pairs
    assert asked.childless


def test_also_after_the_root_was_moved() -> None:
    """Its link is gone for good; inner addresses stay."""
    world = up(reauth=SPAN, gateway=Gateway(leases=True))
    addresses = inner(world)
    world.link_down("eth0")
    world.run(SPAN - MARGIN + 60)

    assert world.hq.authentications == 2
    assert inner(world) == addresses
    assert world.seats() == {E0: E1, E1: E1, E2: E2}
    assert world.own_reauths == 0


def test_the_old_family_is_gone_within_ten_seconds() -> None:
    """Of the switch; and not before it. Nothing is sent on it from the moment it is closed."""
    world = up(reauth=SPAN, gateway=Gateway(leases=True))
    old = world.hq.family
    while world.hq.family == old:
        world.run(0.05)
    switched_at = world.now
    assert any(sa.family == old for sa in world.sas.values())
    while any(sa.family == old for sa in world.sas.values()):
        world.run(0.05)

    assert world.now - switched_at <= 10
    assert [action.replaced for action in world.actions(a.Terminate)] == [True] * 3


def test_tcp_inside_lives() -> None:
    """Every inner address has a tunnel that works at every moment."""
    world = up(reauth=SPAN, gateway=Gateway(leases=True))
    for address in ("10.9.0.1", "10.9.0.2", "10.9.0.3"):
        never_without(world, address)
    world.run(3 * SPAN)

    assert world.hq.authentications >= 4


def test_a_gateway_that_gives_others() -> None:
    """Without the patch for leases: new addresses, both led by rules until the old ones go."""
    world = up(reauth=SPAN)
    before = inner(world)
    never_without(world)
    seen: set[int] = set()
    world.watchers.append(
        lambda x: (
            seen.add(sum(r.priority == 150 for r in x.wish.rules))
            if isinstance(x, a.Steer)
            else None
        )
    )
    world.run(SPAN - MARGIN + 60)

    assert inner(world).isdisjoint(before)
    assert seen == {6, 3}
    assert world.hq.state == "up"
    assert sum(r.priority == 150 for r in world.steering.rules) == 3


def test_a_gateway_that_is_away_meanwhile() -> None:
    """Ours is tried again until charon's own time, and the family heals whatever comes."""
    world = up(reauth=SPAN, gateway=Gateway(leases=True))
    world.gateway.refuses = True
    world.run(SPAN - MARGIN + 20)
    assert world.seats() == AT_HOME
    assert len(world.actions(a.CreateIke)) >= 3
    world.gateway.refuses = False
    world.run(35)

    assert world.hq.authentications == 2
    assert world.own_reauths == 0


def test_if_charon_comes_first_it_is_followed() -> None:
    """It breaks; one new family then."""
    world = up(reauth=SPAN, gateway=Gateway(leases=True))
    world.gateway.refuses = True
    world.run(SPAN + 10)
    assert world.own_reauths == 1
    world.gateway.refuses = False
    world.run(120)

    assert world.seats() == AT_HOME
    assert world.hq.state == "up"


def test_what_fails_beside_says_nothing_about_paths() -> None:
    """The paths work: tunnels are on them."""
    world = up(reauth=SPAN)
    world.gateway.refuses = True
    world.run(SPAN - MARGIN + 20)

    assert {p.state for p in world.hq.paths} == {"active"}


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 1.0, 3.0, 3.02])
def test_a_crash_in_between(seconds: float) -> None:
    """At any moment: the successor goes on, and one family is left."""
    world = up(reauth=SPAN, gateway=Gateway(leases=True))
    never_without(world)
    while len(world.actions(a.CreateIke)) == 1:
        world.run(0.005)
    world.run(seconds)
    world.restart_controller()
    world.run(120)

    assert world.seats() == AT_HOME
    assert len({sa.family for sa in world.sas.values() if sa.established}) == 1
    assert world.own_reauths == 0


def test_mode_one() -> None:
    """The connection's children exist on both for a moment; then once."""
    world = up(connection=SITE, reauth=SPAN)
    never_without(world)
    world.run(SPAN - MARGIN + 60)

    assert world.hq.authentications == 2
    assert [len(t.children) for t in world.hq.tunnels if t.children] == [2]
    assert len({sa.family for sa in world.sas.values() if sa.established}) == 1


# --- adoption ------------------------------------------------------------------------


def found(world: World, **kinds: object) -> World:
    """A family of one that somebody else made, and a controller that finds it."""
    root = next(sa for sa in world.sas.values() if not sa.cloned)
    world.sas = {root.unique_id: replace(root, **kinds)}  # type: ignore[arg-type]
    world.restart_controller()
    world.log.clear()
    return world


@pytest.mark.parametrize(
    "kinds", [{"original_initiator": False}, {"clone_supported": False}], ids=["passive", "stale"]
)
def test_what_was_found_is_followed_and_goes_last(kinds: dict[str, object]) -> None:
    """Not in the first seconds after the start; then a full family, without a gap."""
    world = found(up(), **kinds)
    never_without(world)
    world.run(5)
    assert not world.actions(a.CreateIke, a.Clone, a.Terminate, a.CreateChild)
    world.run(30)

    assert world.seats() == AT_HOME
    assert world.hq.mode == "per-path"
    assert len({sa.family for sa in world.sas.values() if sa.established}) == 1
    assert len(world.sas) == 3


def test_the_interface_is_there_before_the_child() -> None:
    """Kernel ESP: what the gateway sends on a child at once comes in by its interface. The one
    that is taken over has none of ours, and its address goes on as it did."""
    world = up(plugins=frozenset({"kernel-netlink"}), gateway=Gateway(leases=True))
    root = next(sa for sa in world.sas.values() if not sa.cloned)
    foreign = tuple(replace(child, if_id_in=0, if_id_out=0) for child in root.children)
    found(world, clone_supported=False, children=foreign)
    numbered: list[int | None] = []

    def watch(action: a.Action) -> None:
        if isinstance(action, a.CreateChild):
            numbered.append(action.if_id)
            assert action.if_id in {i.if_id for i in world.steering.interfaces}
            assert MIF0 not in {rule.table for rule in world.steering.rules}

    world.watchers.append(watch)
    world.run(60)

    assert MIF0 in numbered
    assert MIF0 in {rule.table for rule in world.steering.rules}
    assert world.hq.mode == "per-path"
    assert len({sa.family for sa in world.sas.values() if sa.established}) == 1


def test_a_gateway_that_still_cannot_clone() -> None:
    """What works stays, and it is asked once an hour; upgraded, it is noticed."""
    world = found(up(), clone_supported=False)
    old = world.hq.family
    world.gateway.clones = False
    never_without(world)
    world.run(RETRY_DELAY / 2)
    assert (world.hq.family, world.hq.mode) == (old, "single")
    assert len(world.actions(a.CreateIke)) == 1
    assert len(world.sas) == 1
    world.gateway.clones = True
    world.run(RETRY_DELAY)

    assert world.seats() == AT_HOME
    assert len({sa.family for sa in world.sas.values() if sa.established}) == 1


def test_a_gateway_that_replaces_is_not_asked_again() -> None:
    """The try cost the family that worked: once is enough."""
    world = found(up(), clone_supported=False)
    world.gateway.clones = False
    world.gateway.replaces = True
    world.run(1.5 * RETRY_DELAY)

    assert len(world.actions(a.CreateIke)) == 1
    assert world.working()


# --- a changed connection ---------------------------------------------------------------


def changed(connection: Connection) -> Connection:
    (net,) = connection.children
    return replace(connection, children=(replace(net, remote_ts=("10.101.0.0/16",)),))


def test_changed_selectors() -> None:
    """A new family has the new ones, and the old one goes last."""
    world = up(gateway=Gateway(leases=True))
    addresses = inner(world)
    never_without(world)
    world.connection = changed(ROAD_WARRIOR)
    world._seen_all()
    world.run(30)

    assert world.hq.authentications == 2
    assert {ts for sa in world.sas.values() for c in sa.children for ts in c.remote_ts} == {
        "10.101.0.0/16"
    }
    assert inner(world) == addresses
    world.run(300)
    assert world.hq.authentications == 2


def test_one_child_more_needs_no_other_family() -> None:
    """charon gives it to the IKE SAs that are up, where it is opened."""
    world = up()
    more = ChildTemplate("more", local_ts=("dynamic",), remote_ts=("10.101.0.0/16",))
    world.connection = replace(ROAD_WARRIOR, children=(*ROAD_WARRIOR.children, more))
    world._seen_all()
    world.run(30)

    assert world.hq.authentications == 1
    assert {len(t.children) for t in world.hq.tunnels} == {2}


def test_not_while_something_moves() -> None:
    """At a calm moment: all tunnels work where they are."""
    world = up(gateway=Gateway(leases=True))
    world.dead = {"eth1", "eth0", "eth2"}
    world.link_down("eth1")
    world.connection = changed(ROAD_WARRIOR)
    world._seen_all()
    world.run(3)

    assert len(world.actions(a.CreateIke)) == 1


OTHER = "203.0.113.9"


@pytest.mark.parametrize("known", [True, False])
def test_other_addresses(known: bool) -> None:
    """The family goes there, tested; where it is not `known`, a new one is there before it goes."""
    world = up(gateway=Gateway(leases=True))
    old = set(world.sas)
    answered = world.answered
    world.answered = lambda sa, pair: (  # type: ignore[method-assign]
        answered(sa, pair) and (known or sa.unique_id not in old or str(pair.remote) != OTHER)
    )
    never_without(world)
    world.connection = replace(ROAD_WARRIOR, remote_addrs=(OTHER,))
    world._seen_all()
    world.run(120)

    assert (world.hq.state, world.hq.authentications) == ("up", 1 if known else 2)
    assert {str(sa.remote) for sa in world.sas.values()} == {OTHER}
    assert world.seats() == {f"eth{i}/{OTHER}": f"eth{i}/{OTHER}" for i in range(3)}
    assert bool(old & set(world.sas)) is known


def test_one_address_more_or_less() -> None:
    """The family moves by itself."""
    world = up()
    world.connection = replace(ROAD_WARRIOR, remote_addrs=(OTHER, GATEWAY))
    world._seen_all()
    world.run(60)
    world.connection = replace(ROAD_WARRIOR, remote_addrs=(OTHER,))
    world._seen_all()
    world.run(60)

    assert world.hq.authentications == 1
    assert {str(sa.remote) for sa in world.sas.values()} == {OTHER}


# --- an authentication per path --------------------------------------------------------

EACH = THREE.replace("spares: 0", "without_clone: authenticate")


def each(**kinds: object) -> World:
    return up(text=EACH, gateway=Gateway(clones=False), **kinds).run(3)


def test_an_authentication_per_path() -> None:
    """Where nothing can be cloned: three families, each at home with an address of its own."""
    world = each()

    assert (world.hq.mode, world.hq.state) == ("authenticate", "up")
    assert world.hq.authentications == 3
    assert world.seats() == AT_HOME
    assert len(inner(world)) == 3
    before = len(world.log)
    world.run(25)
    quiet = a.Migrate | a.Probe | a.ReadAll
    assert [x for _, x in world.log[before:] if not isinstance(x, quiet)] == []


def test_each_of_them_is_moved_and_goes_home() -> None:
    """They are tunnels as others are."""
    world = each()
    world.link_down("eth1")
    world.run(1)
    assert world.seats() == {**AT_HOME, E1: E0}
    world.link_up("eth1")
    world.run(8)

    assert world.seats() == AT_HOME
    assert world.hq.authentications == 3


def test_one_that_the_peer_closes_is_made_again() -> None:
    """On its own path; the others are left alone."""
    world = each()
    gone = next(t for t in world.hq.tunnels if t.home == E1)
    world.peer_deletes(gone.ike_id)
    world.run(10)

    assert world.seats() == AT_HOME
    assert world.hq.authentications == 4


def test_a_successor_of_the_controller_adopts_them_all() -> None:
    """No authentication, nothing closed."""
    world = each()
    before = set(world.sas)
    world.restart_controller()
    world.run(40)

    assert set(world.sas) == before
    assert (world.hq.authentications, world.seats()) == (0, AT_HOME)


def test_a_path_that_does_not_answer_is_left_to_later() -> None:
    """The others work meanwhile; it gets its own once it does."""
    world = World(text=EACH, gateway=Gateway(clones=False))
    world.dead = {"eth1"}
    world.start().run(20)
    assert {E0, E2} <= world.seats().keys()
    world.dead = set()
    world.run(75)

    assert world.seats() == AT_HOME


# --- places of inner addresses ------------------------------------------------------------

A, B, C, D = (ip_address(f"10.9.0.{i}") for i in (1, 2, 3, 4))
X, Y = (ip_address(f"fd00::{i}") for i in (1, 2))


@pytest.mark.parametrize(
    ("before", "families", "after"),
    [
        ((), [(A, B)], ((A,), (B,))),
        ((), [(A, B, X, Y)], ((A, X), (B, Y))),
        (((A,), (B,)), [(B, A)], ((A,), (B,))),
        (((A,), (B,)), [(A, B), (C, D)], ((A,), (B,), (C,), (D,))),
        (((A,), (B,), (C,), (D,)), [(C, D)], ((), (), (C,), (D,))),
        (((), (), (C,)), [(C,), (A,)], ((A,), (), (C,))),
        (((A,), (B,)), [(A,)], ((A,),)),
        (((A, X), (B, Y)), [(A, B, Y, X)], ((A, X), (B, Y))),
    ],
)  # fmt: skip
def test_an_address_keeps_its_place(
    before: tuple[object, ...], families: list[object], after: tuple[object, ...]
) -> None:
    """Table, rule and interface id hang on it."""
    assert merged(before, families) == after  # type: ignore[arg-type]


def test_places_of_one_family() -> None:
    """Only those whose addresses it has."""
    assert own(((A,), (), (C,), (D,)), (D, A)) == (0, 3)


# --- more inner addresses -------------------------------------------------------------

NARROW = THREE.replace("eth0, eth1, eth2", "eth0")


def test_links_that_are_added_get_addresses() -> None:
    """One was asked for; with three links a second family asks for three, beside the first."""
    world = up(text=NARROW, gateway=Gateway(leases=True))
    before = inner(world)
    assert len(before) == 1
    never_without(world)
    world.configure(THREE)
    world.run(30)

    assert (world.hq.state, world.hq.why) == ("up", "")
    assert world.seats() == AT_HOME
    assert before < inner(world)
    assert len({sa.family for sa in world.sas.values()}) == 1


def test_a_peer_that_gives_no_more_is_asked_once() -> None:
    """What it gave is used; another authentication would get the same."""
    world = up(text=NARROW, gateway=Gateway(leases=True, addresses=2))
    never_without(world)
    world.configure(THREE)
    world.run(600)

    asked = [x for _, x in world.log if isinstance(x, a.CreateIke)]
    assert [len(x.vips) for x in asked] == [0, 3]
    assert len(world.seats()) == 2
    assert "2 inner addresses for 3 tunnels" in world.hq.why


@pytest.fixture
def hour(monkeypatch: pytest.MonkeyPatch) -> float:
    """Until the peer is asked again, made short."""
    monkeypatch.setattr(authentication, "CHILDLESS_DELAY", 300.0)
    return 300.0


def test_a_peer_that_wants_a_child_at_once_is_asked_once_an_hour(hour: float) -> None:
    """No RFC 6023: each authentication gets one address. IKE_SA_INIT tells; what works stays."""
    world = up(gateway=Gateway(leases=True, childless=False))
    assert len(world.actions(a.CreateIke)) == 2  # childless, and not
    never_without(world)
    sas = set(world.sas)
    world.run(2.1 * hour)

    asked = [x for x in world.actions(a.CreateIke) if isinstance(x, a.CreateIke)]
    assert [x.childless for x in asked] == [True, False, True, True]
    assert (world.hq.authentications, set(world.sas)) == (1, sas)
    assert "1 inner address for 3 tunnels" in world.hq.why


def test_a_peer_that_wants_no_child_any_more_has_its_tunnels(hour: float) -> None:
    """Its configuration was mended, and nothing else happened: a family follows."""
    world = up(gateway=Gateway(leases=True, childless=False))
    world.gateway.childless = True
    never_without(world)
    world.run(hour + 30)

    assert (world.hq.state, world.hq.why, world.hq.authentications) == ("up", "", 2)
    assert world.seats() == AT_HOME
    assert len({sa.family for sa in world.sas.values()}) == 1


@pytest.mark.parametrize("who", ["charon", "gateway"])
def test_a_new_beginning_forgets_what_the_peer_wanted(who: str) -> None:
    """charon is started anew, or the gateway, as a newer one."""
    world = up(gateway=Gateway(childless=False))
    world.gateway.childless = True
    if who == "charon":
        world.lose_charon(with_sas=True)
        world.connect()
    for ike_id in list(world.sas):
        world.peer_deletes(ike_id)
    world.run(20)

    assert (world.hq.state, world.hq.why) == ("up", "")
    assert world.seats() == AT_HOME


def test_a_spare_is_no_reason_to_authenticate() -> None:
    """A new link takes it: the family is as large as it can be, and has a tunnel on each path."""
    world = up(text=SPARE.replace("eth0, eth1, eth2", "eth0, eth1"))
    world.configure(SPARE)
    world.run(600)

    assert len([x for _, x in world.log if isinstance(x, a.CreateIke)]) == 1
    assert len(world.seats()) == 3


FOUR = THREE.replace("eth2", "eth2, eth3")
POORER = {"one address": {"addresses": 1}, "two": {"addresses": 2}, "no cloning": {"clones": False}}


def authentications(world: World) -> int:
    return len([x for _, x in world.log if isinstance(x, a.CreateIke)])


@pytest.mark.parametrize("poorer", POORER.values(), ids=POORER)
def test_what_gives_no_more_does_not_follow(poorer: dict[str, Any]) -> None:
    """Whoever lowered the gateway's limits meanwhile: the family that has three keeps them."""
    world = up(gateway=Gateway(leases=True))
    world.links["eth3"] = link(3)
    world.see_links()
    before = {sa.unique_id for sa in world.sas.values()}
    never_without(world)
    vars(world.gateway).update(poorer)
    world.configure(FOUR)
    world.run(900)

    assert {sa.unique_id for sa in world.sas.values()} == before
    assert len(world.seats()) == 3
    assert authentications(world) == 2


def test_a_peer_that_refuses_more_is_not_asked_each_minute() -> None:
    """Its log, its RADIUS server and its one-time passwords are not ours."""
    world = up(text=NARROW, gateway=Gateway(leases=True))
    world.gateway.refuses = True
    world.configure(THREE)
    world.run(900)

    assert authentications(world) == 2
    assert world.hq.state != "down"


def test_a_peer_that_replaces_is_not_asked_again_for_more() -> None:
    """`unique = replace`: the first link that was added cost the family, the second does not."""
    world = up(text=NARROW, gateway=Gateway(replaces=True))
    world.configure(THREE.replace("eth1, eth2", "eth1"))
    world.run(600)
    asked = authentications(world)
    world.configure(THREE)
    world.run(600)

    assert authentications(world) == asked
    assert world.hq.state != "down"


def test_a_link_in_the_place_of_another_needs_no_authentication() -> None:
    """The tunnel of the one that goes moves to the one that comes."""
    world = up(text=THREE.replace("eth1, eth2", "eth1"), gateway=Gateway(leases=True))
    before = {sa.unique_id for sa in world.sas.values()}
    never_without(world)
    world.configure(THREE.replace("eth1, eth2", "eth2"))
    world.run(60)

    assert {sa.unique_id for sa in world.sas.values()} == before
    assert set(world.seats().values()) == {f"eth{i}/{GATEWAY}" for i in (0, 2)}


def test_what_is_refused_does_not_follow() -> None:
    """`without_clone: refuse` and a gateway that no longer clones: what works is driven on."""
    text = THREE.replace("spares: 0", "spares: 0, without_clone: refuse")
    world = up(text=text, gateway=Gateway(leases=True))
    world.gateway.clones = False
    world.connection = changed(ROAD_WARRIOR)
    world._seen_all()
    world.run(60)
    world.link_down("eth0")
    world.run(10)

    assert world.hq.state == "degraded"
    assert len(world.seats()) == 3
    assert E0 not in world.seats().values()
