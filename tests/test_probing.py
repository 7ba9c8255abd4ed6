# SPDX-License-Identifier: Apache-2.0
"""What the planner makes of what is found inside the tunnels, in a small world."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from tests.simulated import GATEWAY, ROAD_WARRIOR, RTT, SITE, World, link
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.health.passive import FIRST_DELAY
from vici_mif.core.model import ChildTemplate, Verdict
from vici_mif.core.status import PathStatus

E0, E1, E2 = (f"eth{i}/{GATEWAY}" for i in range(3))
AT_HOME = {E0: E0, E1: E1, E2: E2}
INSIDE = "10.100.0.1"


def config(probe: str = f"{{targets: [{INSIDE}]}}", links: str = "eth0, eth1, eth2") -> str:
    return f"version: 1\nconnections:\n  hq: {{links: [{links}], hold_down: 5s, probe: {probe}}}\n"


def up(text: str = "", **kinds: object) -> World:
    """A world some seconds after the start, watched from inside."""
    return World(text=text or config(), **kinds).start().run(5)  # type: ignore[arg-type]


def paths(world: World) -> dict[str, PathStatus]:
    world.echoes.report()
    return {path.name: path for path in world.hq.paths}


def watched(world: World) -> tuple[str, ...]:
    last = world.actions(a.Watch)[-1]
    assert isinstance(last, a.Watch)
    return tuple(f"{w.path.link} {w.echoes[0].source} {w.echoes[0].target}" for w in last.wish)


def moved(world: World, since: float) -> list[tuple[float, str]]:
    """Real moves: when, and to which link."""
    return [
        (round(at - since, 3), world.link_of(x.pair.local))
        for at, x in world.log
        if at >= since and isinstance(x, a.Migrate) and x.tag in world.really
    ]


def test_each_tunnel_is_watched_from_its_inner_address() -> None:
    """On the path where it is, to the target, once it carries."""
    world = up()

    assert watched(world) == tuple(f"eth{i} 10.9.0.{i + 1} {INSIDE}" for i in range(3))
    assert {p.probe for p in paths(world).values()} == {"inner"}


def test_without_targets_nothing_is_watched() -> None:
    """IKE has to tell, and the status says so."""
    world = World().start().run(5)

    assert world.actions(a.Watch) == []
    assert {p.probe for p in world.hq.paths} == {"ike"}


def test_a_silent_path_is_left_at_once() -> None:
    """The link stays up. Its tunnel is parked within three intervals and a half."""
    world = up()
    begun = world.now
    world.dead = {"eth1"}
    world.run(1)

    ((delay, to),) = moved(world, begun)
    assert (to, delay < 0.35) == ("eth0", True)
    assert world.seats() == {**AT_HOME, E1: E0}
    path = paths(world)[E1]
    assert (path.state, path.why) == ("failed", "no answer inside the tunnel for 0.3 s")


def test_fast_is_faster() -> None:
    """50 ms x 3."""
    world = up(config(f"{{profile: fast, targets: [{INSIDE}]}}"))
    begun = world.now
    world.dead = {"eth1"}
    world.run(1)

    ((delay, _),) = moved(world, begun)
    assert delay < 0.2


def test_esp_alone_is_dropped() -> None:
    """IKE passes: only what is asked inside notices, and the tunnel is not brought home."""
    world = up()
    world.echoes.esp_dead = {"eth1"}
    world.run(3)
    assert world.seats()[E1] == E0

    begun = world.now
    world.run(60)
    back = [at for at, to in moved(world, begun) if to == "eth1"]
    assert len(back) <= 4  # the hold-down doubles
    assert world.seats()[E1] == E0 or world.now - begun - back[-1] < 2


def test_home_again_after_the_hold_down() -> None:
    """A test by IKE finds that it works, the hold-down passes, the echoes agree."""
    world = up()
    world.dead = {"eth1"}
    world.run(2)
    world.dead = set()
    world.run(30)

    assert world.seats() == AT_HOME
    assert paths(world)[E1].state == "active"


def test_dead_target_is_no_dead_path() -> None:
    """It answers nobody: nothing moves, IKE tells, and the status says both."""
    world = up()
    begun = world.now
    world.echoes.mute = {INSIDE}
    world.run(30)

    assert moved(world, begun) == []
    assert world.hq.state == "up"
    path = paths(world)[E0]
    assert (path.state, path.probe) == ("active", "ike")
    assert INSIDE in path.why
    world.echoes.mute = set()
    world.run(1)
    assert (paths(world)[E0].probe, paths(world)[E0].why) == ("inner", "")


def test_target_that_never_lived() -> None:
    """The same from the start."""
    world = World(text=config())
    world.echoes.mute = {INSIDE}
    world.start().run(30)

    assert world.seats() == AT_HOME
    assert world.hq.state == "up"
    assert {p.probe for p in paths(world).values()} == {"ike"}


def test_two_targets_one_dead() -> None:
    """Nothing happens, not even in the status."""
    world = up(config("{targets: [10.100.0.1, 10.100.0.2]}"))
    begun = world.now
    world.echoes.mute = {"10.100.0.1"}
    world.run(10)

    assert moved(world, begun) == []
    assert {p.probe for p in paths(world).values()} == {"inner"}


def test_dead_target_and_a_path_that_dies_later() -> None:
    """IKE notices: three seconds, and three tries."""
    world = up()
    world.echoes.mute = {INSIDE}
    world.run(20)
    begun = world.now
    world.dead = {"eth1"}
    world.run(8)

    assert [to for _, to in moved(world, begun)] == ["eth0"]
    assert world.seats()[E1] == E0


def test_nowhere_to_go() -> None:
    """One path, silent: it is tried where it is, and taken again as soon as it answers."""
    world = up(config(links="eth0"))
    world.dead = {"eth0"}
    world.run(20)
    assert world.hq.state == "down"
    world.dead = set()
    world.run(1)

    assert world.hq.state == "up"
    assert paths(world)[E0].probe == "inner"


def test_only_target_of_the_only_tunnel_dies() -> None:
    """Nobody can compare, so the path is taken for failed, until IKE says that it works."""
    world = up(config(links="eth0"))
    world.echoes.mute = {INSIDE}
    world.run(1)
    assert paths(world)[E0].state == "failed"
    world.run(10)

    assert (world.hq.state, paths(world)[E0].probe) == ("up", "ike")
    world.run(60)
    assert paths(world)[E0].state == "active"


def test_idle_tunnels_without_targets_are_asked_by_ike() -> None:
    """Counters stand still: a probe of the path in use about every three seconds."""
    world = World().start().run(FIRST_DELAY + 4)
    before = len(world.log)
    world.run(30)
    probes = [x for _, x in world.log[before:] if isinstance(x, a.Probe)]

    assert len(probes) == pytest.approx(3 * 10, abs=4)
    assert {x.pair for x in probes} == {sa.pair for sa in world.sas.values() if sa.children}


def test_busy_tunnels_without_targets_are_left_alone() -> None:
    """What comes in proves the path."""
    world = World().start().run(FIRST_DELAY + 4)

    def traffic() -> None:
        for number, sa in list(world.sas.items()):
            children = tuple(replace(c, packets_in=c.packets_in + 9) for c in sa.children)
            world.sas[number] = replace(sa, children=children)
        world.later(0.5, traffic)

    traffic()
    world.run(4)
    before = len(world.log)
    world.run(30)

    assert [x for _, x in world.log[before:] if isinstance(x, a.Probe)] == []


def test_silent_path_without_targets() -> None:
    """Noticed within the interval and the tries: under eight seconds."""
    world = World().start().run(20)
    begun = world.now
    world.dead = {"eth1"}
    world.run(8)

    assert [to for _, to in moved(world, begun)] == ["eth0"]


def test_a_started_controller_asks_nothing_at_first() -> None:
    """No exchange of its own in the first five seconds; echoes inside are none."""
    world = up()
    world.run(20)
    world.restart_controller()
    before = len(world.log)
    world.run(5)

    sent = [x for _, x in world.log[before:] if isinstance(x, a.Probe | a.Clone | a.CreateIke)]
    assert sent == []


# --- poor paths ---------------------------------------------------------------

LOSS = f"{{targets: [{INSIDE}], loss: 20%, loss_recovery: 5%}}"
DELAY = f"{{targets: [{INSIDE}], delay: 200ms, delay_recovery: 100ms}}"


def test_a_lossy_path_is_left_for_a_good_one() -> None:
    """It works, so nothing hurries; it is poor, and the tunnel moves."""
    world = up(config(LOSS)).run(5)
    world.echoes.every = {"eth1": 3}
    world.run(15)

    assert world.seats()[E1] == E0
    assert "poor" in paths(world)[E1].why


def test_all_paths_are_poor() -> None:
    """Then it stays where it is."""
    world = up(config(DELAY)).run(5)
    begun = world.now
    world.echoes.rtt = dict.fromkeys(("eth0", "eth1", "eth2"), 0.4)
    world.run(30)

    assert moved(world, begun) == []
    assert world.seats() == AT_HOME


def test_a_slow_path_recovers_by_the_recovery_value() -> None:
    """Below the threshold is not enough; then the hold-down."""
    world = up(config(DELAY)).run(5)
    world.echoes.rtt = {"eth1": 0.4}
    world.probe_rtt = {"eth1": 0.15}
    world.run(60)
    assert world.seats()[E1] == E0
    world.echoes.rtt = {}
    world.probe_rtt = {}
    world.run(90)

    assert world.seats() == AT_HOME
    assert paths(world)[E1].why == ""


def test_a_poor_path_is_better_than_none() -> None:
    """The others fail: everything goes there."""
    world = up(config(DELAY)).run(5)
    world.echoes.rtt = {"eth1": 0.4}
    world.run(20)
    world.dead = {"eth0", "eth2"}
    world.run(15)

    assert set(world.seats().values()) == {E1}


# --- other shapes ---------------------------------------------------------------


def site(**kinds: object) -> World:
    """Site to site, with a LAN of ours behind eth9."""
    world = World(text=config("{targets: [10.2.0.1]}"), connection=SITE, **kinds)  # type: ignore[arg-type]
    world.links["eth9"] = replace(link(9), addresses=(ip_interface("10.1.0.1/16"),))
    return world.start().run(5)


def test_site_to_site_uses_an_address_of_this_host() -> None:
    """Inside the child's own selector, to a target in the other's."""
    assert watched(site()) == ("eth0 10.1.0.1 10.2.0.1",)


def test_site_to_site_moves_its_tunnel() -> None:
    """One tunnel with all children."""
    world = site()
    begun = world.now
    world.dead = {"eth0"}
    world.run(1)

    (delay, to), *_ = moved(world, begun)  # the spare comes along
    assert (to, delay < 0.35) == ("eth1", True)
    world.run(2)
    assert paths(world)[E1].probe == "inner"


def test_no_address_of_ours_inside() -> None:
    """A host that has no part in the LAN: IKE tells, and the reason stands there."""
    world = World(text=config("{targets: [10.2.0.1]}"), connection=SITE).start().run(5)

    assert world.actions(a.Watch) == []
    assert "lies behind" in world.hq.paths[0].why


def test_a_target_outside_is_never_asked() -> None:
    """It would leave in clear."""
    world = up(config("{targets: [192.0.2.99]}"))

    assert world.actions(a.Watch) == []
    assert "192.0.2.99" in world.hq.paths[0].why


def test_a_selector_of_one_protocol_takes_no_echo() -> None:
    """TCP only: a ping would leave in clear."""
    child = ChildTemplate("net", local_ts=("dynamic",), remote_ts=("10.100.0.0/16[tcp]",))
    world = up(connection=replace(ROAD_WARRIOR, children=(child,)))

    assert world.actions(a.Watch) == []


def test_not_while_it_moves() -> None:
    """From the order to move until its end the tunnel is not watched, then anew."""
    world = up()
    before = world.planner.peers["hq"].probing
    serials = {w.path.link: w.serial for w in before._wishes.values()}
    world.link_down("eth1")
    assert len(watched(world)) == 2
    world.run(1)

    last = world.actions(a.Watch)[-1]
    assert isinstance(last, a.Watch)
    now = {w.serial for w in last.wish}
    assert len(watched(world)) == 3
    assert now - set(serials.values()) != set()


def test_a_rekey_changes_nothing() -> None:
    """Another number of the IKE SA: the watch goes on."""
    world = up()
    before = len(world.actions(a.Watch))
    world.rekey(next(iter(world.sas)))
    world.run(5)

    assert len(world.actions(a.Watch)) == before


def test_what_is_watched_no_more_is_not_believed() -> None:
    """The verdict of a path that was left a moment ago moves nothing."""
    world = up()
    last = world.actions(a.Watch)[-1]
    assert isinstance(last, a.Watch)
    old = last.wish[1]
    world.link_down("eth1")
    world.run(8)
    world.link_up("eth1")
    world.run(12)
    begun = world.now
    world.feed(e.PathHealth(old, Verdict.SILENT, proof=True))
    world.run(3)

    assert moved(world, begun) == []
    assert world.seats() == AT_HOME


def test_charon_that_goes_is_watched_no_more() -> None:
    """Nothing is sent into tunnels that are not known."""
    world = up()
    world.lose_charon(with_sas=False)

    assert watched(world) == ()


# --- metered ----------------------------------------------------------------------

METERED = "eth0, eth1, {match: eth2, cost: metered}"


def test_metered_is_asked_rarely() -> None:
    """relaxed by default; the others are asked as before."""
    world = up(config(links=METERED))
    last = world.actions(a.Watch)[-1]
    assert isinstance(last, a.Watch)

    assert {w.path.link: w.interval_delay for w in last.wish} == {
        "eth0": 0.1,
        "eth1": 0.1,
        "eth2": 5.0,
    }


def test_probe_of_a_link_wins() -> None:
    """Whatever it costs."""
    world = up(
        config(
            links="eth0, {match: eth1, probe: fast}, {match: eth2, cost: metered, probe: normal}"
        )
    )
    last = world.actions(a.Watch)[-1]
    assert isinstance(last, a.Watch)

    assert [w.interval_delay for w in last.wish] == [0.1, 0.05, 0.1]


def test_bytes_of_a_day() -> None:
    """Requests and answers with all headers; a new day begins at nothing."""
    world = up(config(links=METERED))
    before = paths(world)
    world.run(100)
    after = paths(world)
    spent = {name: after[name].probe_bytes_today - before[name].probe_bytes_today for name in after}

    # 40 inside; AES-GCM: 20 IP, 8 ESP, 8 IV, 44 padded, 16 ICV
    assert spent[E0] == pytest.approx(2 * 96 * 1000, rel=0.01)
    assert spent[E2] == pytest.approx(2 * 96 * 20, abs=2 * 96)
    world.feed(e.DayBegan("2026-11-21"))
    world.run(10)
    assert 0 < paths(world)[E0].probe_bytes_today <= 2 * 96 * 110


def test_bytes_of_a_path_that_was_left_still_count() -> None:
    """The last word of a watch."""
    world = up()
    spent = paths(world)[E1].probe_bytes_today
    world.dead = {"eth1"}
    world.run(2)

    assert paths(world)[E1].probe_bytes_today > spent


def test_figures_in_the_status() -> None:
    """Round trip, jitter, loss."""
    world = up().run(5)
    world.echoes.every = {"eth1": 10}
    world.run(10)
    one, other = paths(world)[E0], paths(world)[E1]

    assert one.rtt_s == pytest.approx(RTT)
    assert one.jitter_s == pytest.approx(0, abs=1e-6)
    assert one.loss == 0
    assert other.loss is not None
    assert other.loss > 0


def test_ipv6_targets() -> None:
    """From the inner address of the same version."""
    child = ChildTemplate("net", local_ts=("dynamic",), remote_ts=("fd00:100::/64",))
    world = World(
        text=config("{targets: ['fd00:100::1']}"),
        connection=replace(ROAD_WARRIOR, vips=("::",), children=(child,)),
    )
    world.v6_inside = True
    world.start().run(5)

    assert all(" fd00:100::1" in one for one in watched(world))
    assert ip_address(watched(world)[0].split()[1]).version == 6


@pytest.mark.parametrize("reason", ["busy", "temporary"])
def test_a_window_that_stays_full_is_an_answer_too(reason: str) -> None:
    """No target, and a rekeying that fell into the silence: IKE cannot be asked, and need not be.

    Moved within 20 s, not after charon's 165; the others are left alone.
    """
    world = World().start().run(30)
    tunnel = next(t for t in world.hq.tunnels if (t.home or "").startswith("eth1"))
    world.outstanding, world.full_window = {tunnel.ike_id}, reason
    world.dead = {"eth1"}
    world.run(20)

    assert str(world.sas[tunnel.ike_id].local) != "198.18.1.2"
    assert world.hq.paths[1].state == "failed"
    assert [path.state for path in world.hq.paths if path.link != "eth1"] == ["active", "active"]


def test_a_busy_ike_sa_on_a_path_that_answers_stays() -> None:
    """Exchanges follow one another; each of them is answered."""
    world = World().start().run(30)
    world.outstanding = {t.ike_id for t in world.hq.tunnels}
    seats = world.seats()
    world.run(60)

    assert world.seats() == seats
