# SPDX-License-Identifier: Apache-2.0
"""Two lines of ours beside an operator's untouched files; and the same files on a stock charon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, ping
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import Profile

UPLINKS = "[eth0, wlan0]"
WISHES = {
    "road warrior": {"profile": Profile.ROADWARRIOR},
    "site to site": {"profile": Profile.SITE},
    "everything on the far side": {"profile": Profile.SITE, "full": True},
}


def two_lines(lab: Lab) -> Controller:
    """The whole configuration of ours: the connection's name and the links."""
    controller = Controller(lab)
    name = rig.connection_name(lab)
    controller.file.write_text(
        f"version: 1\nconnections: {{{name}: {{links: {UPLINKS}}}}}\n"
        f"daemon: {{state_dir: {lab.client.directory / 'state'}, "
        f"journal: {lab.client.directory / 'journal'}}}\n"
    )
    return controller


def paste_dropin(controller: Controller) -> str:
    """What `check --dropin` prints, put where it says."""
    done = controller.command("check", "--dropin")
    assert done.returncode == 0, done.stderr
    (controller.lab.client.swanctl_dir / "conf.d" / "zz-vici-mif.conf").write_text(done.stdout)
    return done.stdout


def reaches_the_far_side(lab: Lab) -> bool:
    if lab.topology.wish.profile is Profile.SITE:
        return ping(lab, "10.2.0.2", count=1, host="station") == 1
    return ping(lab, "10.100.0.2", count=1) == 1


def is_up(peer: PeerStatus) -> bool:
    spare = peer.mode != "one" or any(tunnel.home is None for tunnel in peer.tunnels)
    return peer.state == "up" and any(tunnel.children for tunnel in peer.tunnels) and spare


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES.keys())
def test_adoption_of_what_starts_by_itself(make_lab: MakeLab, wish: dict[str, object]) -> None:
    """`start_action = start` made an SA before us; with the drop-in and two lines we take over."""
    lab = make_lab(uplinks=2, start_action="start", **wish)
    eventually(lambda: reaches_the_far_side(lab))
    controller = two_lines(lab)
    assert "start_action = none" in paste_dropin(controller)
    lab.charons["client"].load()
    controller.start()
    try:
        controller.until(is_up)
        eventually(lambda: reaches_the_far_side(lab))
        before = rig.spis(lab)
        lab.charons["client"].load()
        assert rig.spis(lab) == before
    finally:
        controller.stop()


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES.keys())
def test_the_same_files_on_a_stock_charon(
    make_lab: MakeLab, stock_charon: Path, wish: dict[str, object]
) -> None:
    """A security update puts the stock package back: connections load and come up as before."""
    lab = make_lab(uplinks=2, **wish)
    paste_dropin(two_lines(lab))
    lab.charons["client"].stop()
    stock = make_lab(uplinks=2, client_charon=stock_charon, gateway_charon=stock_charon, **wish)
    dropin = (lab.client.swanctl_dir / "conf.d" / "zz-vici-mif.conf").read_text()
    (stock.client.swanctl_dir / "conf.d" / "zz-vici-mif.conf").write_text(dropin)

    loaded = stock.charons["client"].load()

    assert "successfully loaded 1 connections" in loaded
    stock.charons["client"].swanctl("--initiate", "--child", "net")
    eventually(lambda: reaches_the_far_side(stock))


def test_the_operators_other_connection_sees_nothing(make_lab: MakeLab) -> None:
    """A second connection beside ours keeps its SA, its ids and its SPIs through all we do."""
    lab = make_lab(uplinks=2)
    file = lab.client.swanctl_dir / "swanctl.conf"
    text = file.read_text()
    block = text[text.index("  hq {") : text.index("secrets {")].rstrip().removesuffix("}")
    other = block.replace("  hq {", "  other {", 1).replace("net {", "own {", 1)
    file.write_text(text.replace("connections {\n", "connections {\n" + other, 1))
    lab.charons["client"].load()
    lab.charons["client"].swanctl("--initiate", "--child", "own")
    before = rig.spis(lab)
    controller = two_lines(lab)
    controller.start()
    try:
        controller.until(is_up)
        assert before <= rig.spis(lab)
        assert controller.command("down").returncode == 0
        eventually(lambda: rig.spis(lab) == before)
    finally:
        controller.stop()
