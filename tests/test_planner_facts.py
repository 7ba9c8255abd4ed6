# SPDX-License-Identifier: Apache-2.0
"""Facts that no world would tell in this order: the planner stays on its feet.

SAs that come from nowhere, ends of actions that nobody asked for, links with others' addresses.
Whatever it was told, it asks only for what can be asked, and once the facts are true again it
finds its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_interface

from hypothesis import given, note
from hypothesis import strategies as st

from tests.simulated import ROAD_WARRIOR, SITE, THREE, World
from tests.thorough import thorough
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.model import Child, Connection, Link, OrderKind, ProbeWish, Sa, Verdict
from vici_mif.core.wish.config import Source, parse

MOST_AT_ONCE = 40
"""Actions that may follow from one fact."""

LOCALS = [IPv4Address(f"198.18.{i}.2") for i in (0, 1, 2, 9)]
REMOTES = [IPv4Address("203.0.113.1"), IPv4Address("203.0.113.9")]
VIPS = [IPv4Address("10.9.0.1"), IPv4Address("10.9.0.2"), LOCALS[0]]
STATES = ["CREATED", "CONNECTING", "ESTABLISHED", "REKEYING", "REKEYED", "DELETING", "NEW", ""]
REASONS = ["timeout", "limit", "busy", "sa-gone", "superseded", "disabled", "not-negotiated"]
REASONS += ["unacceptable-addresses", "no-mobike", "no-route", "peer-refused", "failed", "odd"]

PROBED = THREE.replace("spares: 0", "spares: 0, probe: {targets: [10.100.0.1]}")


@dataclass(frozen=True)
class Found:
    """A verdict about a tunnel that is watched, or was."""

    back: int
    verdict: Verdict
    proof: bool
    loss: float | None
    rtt_delay: float | None


numbers = st.integers(1, 6)
names = st.sampled_from(["hq", "hq", "hq", "other", ""])
texts = st.sampled_from(["eth0", "eth1/203.0.113.1", "eth*", "/", "", "nothing/at/all"])
children = st.builds(
    Child,
    name=st.sampled_from(["net", "net@eth0/203.0.113.1", "lan", "net@", "@eth0/x", ""]),
    unique_id=numbers,
    state=st.sampled_from(["INSTALLED", "REKEYING", "DELETING", "CREATED"]),
    local_ts=st.sampled_from([(), ("10.9.0.1/32",), ("10.9.0.2/32[tcp]",), ("dynamic",)]),
    remote_ts=st.sampled_from([(), ("10.100.0.0/16",), ("0.0.0.0/0", "::/0")]),
    encryption=st.sampled_from(["AES_GCM_16", "AES_CBC", "odd", ""]),
)
sas = st.builds(
    Sa,
    unique_id=numbers,
    name=names,
    state=st.sampled_from(STATES),
    local=st.sampled_from(LOCALS),
    remote=st.sampled_from(REMOTES),
    original_initiator=st.booleans(),
    spi_in=st.sampled_from(["", "0123"]),
    local_vips=st.lists(st.sampled_from(VIPS), max_size=3).map(tuple),
    family=st.sampled_from([None, 1, 2]),
    cloned=st.booleans(),
    clone_supported=st.booleans(),
    mobike=st.booleans(),
    rekey_delay=st.sampled_from([None, 1.0, 3600.0]),
    tasks_active=st.sampled_from([(), ("IKE_DELETE",)]),
    children=st.lists(children, max_size=3).map(tuple),
)
links = st.builds(
    Link,
    name=st.sampled_from(["eth0", "eth1", "eth2", "wwan0"]),
    index=numbers,
    up=st.booleans(),
    mtu=st.sampled_from([0, 68, 1280, 1500, 65535]),
    addresses=st.lists(
        st.sampled_from([ip_interface(f"{x}/24") for x in LOCALS] + [ip_interface("fd00::2/64")]),
        max_size=2,
    ).map(tuple),
)
connections = st.sampled_from([(), (ROAD_WARRIOR,), (SITE,), (ROAD_WARRIOR, Connection("other"))])
facts = st.one_of(
    st.builds(
        e.CharonConnected,
        version=st.just("6.1.0"),
        patched=st.booleans(),
        plugins=st.sampled_from([frozenset(), frozenset({"kernel-libipsec"})]),
    ),
    st.builds(e.CharonGone, why=st.just("connection refused")),
    st.builds(e.ConnectionsSeen, connections),
    st.builds(e.SasSeen, st.lists(sas, max_size=5, unique_by=lambda sa: sa.unique_id).map(tuple)),
    st.builds(e.SaSeen, sas),
    st.builds(e.SaGone, numbers),
    st.builds(e.SaClosed, sas, st.just("2026-11-20T21:00:00Z")),
    st.builds(e.SaRekeyed, numbers, sas),
    st.builds(e.LinksSeen, st.lists(links, max_size=4, unique_by=lambda x: x.name).map(tuple)),
    st.builds(e.NameResolved, st.just("gw"), st.lists(st.sampled_from(REMOTES)).map(tuple)),
    st.builds(
        e.OrderGiven,
        st.sampled_from(OrderKind),
        st.sampled_from(["", "hq", "nobody"]),
        st.just("2026-11-20T21:00:00Z"),
        texts,
    ),
    st.builds(e.OrderCleared, id=st.sampled_from([None, 1, 2]), path=texts),
    st.builds(e.Woke, st.floats(0, 1e6)),
    st.builds(e.DayBegan, st.sampled_from(["2026-11-20", "2026-11-21"])),
    st.builds(e.ConfigRead, st.sampled_from([parse([Source("c", t)]) for t in (THREE, PROBED)])),
    st.just(e.Ticked()),
)
ends = st.tuples(
    st.integers(0, 30), st.sampled_from(["taken", "done", *REASONS]), st.none() | numbers
)
verdicts = st.builds(
    Found,
    back=st.integers(0, 5),
    verdict=st.sampled_from(Verdict),
    proof=st.booleans(),
    loss=st.sampled_from([None, 0.0, 1.0]),
    rtt_delay=st.sampled_from([None, 0.0, 5.0]),
)
steps = st.lists(st.tuples(facts | ends | verdicts, st.floats(0, 40)), max_size=40)


def ended(tags: list[str], step: tuple[int, str, int | None]) -> e.Event:
    """The end of an action of late, or of one that nobody knows."""
    back, how, ike_id = step
    tag = tags[-1 - back] if back < len(tags) else "mif-0"
    match how:
        case "taken":
            return e.ActionTaken(tag, ike_id)
        case "done":
            return e.ActionDone(tag, ike_id=ike_id, rtt_delay=0.01)
        case reason:
            return e.ActionFailed(tag, reason, "")


def told(
    step: e.Event | Found | tuple[int, str, int | None], tags: list[str], watched: list[ProbeWish]
) -> e.Event | None:
    """The fact of a step; None for a verdict while nothing is watched."""
    if isinstance(step, Found):
        if not watched:
            return None
        wish = watched[-1 - step.back % len(watched)]
        found = {"loss": step.loss, "rtt_delay": step.rtt_delay}
        return e.PathHealth(wish, step.verdict, step.proof, **found)
    return ended(tags, step) if isinstance(step, tuple) else step


class Witness:
    """What was told, to compare what is asked with."""

    def __init__(self, world: World) -> None:
        self.planner = world.planner

    def allows(self, action: a.Action) -> None:
        """Nothing is asked of a charon that is not there, nor of what is not ours."""
        known = self.planner.world
        if isinstance(action, a.CharonAction):
            assert known.charon is not None, action
        if isinstance(action, a.Migrate | a.Probe | a.Clone | a.CreateChild | a.Terminate):
            sa = (known.sas or {}).get(action.ike_id)
            assert sa is not None, action
            assert sa.name == "hq", action
        if isinstance(action, a.Migrate | a.Probe | a.CreateIke):
            there = [i.ip for link in known.links or () if link.up for i in link.addresses]
            assert action.pair.local in there, action


@thorough(10)
@given(steps=steps)
def test_no_fact_brings_it_down_and_none_makes_it_ask_wrongly(
    steps: list[tuple[e.Event | Found | tuple[int, str, int | None], float]],
) -> None:
    """No exception, at most 40 actions for a fact, no deadline in the past, a status at any time.

    And afterwards, when what is told is true again, all three tunnels within 250 s.
    """
    world = World(text=PROBED)
    witness = Witness(world)
    tags: list[str] = []
    watched: list[ProbeWish] = []
    for step, span in steps:
        world.now += span
        event = told(step, tags, watched)
        if event is None:
            continue
        wanted = world.planner.handle(event, world.now)
        assert len(wanted) <= MOST_AT_ONCE
        for action in wanted:
            witness.allows(action)
            tags.append(action.tag)
            watched += action.wish if isinstance(action, a.Watch) else ()
        deadline = world.planner.next_deadline()
        assert deadline is None or deadline > world.now
        world.planner.status(world.now, datetime(2026, 1, 1, tzinfo=UTC)).to_json()

    world.planner.handle(e.ConfigRead(parse([Source("c", THREE)])), world.now)
    world.start().run(250)
    note(f"{world.hq.state}: {world.hq.why}; {world.seats()}")
    assert world.hq.state == "up"
    assert all(home == current for home, current in world.seats().items())
