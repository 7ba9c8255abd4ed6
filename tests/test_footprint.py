# SPDX-License-Identifier: Apache-2.0
"""What the next boot begins with: kept, declared, laid, and dropped with `down`."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.simulated import ROAD_WARRIOR, SITE, THREE, World
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.ground import footprint, guarding
from vici_mif.core.model import Footprint, GuardWish, OrderKind, Selector
from vici_mif.core.wish.config import Source, parse
from vici_mif.core.wish.links import LinkMatch
from vici_mif.core.wish.numbers import Numbers
from vici_mif.edges import footprints

LAN, FAR = ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")
ROAD = Footprint(
    "hq",
    per_path=True,
    kernel_esp=False,
    slots=((ip_address("10.9.0.1"),), (ip_address("10.9.0.2"), ip_address("fd09::2"))),
    remotes=(ip_network("10.100.0.0/16"), ip_network("fd00:100::/64")),
    bare=frozenset({1}),
)
BRANCH = Footprint(
    "branch",
    per_path=False,
    guard=GuardWish((Selector(LAN, FAR),), ("eth0",), (ip_network("203.0.113.1/32"),)),
)
INLINE = """
version: 1
connections:
  hq:
    links: [eth0, "wwan*", "wlan[01]"]
    connection:
      remote_addrs: [203.0.113.1]
      VIPS
      children:
        net: {LOCAL remote_ts: 10.100.0.0/16}
        own: {local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0, if_id_out: 42}
"""


def inline(vips: str = "", local: str = "") -> Footprint | None:
    text = INLINE.replace("VIPS", vips or "mobike_dpd: x").replace("LOCAL", local)
    wish = parse([Source("c", text.replace("      mobike_dpd: x\n", ""))]).connections["hq"]
    known = footprint.declared("hq", wish)
    return known and footprint.at_boot(known, wish)


def test_kept_and_read_again(tmp_path: Path) -> None:
    """The file is for root alone, and what comes out is what went in."""
    footprints.write(tmp_path, [ROAD, BRANCH])

    assert footprints.read(tmp_path) == (ROAD, BRANCH)
    assert stat.S_IMODE((tmp_path / footprints.NAME).stat().st_mode) == 0o600


def test_nothing_kept_is_no_file(tmp_path: Path) -> None:
    """The last peer that is taken down takes the file with it."""
    footprints.write(tmp_path, [ROAD, BRANCH])
    footprints.forget(tmp_path, ["hq"])
    assert footprints.read(tmp_path) == (BRANCH,)

    footprints.forget(tmp_path, ["branch"])
    assert list(tmp_path.iterdir()) == []
    footprints.forget(tmp_path, ["branch"])


BROKEN = {
    "no JSON": "{",
    "another schema": '{"schema": "vici-mif/footprints/9", "peers": {}}',
    "no peers": '{"schema": "vici-mif/footprints/1"}',
    "a list": "[]",
    "an address that is none": json.dumps(
        {
            "schema": "vici-mif/footprints/1",
            "peers": {
                "hq": {"per_path": True, "kernel_esp": True, "slots": [["10.9.0.256"]],
                       "remotes": [], "bare": [], "guard": None},
            },
        }
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    """Where it is and what to do."""
    (tmp_path / footprints.NAME).write_text(text)

    with pytest.raises(footprints.FootprintsError, match=r"footprints\.json"):
        footprints.read(tmp_path)
    footprints.forget(tmp_path, ["hq"])
    assert footprints.read(tmp_path) == ()


def test_an_inline_connection_declares_itself() -> None:
    """With virtual IPs the networks behind the peer, without them source and destination."""
    assert inline(vips="vips: 0.0.0.0") == Footprint(
        "hq", per_path=True, remotes=(ip_network("10.100.0.0/16"), ip_network("0.0.0.0/0"))
    )
    site = inline(local="local_ts: 10.1.0.0/16,")
    assert site is not None
    assert site.guard == GuardWish(
        (Selector(LAN, ip_network("10.100.0.0/16")),),
        ("eth0", "wwan*", "wlan*"),
        (ip_network("203.0.113.1/32"),),
    )


def test_without_an_inline_connection_charon_must_tell() -> None:
    """Two lines alone name nothing that could be guarded."""
    wish = parse([Source("c", THREE)]).connections["hq"]

    assert footprint.declared("hq", wish) is None


@pytest.mark.parametrize(
    ("pattern", "known"), [("eth0", "eth0"), ("wwan*", "wwan*"), ("w[lw]an?", "w*"), ("*", "*")]
)
def test_patterns_are_widened(pattern: str, known: str) -> None:
    """A link that the configuration would take is never left out."""
    assert footprint.wildcard(LinkMatch(match=pattern)) == known


def test_steering_at_boot_has_no_device() -> None:
    """Sources of ours and networks of the peer lead to `unreachable`; links are not named."""
    made = footprint.steering(Numbers((7791, 7890), (150, 169)), ROAD)

    assert {str(r.source) for r in made.rules if r.source} == {"10.9.0.1/32"}
    assert {str(r.destination) for r in made.rules if r.destination} == {
        "10.100.0.0/16",
        "fd00:100::/64",
    }
    assert {r.device for r in made.routes} == {None}
    assert (made.link_tables, made.interfaces) == ((), ())


def test_one_table_for_all() -> None:
    """nftables has one table of ours, whoever wants it."""
    other = GuardWish((Selector(FAR, LAN),), ("eth1",), (LAN,), kernel_esp=False)
    both = guarding.join([BRANCH.guard, None, other])

    assert both is not None
    assert both.selectors == (Selector(LAN, FAR), Selector(FAR, LAN))
    assert both.uplinks == ("eth0", "eth1")
    assert guarding.join([None]) is None


# --- the planner ---------------------------------------------------------------


def sources(world: World) -> set[str]:
    return {str(rule.source) for rule in world.steering.rules if rule.priority == 150}


def test_the_controller_keeps_what_it_laid() -> None:
    """After the first family: its inner addresses and what lies behind the peer."""
    world = World().start().run(30)

    (kept,) = world.footprints
    assert {str(a) for slot in kept.slots for a in slot} == {"10.9.0.1", "10.9.0.2", "10.9.0.3"}
    assert kept.remotes == (ip_network("10.100.0.0/16"),)
    assert len(world.actions(a.KeepFootprints)) <= 3


def test_what_rules_lead_is_guarded_at_boot_as_well() -> None:
    """On every link that the configuration would take; the file need not say it."""
    wish = parse([Source("c", "version: 1\nconnections: {hq: {links: [eth0, 'wwan*']}}\n")])
    found = footprint.at_boot(ROAD, wish.connections["hq"])

    assert found.guard is not None
    assert {(str(s.local), str(s.remote)) for s in found.guard.selectors} == {
        ("10.9.0.1/32", "10.100.0.0/16"),
        ("10.9.0.2/32", "10.100.0.0/16"),
        ("fd09::2/128", "fd00:100::/64"),
    }
    assert found.guard.uplinks == ("eth0", "wwan*")


def test_in_mode_one_the_guard_is_kept() -> None:
    """Selectors, uplinks, and who is exempt; sizes are a matter of paths that are there."""
    world = World(connection=SITE).start().run(30)

    (kept,) = world.footprints
    assert world.guard is not None
    assert kept.guard == replace(world.guard, clamps=())
    assert not kept.per_path


def test_down_drops_it_and_a_stop_does_not() -> None:
    """A machine that is switched off wants its guard at the next boot; one taken down does not."""
    world = World(text=THREE.replace("eth2]", "eth2], on_stop: close")).start().run(30)
    world.feed(e.Stopping())
    world.run(10)
    assert world.sas == {}
    assert world.footprints != ()

    world.restart_controller()
    world.run(30)
    world.feed(e.OrderGiven(OrderKind.DOWN, "", "2026-01-01T00:00:00Z"))
    world.run(10)
    assert world.footprints == ()


def test_what_the_guard_laid_stays_while_the_connection_is_waited_for() -> None:
    """Boot: charon runs, `swanctl --load-all` has not. Nothing of the guard's goes meanwhile."""
    world = World(connection=None)
    world.footprints = (ROAD,)
    world.start().run(10)
    assert world.hq.state == "waiting"
    assert sources(world) == {"10.9.0.1/32"}

    world.connection = ROAD_WARRIOR
    seen: list[bool] = []
    world.watchers.append(
        lambda action: seen.append(
            not isinstance(action, a.Steer)
            or any(r.destination == ip_network("10.100.0.0/16") for r in action.wish.rules)
        )
    )
    world.run(30)
    assert world.hq.state == "up"
    assert all(seen)


def test_old_inner_addresses_stay_refused_until_new_ones_are_given() -> None:
    """Both daemons were killed: what still has an old address must not leave in clear."""
    world = World().start().run(30)
    world.lose_charon(with_sas=True)
    world.dead |= {"eth0", "eth1", "eth2"}
    world.restart_controller()
    world.run(1)

    assert sources(world) == {"10.9.0.1/32", "10.9.0.2/32", "10.9.0.3/32"}


def test_another_file_is_only_a_cache() -> None:
    """What it says of a peer that is up is corrected, and a peer that is gone is forgotten."""
    world = World()
    world.footprints = (ROAD, BRANCH)
    world.start().run(30)

    (kept,) = world.footprints
    assert kept.peer == "hq"
    assert kept.slots[1] == (ip_address("10.9.0.2"),)
    assert sources(world) == {"10.9.0.1/32", "10.9.0.2/32", "10.9.0.3/32"}


def test_an_unloaded_connection_keeps_its_tunnels() -> None:
    """`swanctl --load-all` without it: what works goes on, and `status` says so."""
    world = World().start().run(30)
    before, steering = set(world.sas), world.steering
    world.connection = None
    world.feed(e.ConnectionsSeen(()))
    world.run(60)

    assert set(world.sas) == before
    assert world.steering == steering
    assert world.hq.state == "degraded"
    assert "no connection hq any more" in world.hq.why
    world.connection = ROAD_WARRIOR
    world.feed(e.ConnectionsSeen((ROAD_WARRIOR,)))
    assert world.hq.state == "up"
