# SPDX-License-Identifier: Apache-2.0
"""Site to site without virtual IPs (`one`): the connection's own children, on the best path."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, ping, running
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import Profile

UPLINKS = ("eth0", "wlan0")
CONFIG = "{links: [eth0, wlan0], hold_down: 2s, spares: 0}"
FAR = "10.2.0.2"
INSIDE = "net 10.1.0.0/24 and net 10.2.0.0/24"


@pytest.fixture
def site(make_lab: MakeLab) -> Iterator[Controller]:
    lab = make_lab(uplinks=2, profile=Profile.SITE, capture=True)
    with running(lab, CONFIG) as controller:
        controller.until(is_up)
        yield controller
        assert rig.in_clear(lab, INSIDE) == {}


def is_up(peer: PeerStatus) -> bool:
    return peer.state == "up" and any(tunnel.children for tunnel in peer.tunnels)


def carrying(peer: PeerStatus) -> str:
    """The path of the tunnel that has the children."""
    (tunnel,) = [tunnel for tunnel in peer.tunnels if tunnel.children]
    return str(tunnel.current)


def across(lab: Lab, count: int = 5) -> int:
    """From a station behind the client to a server behind the gateway."""
    return ping(lab, FAR, count=count, host="station")


def test_the_children_exist_once_on_the_best_path(site: Controller) -> None:
    """One child with the template's own name and selectors; the station reaches the server."""
    children = [child for sa in rig.sas(site.lab) for child in sa.children]

    assert [child.name for child in children] == ["net"]
    assert children[0].local_ts == ("10.1.0.0/24",)
    assert carrying(site.peer).startswith("eth0/")
    assert site.peer.mode == "one"
    assert across(site.lab) == 5


def test_the_tunnel_moves_and_comes_back(site: Controller) -> None:
    """The link goes: the same CHILD_SA goes on over the other; back after the hold-down."""
    lab = site.lab
    (before,) = [child for sa in rig.sas(lab) for child in sa.children]

    lab.link_down("eth0")
    site.until(lambda p: is_up(p) or carrying(p).startswith("wlan0/"))
    eventually(lambda: carrying(site.peer).startswith("wlan0/"))
    eventually(lambda: across(lab, 1) == 1)
    (during,) = [child for sa in rig.sas(lab) for child in sa.children]
    assert (during.spi_in, during.spi_out) == (before.spi_in, before.spi_out)

    lab.link_up("eth0")
    site.until(lambda p: p.state == "up" and carrying(p).startswith("eth0/"))
    assert across(lab) == 5


def test_nothing_leaves_in_clear_without_the_tunnel(site: Controller) -> None:
    """charon dies: what the station sends is refused at the uplinks until it is back."""
    lab = site.lab
    lab.charons["client"].kill()
    assert across(lab, 3) == 0

    lab.charons["client"].start()
    site.until(is_up)
    eventually(lambda: across(lab, 1) == 1)


def test_a_killed_controller_is_succeeded_without_a_change(site: Controller) -> None:
    """No SPI changes, and the guard stays through all of it."""
    lab = site.lab
    before = rig.spis(lab)
    site.kill()
    assert across(lab) == 5
    assert any("vici_mif" in line for line in rig.ours(lab))

    site.start()
    site.until(is_up)

    assert rig.spis(lab) == before


def test_load_all_changes_nothing(site: Controller) -> None:
    """The operator's habit costs no tunnel."""
    before = rig.spis(site.lab)
    site.lab.charons["client"].load()

    assert rig.spis(site.lab) == before
    assert across(site.lab) == 5


def test_down_leaves_nothing(site: Controller) -> None:
    """No IKE SA, no rule, no table, no guard."""
    assert site.command("down").returncode == 0

    eventually(lambda: rig.sas(site.lab) == [])
    eventually(lambda: rig.ours(site.lab) == [])


def test_everything_on_the_far_side(make_lab: MakeLab) -> None:
    """0.0.0.0/0 on one side: the station's traffic is protected, the host's own lives."""
    lab = make_lab(uplinks=2, profile=Profile.SITE, full=True)
    with running(lab, CONFIG) as controller:
        controller.until(is_up)
        assert across(lab) == 5
        own = lab.topology.uplinks[1].a.addresses[0].partition("/")[0]
        assert ping(lab, "192.0.2.1", own) == 5
