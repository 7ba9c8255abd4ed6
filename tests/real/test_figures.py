# SPDX-License-Identifier: Apache-2.0
"""Figures 1, 2 and 3 of the seed draft: several interfaces at one end, at the other, at both."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, ping, running
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab

UPLINKS = ("eth0", "wlan0")
SERVER = "10.100.0.2"
FIRST, SECOND = "203.0.113.1", "198.51.100.1"

FIGURES = {
    "figure 1": (2, 1, {f"{link}/{FIRST}" for link in UPLINKS}),
    "figure 2": (1, 2, {f"eth0/{remote}" for remote in (FIRST, SECOND)}),
    "figure 3": (2, 2, {f"{link}/{remote}" for link in UPLINKS for remote in (FIRST, SECOND)}),
}


def config(uplinks: int, more: str = "") -> str:
    return f"{{links: [{', '.join(UPLINKS[:uplinks])}], hold_down: 1s, spares: 0{more}}}"


def at_home(peer: PeerStatus, paths: set[str]) -> bool:
    seated = {t.home: t.current for t in peer.tunnels if t.children}
    return peer.state == "up" and seated == {path: path for path in paths}


def esp(lab: Lab, remote: int) -> list[str]:
    """ESP in UDP on the wire of one of the gateway's addresses."""
    wire = lab.topology.remotes[remote]
    file = lab.captures.file("router", wire.a.name)
    argv = ["tcpdump", "-n", "-r", str(file), "udp port 4500 and udp[8:4] != 0"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("figure", FIGURES)
def test_one_authentication_and_a_tunnel_on_each_path(make_lab: MakeLab, figure: str) -> None:
    """n x m tunnels, each at its own pair at both ends, each with its own inner address."""
    uplinks, remotes, paths = FIGURES[figure]
    lab = make_lab(uplinks=uplinks, remotes=remotes, capture=True)
    with running(lab, config(uplinks)) as controller:
        peer = controller.until(lambda p: at_home(p, paths))

        assert (peer.authentications, peer.clones) == (1, len(paths) - 1)
        assert len(rig.pairs(lab)) == len(paths)
        eventually(lambda: rig.agreed(lab))
        inner = {t.inner[0] for t in peer.tunnels}
        assert len(inner) == len(paths)
        assert all(ping(lab, SERVER, address, count=3) == 3 for address in inner)

    assert rig.in_clear(lab) == {}
    for number in range(remotes):
        assert len(esp(lab, number)) >= 6 * uplinks


@pytest.fixture
def client(make_lab: MakeLab) -> Iterator[Controller]:
    """Figure 3."""
    lab = make_lab(uplinks=2, remotes=2, capture=True)
    with running(lab, config(2)) as controller:
        controller.until(lambda p: at_home(p, FIGURES["figure 3"][2]))
        yield controller
    assert rig.in_clear(lab) == {}


def test_a_link_goes_and_comes(client: Controller) -> None:
    """Both tunnels of the link are parked on the other one, with their addresses, and return."""
    lab = client.lab
    before = client.peer
    lab.link_down("wlan0")
    parked = client.until(lambda p: len(p.tunnels) == 4 and all(_on("eth0", t) for t in p.tunnels))
    eventually(lambda: rig.agreed(lab))
    assert all(ping(lab, SERVER, t.inner[0], count=2) == 2 for t in parked.tunnels)
    lab.link_up("wlan0")
    after = client.until(lambda p: at_home(p, FIGURES["figure 3"][2]))

    assert after.authentications == 1
    assert {t.inner for t in after.tunnels} == {t.inner for t in before.tunnels}


def _on(link: str, tunnel: object) -> bool:
    return str(getattr(tunnel, "current", "")).startswith(f"{link}/")


def test_both_versions_of_ip(make_lab: MakeLab) -> None:
    """An IPv4 and an IPv6 address of the gateway: clones move from one version to the other."""
    six = "2001:db8:100::1"
    lab = make_lab(uplinks=2, ipv6=True, capture=True)
    with running(lab, config(2, f', remotes: {{use: [{FIRST}, "{six}"]}}')) as controller:
        paths = {f"{link}/{remote}" for link in UPLINKS for remote in (FIRST, six)}
        peer = controller.until(lambda p: at_home(p, paths))

        assert peer.authentications == 1
        assert {":" in t.local for t in peer.tunnels} == {True, False}
        assert all(ping(lab, SERVER, t.inner[0], count=2) == 2 for t in peer.tunnels)

    assert rig.in_clear(lab) == {}


def test_pairs(make_lab: MakeLab) -> None:
    """One to one: no packet leaves a link for the other link's remote."""
    lab = make_lab(uplinks=2, remotes=2, capture=True)
    with running(lab, config(2, ", pairs: {one_to_one: true}")) as controller:
        controller.until(lambda p: at_home(p, {f"eth0/{FIRST}", f"wlan0/{SECOND}"}))
    lab.stop_captures()

    assert rig.captured(lab, "eth0", f"host {SECOND}") == []
    assert rig.captured(lab, "wlan0", f"host {FIRST}") == []


def test_a_denied_pair(make_lab: MakeLab) -> None:
    """Not even when a link goes: status says who denied it, the wire shows nothing."""
    lab = make_lab(uplinks=2, remotes=2, capture=True)
    denying = config(2, f", pairs: {{deny: [[wlan0, {SECOND}]]}}")
    left = FIGURES["figure 3"][2] - {f"wlan0/{SECOND}"}
    with running(lab, denying) as controller:
        peer = controller.until(lambda p: at_home(p, left))
        (denied,) = [path for path in peer.paths if path.state == "denied"]
        assert (denied.name, denied.why) == (f"wlan0/{SECOND}", "denied by configuration")
        lab.link_down("eth0")
        controller.until(lambda p: {t.current for t in p.tunnels} == {f"wlan0/{FIRST}"})
    lab.stop_captures()

    assert rig.captured(lab, "wlan0", f"host {SECOND}") == []


def test_an_address_of_the_gateway_goes_and_comes(client: Controller) -> None:
    """Silently: its tunnels are parked on the other address over their own link, then go home."""
    lab = client.lab
    for link in UPLINKS:
        lab.cut(link, remote=1)
    parked = client.until(
        lambda p: (
            {t.home: t.current for t in p.tunnels}
            == {
                f"{link}/{remote}": f"{link}/{FIRST}"
                for link in UPLINKS
                for remote in (FIRST, SECOND)
            }
        )
    )
    eventually(lambda: rig.agreed(lab))
    assert all(ping(lab, SERVER, t.inner[0], count=2) == 2 for t in parked.tunnels)
    for link in UPLINKS:
        lab.uncut(link)
    after = client.until(lambda p: at_home(p, FIGURES["figure 3"][2]), within=90)

    assert after.authentications == 1


def test_an_announced_address_is_learned(make_lab: MakeLab) -> None:
    """Inside the operator's prefix only: the gateway's inner address is announced as well."""
    lab = make_lab(uplinks=1, remotes=2, capture=True)
    learning = config(1, f", remotes: {{use: [{FIRST}], learn: [198.51.100.0/24]}}")
    with running(lab, learning) as controller:
        peer = controller.until(lambda p: len(p.paths) == 2 and p.state == "up")
        announced = {str(a) for sa in rig.sas(lab) for a in sa.remote_addresses}

        assert {path.name for path in peer.paths} == {f"eth0/{FIRST}", f"eth0/{SECOND}"}
        assert announced > {SECOND}
        controller.until(lambda p: {path.state for path in p.paths} <= {"ready", "active"})
    lab.stop_captures()

    assert rig.captured(lab, "eth0", "dst net 10.100.0.0/16 and udp") == []
