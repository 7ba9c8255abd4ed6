# SPDX-License-Identifier: Apache-2.0
"""Paths that go silent while their links stay up, with real packets.

What is asserted is generous, since the machine is shared; what was measured is printed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.namespace import PATIENCE, eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.liar import lying, of_link
from tests.real.rig import Controller, on, running
from tests.real.traffic import traffic
from vici_mif.core.status import PathStatus, PeerStatus
from vici_mif.lab.wires.impair import DOWN, UP

UPLINKS = ("eth0", "wlan0", "wwan0")
INSIDE = "10.100.0.1"
RATE = 200
"""Datagrams a second: what is measured is known to 5 ms."""
BACK = 5.0
"""Seconds that traffic may take to flow by another path, two of them for a busy machine."""
LIES = 5.0
"""Seconds of packets from outside beside a path that works."""
QUIET = 600
"""Seconds in which no path may be taken for silent."""

DIRECTIONS = {"both": (UP, DOWN), "downlink": (DOWN,), "uplink": (UP,)}


def config(probe: str, links: str = ", ".join(UPLINKS)) -> str:
    return f"{{links: [{links}], hold_down: 1s, probe: {probe}}}"


def all_home(peer: PeerStatus) -> bool:
    return rig.all_home(peer, UPLINKS)


def paths(peer: PeerStatus) -> dict[str, PathStatus]:
    return {path.link: path for path in peer.paths}


def probed(peer: PeerStatus, kind: str) -> bool:
    return all_home(peer) and all(path.probe == kind for path in peer.paths)


def unanswered(peer: PeerStatus) -> bool:
    """The target is none, so IKE tells."""
    return probed(peer, "ike") and "10.100.0.99" in peer.paths[0].why


@pytest.fixture(scope="module")
def client(make_module_lab: MakeLab) -> Iterator[Controller]:
    """Three tunnels, watched from inside with the default profile; captures run."""
    lab = make_module_lab(capture=True)
    with running(lab, config(f"{{targets: [{INSIDE}]}}")) as controller:
        yield controller
    assert rig.in_clear(lab) == {}


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_traffic_goes_on_by_another_path(client: Controller, kind: str) -> None:
    """Dropped both ways or one way: payload of both directions is delivered soon, TCP lives."""
    lab = client.lab
    peer = client.until(lambda p: probed(p, "inner"))
    with traffic(lab, on(peer)["wlan0"].inner[:1], RATE) as flows:
        ends = dict(zip((UP, DOWN), flows.udp, strict=True))
        cut_at = time.time()
        lab.cut("wlan0", directions=DIRECTIONS[kind])
        eventually(lambda: flows.log().resumed(ends[UP], cut_at + 0.001))
        client.until(lambda p: paths(p)["wlan0"].state == "failed")
        hit = DIRECTIONS[kind]
        eventually(lambda: all(flows.log().resumed(ends[d], cut_at + 0.001) for d in hit))
        outage = {d: flows.log().gap(ends[d], cut_at, time.time()) for d in hit}
        print(f"{kind}: " + ", ".join(f"{d} {1000 * s:.0f} ms" for d, s in outage.items()))
        lab.uncut("wlan0")

        assert max(outage.values()) < BACK * PATIENCE
        assert flows.failures() == []
        client.until(all_home)


def test_another_figure_for_fast(make_lab: MakeLab) -> None:
    """50 ms x 3, both directions."""
    lab = make_lab()
    probe = f"{{profile: fast, targets: [{INSIDE}, 10.100.0.2]}}"
    with running(lab, config(probe)) as controller:
        peer = controller.until(lambda p: probed(p, "inner"))
        with traffic(lab, on(peer)["wlan0"].inner[:1], RATE) as flows:
            ends = dict(zip((UP, DOWN), flows.udp, strict=True))
            cut_at = time.time()
            lab.cut("wlan0")
            controller.until(lambda p: paths(p)["wlan0"].state == "failed")
            end = time.time()
            eventually(lambda: flows.log().resumed(ends[DOWN], end))
            outage = {d: flows.log().gap(flow, cut_at, end) for d, flow in ends.items()}
            print("fast: " + ", ".join(f"{d} {1000 * s:.0f} ms" for d, s in outage.items()))

            assert max(outage.values()) < BACK * PATIENCE


def test_a_dead_target_is_no_dead_path(make_lab: MakeLab) -> None:
    """There is no such host: the tunnels stay, IKE tells, and tells of a silent path as well."""
    lab = make_lab()
    with running(lab, config("{profile: fast, targets: [10.100.0.99]}")) as controller:
        peer = controller.until(lambda p: unanswered(p) and rig.spare_ready(p))
        before = rig.spis(lab)
        lab.cut("wlan0")
        controller.until(lambda p: on(p).keys() == {"eth0", "wwan0"})
        lab.uncut("wlan0")
        controller.until(all_home)

        assert rig.spis(lab) == before
        assert peer.authentications == controller.peer.authentications == 1


def test_what_was_made_up_outside_changes_nothing(make_lab: MakeLab) -> None:
    """Somebody on the way answers for the target and calls the path dead: nobody believes him,
    neither while the path works nor while it is silent."""
    lab = make_lab(uplinks=2)
    with running(lab, config(f"{{targets: [{INSIDE}]}}", "eth0, wlan0")) as controller:
        before = controller.until(
            lambda p: (
                rig.all_home(p)
                and rig.spare_ready(p)
                and all(path.probe == "inner" for path in p.paths)
            )
        )
        spis, sa = rig.spis(lab), of_link(lab, "wlan0")
        with lying(lab, sa, INSIDE):
            with traffic(lab, [str(sa.local_vips[0])]) as flows:
                time.sleep(LIES)
                assert flows.failures() == []
            assert [p.since for p in controller.peer.paths] == [p.since for p in before.paths]
            assert rig.spis(lab) == spis

            lab.cut("wlan0")
            controller.until(lambda p: paths(p)["wlan0"].state == "failed", within=BACK * PATIENCE)
            lab.uncut("wlan0")
            controller.until(rig.all_home)
        assert rig.spis(lab) == spis
        assert "ICV verification failed" in lab.client.log.read_text()


@pytest.mark.long
def test_bytes_that_are_stated_are_on_the_link(make_lab: MakeLab) -> None:
    """`probe_bytes_today` of an idle tunnel against the capture of its uplink."""
    lab = make_lab(capture=True)
    with running(lab, config(f"{{targets: [{INSIDE}]}}")) as controller:
        controller.until(lambda p: probed(p, "inner"))
        before, begun = paths(controller.peer)["wlan0"].probe_bytes_today, time.time()
        time.sleep(10)
        after, ended = paths(controller.peer)["wlan0"].probe_bytes_today, time.time()
    lab.stop_captures()
    lines = rig.captured(lab, "wlan0", "udp port 4500", "-tt", "-v")
    packets = [
        m.groups() for m in (re.match(r"([\d.]+) IP .*length (\d+)\)", x) for x in lines) if m
    ]
    seen = sum(int(size) for at, size in packets if begun <= float(at) < ended)

    assert seen > 100 * 90
    assert after - before == pytest.approx(seen, rel=0.05)


@pytest.mark.long
@pytest.mark.timeout(QUIET + 300)
def test_ten_quiet_minutes(make_lab: MakeLab) -> None:
    """Nothing is wrong, so nothing moves: since the start each path was active."""
    lab = make_lab()
    with running(lab, config(f"{{targets: [{INSIDE}]}}")) as controller:
        before = controller.until(lambda p: probed(p, "inner"))
        end = time.monotonic() + QUIET
        while time.monotonic() < end:
            assert all_home(controller.peer), controller.said()
            time.sleep(0.5)
        after = controller.peer

        assert [p.since for p in after.paths] == [p.since for p in before.paths]
        assert "silent" not in controller.said()
