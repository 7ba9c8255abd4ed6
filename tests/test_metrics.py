# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told: names, counts that only grow, and a number of series that stays."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest

from tests.simulated import World, link
from tests.test_promtool import PROMTOOL
from tests.test_render import NOW
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.figures import figures
from vici_mif.core.figures.figures import MOST_GONE, Counted
from vici_mif.core.figures.text import Text
from vici_mif.core.figures.traffic import Traffic
from vici_mif.core.health.tally import Histogram
from vici_mif.core.model import OrderKind
from vici_mif.shell import render

SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
LABELS = {"peer", "path", "iface", "state", "result", "reason", "what", "version", "le"}
FAMILY = re.compile(r"_(bucket|sum|count)$")
WATCHED = """
version: 1
connections:
  hq: {links: [eth0, eth1], hold_down: 2s, probe: {targets: [10.100.0.1]}}
"""

RARELY = WATCHED.replace("targets", "profile: relaxed, targets")
"""For long stories: an echo every five seconds."""


class Scraped:
    """A simulated host, and what a scrape of its controller says."""

    def __init__(self, text: str = WATCHED) -> None:
        self.world = World(text)
        self.counted = Counted()
        self.world.echoes.alive = {"10.100.0.1"}
        feed = self.world.feed

        def counting(event: e.Event) -> list[a.Action]:
            wanted = feed(event)
            planner = self.world.planner
            self.counted.failovers.step(planner.peers, planner.world, self.world.now)
            return wanted

        self.world.feed = counting  # type: ignore[method-assign]
        self.world.start()

    def text(self) -> str:
        peers, watching = self.world.planner.peers, self.world.echoes.watching
        for health in watching.reports(self.world.now):
            self.world.feed(health)
        self.counted.tallies = watching.tallies
        self.counted.refused = {name: peer.growth.refused for name, peer in peers.items()}
        return figures.text(self.world.status, self.counted)

    def samples(self) -> dict[str, float]:
        return samples(self.text())

    def run(self, span: float) -> Scraped:
        self.world.run(span)
        return self


def samples(text: str) -> dict[str, float]:
    """Each series with its value."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.fixture
def up() -> Scraped:
    return Scraped().run(10)


def grown(world: World, count: int) -> None:
    """Every CHILD_SA has carried so many bytes more."""
    for ike_id, sa in list(world.sas.items()):
        children = tuple(replace(c, bytes_out=c.bytes_out + count) for c in sa.children)
        world.sas[ike_id] = replace(sa, children=children)
        world.feed(e.SaSeen(world.sas[ike_id]))


def test_every_sample_is_said_to_be_something(up: Scraped) -> None:
    """HELP and TYPE before the first sample, one prefix, known labels, each series once."""
    seen: set[str] = set()
    series = []
    for line in up.text().splitlines():
        if line.startswith("# TYPE "):
            seen.add(line.split()[2])
        elif not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match[1] in seen or FAMILY.sub("", match[1]) in seen
            assert set(re.findall(r'(\w+)="', match[2] or "")) <= LABELS
            series.append(line.rpartition(" ")[0])

    assert all(name.startswith("vicimif_") for name in seen)
    assert len(series) == len(set(series))


def test_an_hour_of_rekeys_makes_no_series() -> None:
    """3,600 seconds of the world's clock with lifetimes of three minutes: twenty times every IKE SA
    and every CHILD_SA is another one. charon's own are an hour and four; bytes go on growing."""
    up = Scraped(RARELY).run(10)
    before, begun = up.samples(), up.world.now
    rekeyed = 0
    for _ in range(20):
        up.run(180)
        for ike_id in list(up.world.sas):
            up.world.rekey(ike_id)
            rekeyed += 1
        up.world.rekey_children()
        grown(up.world, 1000)
        now = up.samples()
        assert now.keys() == before.keys()

    assert rekeyed >= 60
    assert up.world.now - begun >= 3600
    assert now['vicimif_peer_state{peer="hq",state="up"}'] == 1
    assert now['vicimif_authentications_total{peer="hq"}'] == 1
    sent = [value for name, value in now.items() if name.startswith("vicimif_path_tx_bytes_total")]
    assert len(sent) == 2
    assert min(sent) >= 20_000


def test_links_of_a_pattern_that_come_and_go_have_a_bound() -> None:
    """A dial-up link has another name each time: those that went are told up to a number."""
    scraped = Scraped(RARELY.replace("eth1", '"ppp*"')).run(10)
    world = scraped.world
    for number in range(MOST_GONE + 8):
        world.links[f"ppp{number}"] = replace(link(1), name=f"ppp{number}", index=100 + number)
        world.see_links()
        scraped.run(10)
        del world.links[f"ppp{number}"]
        world.see_links()
        scraped.run(10)
    told = {name for name in scraped.samples() if name.startswith("vicimif_path_up")}

    assert len(told) <= MOST_GONE + 1 + len(world.hq.tunnels)
    assert any(f'iface="ppp{MOST_GONE + 7}"' in name for name in told)
    assert not any('iface="ppp3"' in name for name in told)


def test_a_silent_path_is_a_failover(up: Scraped) -> None:
    """From its failure until the tunnel is elsewhere: a fraction of a second."""
    up.world.dead.add("eth0")
    up.run(30)
    now = up.samples()

    assert now['vicimif_failovers_total{peer="hq",reason="silent"}'] == 1
    assert now['vicimif_failovers_total{peer="hq",reason="link"}'] == 0
    assert now['vicimif_failover_duration_seconds_count{peer="hq"}'] == 1
    assert 0 < now['vicimif_failover_duration_seconds_sum{peer="hq"}'] < 1
    labels = 'peer="hq",path="eth0/203.0.113.1",iface="eth0"'
    assert now[f'vicimif_path_state{{{labels},state="failed"}}'] == 1
    assert now[f"vicimif_path_up{{{labels}}}"] == 0
    assert now[f"vicimif_probe_lost_total{{{labels}}}"] > 0


def test_a_link_that_goes_is_a_failover(up: Scraped) -> None:
    """And its coming back is none."""
    up.world.link_down("eth0")
    up.run(10)
    up.world.link_up("eth0")
    now = up.run(30).samples()

    assert now['vicimif_failovers_total{peer="hq",reason="link"}'] == 1
    assert now['vicimif_failover_duration_seconds_bucket{peer="hq",le="+Inf"}'] == 1


def test_nowhere_to_go_lasts_as_long(up: Scraped) -> None:
    """Both links are away for a minute: the tunnels were without a path for that long."""
    for name in ("eth0", "eth1"):
        up.world.link_down(name)
    up.run(60)
    assert up.samples()['vicimif_failover_duration_seconds_count{peer="hq"}'] == 0
    for name in ("eth0", "eth1"):
        up.world.link_up(name)
    now = up.run(30).samples()

    count = now['vicimif_failover_duration_seconds_count{peer="hq"}']
    assert count >= 1
    assert now['vicimif_failover_duration_seconds_sum{peer="hq"}'] > 55 * count


def test_down_is_no_failover(up: Scraped) -> None:
    """Somebody wanted it so."""
    up.world.link_down("eth0")
    up.world.feed(e.OrderGiven(OrderKind.DOWN, "hq", "2026-01-01T00:00:00Z", "me"))
    now = up.run(20).samples()

    assert now['vicimif_failover_duration_seconds_count{peer="hq"}'] <= 1
    assert now['vicimif_peer_up{peer="hq"}'] == 0


def test_round_trips_of_the_probes(up: Scraped) -> None:
    """Each answer is one observation; sent and lost are counted beside."""
    labels = 'peer="hq",path="eth0/203.0.113.1",iface="eth0"'
    before = up.samples()
    now = up.run(60).samples()
    observed = f"vicimif_path_rtt_seconds_count{{{labels}}}"
    sent = f"vicimif_probe_sent_total{{{labels}}}"

    assert now[observed] - before[observed] > 300
    assert abs((now[sent] - before[sent]) - (now[observed] - before[observed])) < 5
    assert now[f"vicimif_probe_lost_total{{{labels}}}"] == 0
    assert now[f"vicimif_path_loss_ratio{{{labels}}}"] == 0


def test_refused_clones_are_counted_by_reason() -> None:
    """A gateway that grants two members: the third is asked for and refused."""
    scraped = Scraped()
    scraped.world.gateway = replace(scraped.world.gateway, max_clones=1)
    now = scraped.run(30).samples()

    assert now['vicimif_clones_total{peer="hq",result="ok"}'] == 1
    assert now['vicimif_clones_total{peer="hq",result="limit"}'] >= 1


def test_bytes_only_grow() -> None:
    """Rekeyed and moved in between: what was counted stays where it was counted."""
    scraped, traffic = Scraped().run(10), Traffic()
    world, path = scraped.world, "eth0/203.0.113.1"
    grown(world, 5000)
    traffic.look(world.status)
    first = traffic.of("hq", path)
    world.rekey_children()
    traffic.look(world.status)
    assert traffic.of("hq", path) >= first

    world.link_down("eth0")
    world.run(10)
    traffic.look(world.status)
    elsewhere = traffic.of("hq", "eth1/203.0.113.1")
    assert traffic.of("hq", path) >= first
    assert elsewhere[0] <= 3 * 5000 + first[0]


class Refusing(World):
    """A kernel that takes no rules until `refuses` is over."""

    refuses = True

    def _do_Steer(self, action: a.Steer) -> None:  # noqa: N802
        if self.refuses:
            denied = e.ActionFailed(action.tag, "failed", "Operation not permitted")
            self.later(0.001, lambda: self.feed(denied))
        else:
            super()._do_Steer(action)


def test_what_the_kernel_does_not_take_is_told() -> None:
    """In the status, above the peers, and to Prometheus; until it is taken."""
    world = Refusing(RARELY).start().run(10)
    said = "rules and routes: Operation not permitted"
    assert world.status.daemon.kernel_why == said
    assert f"not taken by the kernel, tried again: {said}" in render.status(world.status, NOW)
    assert "\nvicimif_kernel_refused 1\n" in figures.text(world.status, Counted())
    assert (world.hq.state, world.hq.why) == ("degraded", f"not taken by the kernel: {said}")
    assert world.status.exit_code == 1
    assert [
        x.level
        for x in world.actions(a.Say)
        if f"degraded: not taken by the kernel: {said}" in x.text
    ] == ["warning"]  # type: ignore[union-attr]

    world.refuses = False
    world.run(120)
    assert world.status.daemon.kernel_why == ""
    assert (world.hq.state, world.status.exit_code) == ("up", 0)
    assert "\nvicimif_kernel_refused 0\n" in figures.text(world.status, Counted())


def test_buckets() -> None:
    """Cumulative; a bound belongs to its bucket; the last one has all."""
    found = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        found.observe(value)

    assert list(found.buckets()) == [(0.1, 2), (1.0, 3), (float("inf"), 4)]
    assert found.sum == pytest.approx(7.65)


def test_labels_are_quoted() -> None:
    """The operator's names may have anything in them."""
    out = Text()
    out.family("x", "gauge", "a\\b\nc").add(1, peer='a"b\\c\nd')

    assert str(out) == (
        '# HELP vicimif_x a\\\\b\\nc\n# TYPE vicimif_x gauge\nvicimif_x{peer="a\\"b\\\\c\\nd"} 1\n'
    )


def test_promtool_finds_nothing_wrong(up: Scraped) -> None:
    """Prometheus' own check of names, units and types."""
    if PROMTOOL is None:
        pytest.skip("needs promtool: `scripts/promtool`")
    up.world.dead.add("eth0")
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=up.run(30).text(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
