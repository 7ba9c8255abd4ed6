# SPDX-License-Identifier: Apache-2.0
"""Which of several peers carries: the rules, then the planner with two gateways."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from tests.simulated import ROAD_WARRIOR, SITE, Gateway, World, link
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.byhand.progress import LEAVING, WAITS
from vici_mif.core.model import ChildTemplate, Connection, OrderKind
from vici_mif.core.peers.alternatives import (
    ABANDON_DELAY,
    LEAVE_DELAY,
    LOST_DELAY,
    START_DELAY,
    Alternatives,
    Rival,
    Role,
    protects,
)
from vici_mif.core.status import PeerStatus

NET = frozenset({("dynamic", ip_network("10.100.0.0/16"))})
OTHER = frozenset({("dynamic", ip_network("10.200.0.0/16"))})
HOLD = 5.0


def rival(name: str, rank: int, does: str = "", what: frozenset = NET, **more: bool) -> Rival:  # type: ignore[type-arg]
    """`does`: carries, stands, is dead (with IKE SAs), or nothing."""
    states = {"wanted": True, "hopeless": False} | more
    carries, stands = does == "carries", does in {"carries", "stands"}
    alive = does != ""
    return Rival(name, rank, what, HOLD, carries=carries, stands=stands, alive=alive, **states)


def roles(it: Alternatives, now: float, *rivals: Rival) -> dict[str, Role]:
    return it.see(rivals, now)


def behind(it: Alternatives, now: float, *rivals: Rival) -> dict[str, str]:
    return {name: role.behind for name, role in it.see(rivals, now).items()}


def test_the_best_ranked_begins_alone() -> None:
    """The next waits for its first try, and not for ever."""
    it = Alternatives()
    both = rival("a", 1), rival("b", 2)

    assert behind(it, 0.0, *both) == {"a": "", "b": "a"}
    assert behind(it, START_DELAY - 0.1, *both) == {"a": "", "b": "a"}
    assert behind(it, START_DELAY, *both) == {"a": "", "b": ""}


def test_no_waiting_for_one_that_tried_everything() -> None:
    """Or has no link to try, or was taken down."""
    for more in ({"hopeless": True}, {"wanted": False}):
        it = Alternatives()
        assert behind(it, 0.0, rival("a", 1, **more), rival("b", 2))["b"] == ""


def test_while_the_first_carries_the_next_stands_by() -> None:
    """Also long after."""
    it = Alternatives()
    for now in (0.0, 100.0, 1000.0):
        assert behind(it, now, rival("a", 1, "carries"), rival("b", 2))["b"] == "a"


def test_the_next_begins_when_the_first_is_lost() -> None:
    """After the moment that a move takes; and then the first waits with its children."""
    it = Alternatives()
    behind(it, 0.0, rival("a", 1, "carries"), rival("b", 2))

    assert behind(it, LOST_DELAY - 0.1, rival("a", 1), rival("b", 2))["b"] == "a"
    assert behind(it, LOST_DELAY, rival("a", 1), rival("b", 2))["b"] == ""
    carrying = roles(it, 3.0, rival("a", 1), rival("b", 2, "carries"))
    assert carrying == {"a": Role(instead="b"), "b": Role()}
    assert roles(it, 3.0, rival("a", 1, "carries"), rival("b", 2, "carries"))["a"].contested
    assert carrying["a"].waits(1e9)


def test_the_better_one_returns_after_its_hold_down() -> None:
    """It stands, opens its children, carries; only then the other stands by."""
    it = Alternatives()
    standing = roles(it, 10.0, rival("a", 1, "stands"), rival("b", 2, "carries"))
    assert standing == {"a": Role(instead="b", free_at=15.0), "b": Role()}
    assert standing["a"].waits(14.9)
    assert not standing["a"].waits(15.0)

    assert behind(it, 15.0, rival("a", 1, "stands"), rival("b", 2, "carries"))["b"] == ""
    both = rival("a", 1, "carries"), rival("b", 2, "carries")
    assert behind(it, 15.1, *both)["b"] == ""
    assert it.order(both, 15.1) == ["a", "b"]
    assert behind(it, 15.1 + LEAVE_DELAY, *both)["b"] == "a"


def test_a_better_one_that_breaks_begins_its_hold_down_anew() -> None:
    """Who carries stays."""
    it = Alternatives()
    b = rival("b", 2, "carries")
    roles(it, 0.0, rival("a", 1, "carries"), b)
    roles(it, 4.0, rival("a", 1), b)

    assert behind(it, 6.0, rival("a", 1, "carries"), b)["b"] == ""
    assert behind(it, 10.9, rival("a", 1, "carries"), b)["b"] == ""
    assert it.order([rival("a", 1, "carries"), b], 10.9) == ["b", "a"]
    assert behind(it, 11.0, rival("a", 1, "carries"), b)["b"] == ""
    assert it.order([rival("a", 1, "carries"), b], 11.0) == ["a", "b"]
    assert behind(it, 11.0 + LEAVE_DELAY, rival("a", 1, "carries"), b)["b"] == "a"


def test_dead_sas_are_given_up_while_another_carries() -> None:
    """And only then."""
    it = Alternatives()
    b = rival("b", 2, "carries")
    roles(it, 0.0, rival("a", 1, "dead"), b)

    assert not roles(it, ABANDON_DELAY - 0.1, rival("a", 1, "dead"), b)["a"].abandons
    assert roles(it, ABANDON_DELAY, rival("a", 1, "dead"), b)["a"].abandons
    assert not roles(it, ABANDON_DELAY, rival("a", 1, "dead"), rival("b", 2))["a"].abandons


def test_equal_ranks_are_independent() -> None:
    """Both up."""
    it = Alternatives()

    assert behind(it, 0.0, rival("a", 1, "carries"), rival("b", 1)) == {"a": "", "b": ""}


def test_one_that_leaves_comes_behind_all_others() -> None:
    """Also behind one of equal rank; while it carries nobody closes it before another does."""
    for rank in (1, 2):
        it = Alternatives()
        leaving = rival("a", 1, "carries", leaves=True)
        begun = roles(it, 10.0, leaving, rival("b", rank, "stands"))
        assert begun == {"a": Role(heir="b"), "b": Role(instead="a", free_at=15.0)}
        assert behind(it, 15.0, leaving, rival("b", rank, "carries"))["a"] == ""
        assert behind(it, 17.0, leaving, rival("b", rank, "carries"))["a"] == "b"


def test_one_that_leaves_and_has_no_heir_stays() -> None:
    """Nobody else protects the same, or the other is down by hand, or answers nowhere."""
    leaving = rival("a", 1, "carries", leaves=True)
    others = (
        rival("b", 2, "carries", what=OTHER),
        rival("b", 2, wanted=False),
        rival("b", 2, hopeless=True),
    )
    for other in others:
        it = Alternatives()
        for now in (0.0, 100.0):
            assert roles(it, now, leaving, other)["a"] == Role()


def test_something_of_its_own_is_never_given_up() -> None:
    """Part of it is carried by a better one: it is up all the same."""
    it = Alternatives()

    assert behind(it, 0.0, rival("a", 1, "carries"), rival("b", 2, what=NET | OTHER))["b"] == ""
    assert behind(it, 0.0, rival("a", 1, "carries"), rival("b", 2, what=OTHER))["b"] == ""


def test_two_better_ones_may_cover_together() -> None:
    """What it protects is carried, by whomever."""
    it = Alternatives()
    better = rival("a", 1, "carries"), rival("b", 2, "carries", what=OTHER)

    assert behind(it, 0.0, *better, rival("c", 3, what=NET | OTHER))["c"] == "a"


def test_a_chain_of_three() -> None:
    """The second carries for the first, the third stays behind the second."""
    it = Alternatives()
    found = behind(it, 100.0, rival("a", 1, hopeless=True), rival("b", 2, "carries"), rival("c", 3))

    assert found == {"a": "", "b": "", "c": "b"}


def test_whose_routes_come_first() -> None:
    """Who carries; one that has returned only after its hold-down."""
    it = Alternatives()
    a, b = rival("a", 1, "carries"), rival("b", 2, "carries")
    it.see([a, b], 0.0)

    assert it.order([a, b], 1.0) == ["b", "a"]
    assert it.order([a, b], HOLD) == ["a", "b"]
    assert it.order([rival("a", 1), b], 1.0) == ["b", "a"]


def test_what_children_protect() -> None:
    """Both sides as the templates write them."""
    site = protects(SITE.children)

    assert ("10.1.0.0/16", ip_network("10.2.0.0/16")) in site
    assert protects([ChildTemplate("x")]) == frozenset()
    assert protects([ChildTemplate("x", "PASS", (), ("10.0.0.0/8",))]) == frozenset()


# --- two gateways -------------------------------------------------------------------

FIRST, SECOND = "203.0.113.1", "198.51.100.9"
BACKUP = replace(ROAD_WARRIOR, name="backup", remote_addrs=(SECOND,))
TWO = """
version: 1
connections:
  hq: {links: [eth0, eth1]}
  backup: {links: [eth0, eth1]}
"""


def world(
    backup: Connection = BACKUP, text: str = TWO, gateway: Gateway | None = None, **more: object
) -> World:
    return World(
        text=text,
        links={f"eth{i}": link(i) for i in range(2)},
        more={"backup": (backup, gateway or Gateway())},
        **more,  # type: ignore[arg-type]
    )


def peer(it: World, name: str) -> PeerStatus:
    return next(p for p in it.status.peers if p.name == name)


def state(it: World) -> dict[str, str]:
    return {p.name: p.state for p in it.status.peers}


def dies(it: World, name: str) -> None:
    """The gateway is gone, and charon has noticed on every IKE SA."""
    address = FIRST if name == "hq" else SECOND
    it.dead_remotes = it.dead_remotes | {address}
    for ike_id in [i for i, sa in it.sas.items() if sa.name == name]:
        sa = it.sas.pop(ike_id)
        it.feed(e.SaClosed(replace(sa, state="DELETING")))
        it.feed(e.SaGone(ike_id))


def returns(it: World, name: str) -> None:
    it.dead_remotes = it.dead_remotes - {FIRST if name == "hq" else SECOND}


def by_default(it: World) -> set[str]:
    """The source of unbound sockets."""
    table = it.planner.peers["hq"].children.numbers.default_table
    return {str(r.prefsrc) for r in it.steering.routes if r.table == table and r.device}


def carrying(it: World) -> set[str]:
    return {sa.name for sa in it.working()}


def test_the_second_stands_by_without_an_ike_sa() -> None:
    """Nothing is asked of its gateway; exit status 0."""
    it = world().start().run(60)

    assert state(it) == {"hq": "up", "backup": "standby"}
    assert peer(it, "backup").why == "hq carries the same traffic"
    assert {sa.name for sa in it.sas.values()} == {"hq"}
    assert it.status.exit_code == 0


def test_one_gateway_dies_and_comes_back() -> None:
    """The other takes over, the better one returns after its hold-down, made before broken."""
    it = world().start().run(10)
    dies(it, "hq")
    it.run(2.5)
    assert carrying(it) == {"backup"}
    assert by_default(it) == {"10.19.0.1"}
    it.run(60)
    assert state(it) == {"hq": "down", "backup": "up"}
    assert "backup carries in its place" in peer(it, "hq").why
    returns(it, "hq")
    gaps: list[float] = []
    end = it.now + 120
    while it.now < end and state(it)["backup"] != "standby":
        it.run(0.05)
        if not carrying(it):
            gaps.append(it.now)
    it.run(5)

    assert gaps == []
    assert state(it) == {"hq": "up", "backup": "standby"}
    assert by_default(it) == {"10.9.0.1"}
    assert {sa.name for sa in it.sas.values()} == {"hq"}


def test_the_better_one_stands_for_its_hold_down_before_its_first_child() -> None:
    """Standing begins with the authentication."""
    it = world().start().run(10)
    dies(it, "hq")
    it.run(30)
    returns(it, "hq")
    before = len(it.log)
    it.run(120)
    asked = [(at, x) for at, x in it.log[before:] if isinstance(x, a.CreateIke | a.CreateChild)]
    begun = max(at for at, x in asked if isinstance(x, a.CreateIke))
    opened = min(at for at, x in asked if isinstance(x, a.CreateChild))

    assert 5.0 <= opened - begun <= 6.0


def test_a_first_gateway_that_never_answers() -> None:
    """The second carries within seconds."""
    it = world()
    it.dead_remotes = {FIRST}
    it.start().run(START_DELAY + 1)

    assert carrying(it) == {"backup"}


def test_a_first_gateway_that_refuses() -> None:
    """Wrong credentials are known at once."""
    it = world(gateway=Gateway())
    it.gateway.refuses = True
    it.start().run(2)

    assert carrying(it) == {"backup"}


def test_a_start_without_links_chooses_the_first() -> None:
    """No link is no reason to prefer the second once there is one."""
    it = world()
    for name in it.links:
        it.links[name] = link(int(name[-1]), up=False)
    it.start().run(30)
    it.link_up("eth0")
    it.run(20)

    assert carrying(it) == {"hq"}
    assert {x.connection for x in it.actions(a.CreateIke)} == {"hq"}  # type: ignore[union-attr]


def test_down_hands_over_and_up_takes_back() -> None:
    """`down hq` is an order about hq alone."""
    it = world().start().run(10)
    it.feed(e.OrderGiven(OrderKind.DOWN, "hq", "2026-01-01T00:00:00Z"))
    it.run(10)
    assert carrying(it) == {"backup"}
    assert state(it) == {"hq": "down", "backup": "up"}
    it.feed(e.OrderCleared(kind=OrderKind.DOWN, peer="hq"))
    it.run(30)

    assert state(it) == {"hq": "up", "backup": "standby"}


def drain(it: World, path: str = "*", peer: str = "hq") -> None:
    it.feed(e.OrderGiven(OrderKind.DRAIN, peer, "2026-01-01T00:00:00Z", path))


def gaps(it: World, span: float) -> list[float]:
    """Moments at which nobody carried, or what carried was not where unbound sockets send."""
    found = []
    end = it.now + span
    while it.now < end:
        it.run(0.05)
        live = {str(vip) for sa in it.working() for vip in sa.local_vips}
        if not by_default(it) & live:
            found.append(it.now)
    return found


def test_a_peer_that_is_drained_hands_over_before_it_closes() -> None:
    """`path drain hq "*"`: its gateway has nothing of us then, and `undrain` takes back."""
    it = world().start().run(10)
    drain(it)
    it.run(0.1)
    assert (peer(it, "hq").state, peer(it, "hq").why) == ("degraded", LEAVING)
    assert gaps(it, 15) == []
    assert state(it) == {"hq": "standby", "backup": "up"}
    assert "path undrain hq *" in peer(it, "hq").why
    assert {path.state for path in peer(it, "hq").paths} == {"drained"}
    assert {sa.name for sa in it.sas.values()} == {"backup"}

    it.feed(e.OrderCleared(kind=OrderKind.DRAIN, peer="hq", path="*"))
    assert gaps(it, 30) == []
    assert state(it) == {"hq": "up", "backup": "standby"}
    assert {sa.name for sa in it.sas.values()} == {"hq"}


def test_a_drain_is_under_way_until_the_last_tunnel_is_closed() -> None:
    """Also while they are closed one by one: whoever waits for the drain would give up."""
    it = world().start().run(10)
    drain(it)
    seen = set()
    while any(sa.name == "hq" for sa in it.sas.values()):
        it.run(it.until_next())
        seen |= {path.why for path in peer(it, "hq").paths if path.state != "drained"}

    assert seen == {LEAVING}


def test_a_drained_peer_waits_for_one_that_works() -> None:
    """The other gateway is dead, or there is none: the last way that works is not given up."""
    it = world().start().run(10)
    it.dead_remotes = {SECOND}
    drain(it)
    assert gaps(it, 120) == []
    assert carrying(it) == {"hq"}
    it.dead_remotes = set()
    assert gaps(it, 120) == []
    assert carrying(it) == {"backup"}

    alone = World(links={f"eth{i}": link(i) for i in range(2)}).start().run(10)
    drain(alone)
    alone.run(60)
    assert (alone.hq.state, alone.hq.why) == ("degraded", WAITS)
    assert carrying(alone) == {"hq"}


def test_a_drained_peer_stays_so_over_a_restart() -> None:
    """In the middle of the handover, and after it."""
    for middle in (3.0, 30.0):
        it = world().start().run(10)
        drain(it)
        it.run(middle)
        it.restart_controller()
        it.run(60)

        assert state(it) == {"hq": "standby", "backup": "up"}
        assert carrying(it) == {"backup"}


def test_a_restart_in_the_middle_leaves_who_carries() -> None:
    """Adopted: the standby that carries goes on, and the first is tried again."""
    it = world().start().run(10)
    dies(it, "hq")
    it.run(10)
    spis = {c.spi_in for sa in it.sas.values() for c in sa.children}
    it.restart_controller()
    it.run(30)

    assert {c.spi_in for sa in it.sas.values() for c in sa.children} == spis
    assert state(it)["backup"] == "up"


def test_equal_ranks_are_both_up() -> None:
    """Ranks as the operator writes them."""
    text = TWO.replace("eth1]}", "eth1], rank: 7}")
    it = world(text=text).start().run(10)

    assert state(it) == {"hq": "up", "backup": "up"}


def test_rank_turns_the_order_of_the_file() -> None:
    """The lower number is better."""
    text = TWO.replace("hq: {links: [eth0, eth1]}", "hq: {links: [eth0, eth1], rank: 9}")
    it = world(text=text).start().run(10)

    assert state(it) == {"hq": "standby", "backup": "up"}


ELSEWHERE = replace(
    BACKUP,
    children=(ChildTemplate("net", local_ts=("dynamic",), remote_ts=("10.200.0.0/16",)),),
)


def test_independent_peers_have_tables_of_their_own() -> None:
    """No table, interface or rule of one is the other's, but the links' and the default one."""
    it = world(ELSEWHERE, plugins=frozenset()).start().run(10)
    assert state(it) == {"hq": "up", "backup": "up"}
    inner = [r for r in it.steering.rules if r.priority == 150]

    assert len({r.table for r in inner}) == len(inner) == 6
    assert len({i.name for i in it.steering.interfaces}) == 6
    assert len({i.if_id for i in it.steering.interfaces}) == 6
    assert by_default(it) == {"10.9.0.1", "10.19.0.1"}


def test_site_to_site_peers_share_one_guard() -> None:
    """Selectors of both, once."""
    elsewhere = replace(
        SITE,
        name="backup",
        remote_addrs=(SECOND,),
        children=(ChildTemplate("far", local_ts=("10.1.0.0/16",), remote_ts=("10.7.0.0/16",)),),
    )
    it = world(elsewhere, connection=SITE).start().run(10)
    assert it.guard is not None

    assert {str(s.remote) for s in it.guard.selectors} == {
        "10.2.0.0/16",
        "10.3.0.0/16",
        "10.7.0.0/16",
    }
    assert {ip_network(FIRST), ip_network(SECOND)} <= set(it.guard.exempt)


def test_site_to_site_alternatives_keep_the_guard() -> None:
    """While the first is lost and the second begins nothing protected may leave in clear."""
    it = world(replace(SITE, name="backup", remote_addrs=(SECOND,)), connection=SITE)
    it.start().run(10)
    guarded = it.guard
    dies(it, "hq")
    for _ in range(100):
        it.run(0.1)
        assert it.guard is not None
        assert guarded is not None
        assert set(it.guard.selectors) == set(guarded.selectors)
    assert carrying(it) == {"backup"}


def test_everything_behind_both() -> None:
    """0.0.0.0/0 twice: the host's own way is the main table only while nobody carries."""
    whole = (ChildTemplate("net", local_ts=("dynamic",), remote_ts=("0.0.0.0/0",)),)
    it = world(replace(BACKUP, children=whole), connection=replace(ROAD_WARRIOR, children=whole))
    it.start().run(10)

    def lives() -> bool:
        return any(r.priority == 159 for r in it.steering.rules)

    assert not lives()
    dies(it, "hq")
    it.run(10)
    assert carrying(it) == {"backup"}
    assert not lives()
    dies(it, "backup")
    it.run(1)
    assert lives()


def test_a_specific_network_does_not_fall_to_main_with_everything_else() -> None:
    """One peer has everything and is dead, the other a network of its own."""
    whole = (ChildTemplate("net", local_ts=("dynamic",), remote_ts=("0.0.0.0/0",)),)
    it = world(ELSEWHERE, connection=replace(ROAD_WARRIOR, children=whole))
    it.dead_remotes = {FIRST}
    it.start().run(10)
    unbound = {str(r.destination): r.priority for r in it.steering.rules if r.priority >= 158}

    assert unbound == {"10.200.0.0/16": 158, "None": 159}


def test_inner_addresses_of_a_lost_peer_stay_unreachable() -> None:
    """A socket bound to one of them must not leave in clear while another peer carries."""
    it = world().start().run(10)
    dies(it, "hq")
    it.run(10)
    tables = {str(r.source): r.table for r in it.steering.rules if r.priority == 150}
    routes = [r for r in it.steering.routes if r.table == tables["10.9.0.1/32"]]

    assert [(str(r.destination), r.device) for r in routes] == [("10.100.0.0/16", None)]
    assert ip_address("10.19.0.1") in {r.prefsrc for r in it.steering.routes}


# --- silence ------------------------------------------------------------------------


def test_a_gateway_that_falls_silent_is_replaced() -> None:
    """No delete, no answer: its IKE SAs stay for a while, and never seem to carry again."""
    it = world().start().run(10)
    it.dead_remotes = {FIRST}
    it.run(10)
    assert carrying(it) == {"backup"}
    before = len(it.actions(a.CreateIke))
    it.run(200)
    assert carrying(it) == {"backup"}
    assert state(it) == {"hq": "down", "backup": "up"}
    backups = [x for x in it.actions(a.CreateIke)[before:] if x.connection == "backup"]  # type: ignore[union-attr]
    assert backups == []
    returns(it, "hq")
    it.run(120)

    assert state(it) == {"hq": "up", "backup": "standby"}
    assert carrying(it) == {"hq"}


def test_a_gateway_that_was_started_anew_is_found_again() -> None:
    """It does not know the old IKE SAs: they are given up, and a new family is built."""
    it = world().start().run(10)
    it.dead_remotes = {FIRST}
    it.run(40)
    assert {sa.name for sa in it.sas.values() if sa.established} == {"backup"}
    assert all(x.force for x in it.actions(a.Terminate) if isinstance(x, a.Terminate))


def test_adopted_dead_tunnels_close_nobody() -> None:
    """A successor finds tunnels of both: what was not answered pushes nobody out."""
    it = world().start().run(10)
    it.dead_remotes = {FIRST}
    it.run(10)
    before = len(it.log)
    it.restart_controller()
    it.run(60)

    closed = [x.ike_id for _, x in it.log[before:] if isinstance(x, a.Terminate)]
    assert not [i for i in closed if i in it.sas and it.sas[i].name == "backup"]
    assert carrying(it) == {"backup"}
