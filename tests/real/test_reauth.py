# SPDX-License-Identifier: Apache-2.0
"""charon's reauthentication breaks before it makes; ours comes first, and nothing breaks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import running
from tests.real.traffic import FAR, connected
from tests.real.under_ping import Pinging
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab

LINKS = ("eth0", "wlan0")
REAUTH = 60
"""Seconds. Ours begins a quarter of it before: what is left must do on a busy machine."""


def reauthenticates(lab: Lab) -> None:
    """The operator's connection gets a reauth_time."""
    file = lab.client.swanctl_dir / "swanctl.conf"
    times = f"reauth_time = {REAUTH}s\n    rand_time = 0s\n    over_time = 20s\n"
    file.write_text(file.read_text().replace("  hq {\n", f"  hq {{\n    {times}", 1))
    lab.charons["client"].load()


def all_home(peer: PeerStatus) -> bool:
    homes = {(t.home or "?").partition("/")[0] for t in peer.tunnels if t.children}
    return homes == set(LINKS) and all(t.home == t.current for t in peer.tunnels)


@pytest.mark.parametrize(
    "moved",
    [pytest.param(False, marks=pytest.mark.long, id="at home"), pytest.param(True, id="moved")],
)
def test_ours_comes_first(make_lab: MakeLab, moved: bool) -> None:
    """Inner addresses equal, TCP lives, no ping lost, the old family gone within ten seconds."""
    lab = make_lab(uplinks=2, capture=True)
    reauthenticates(lab)
    with running(lab, f"{{links: [{', '.join(LINKS)}], spares: 0}}") as controller:
        before = controller.until(all_home)
        if moved:
            lab.link_down("eth0")
            controller.until(
                lambda p: all((t.current or "").startswith("wlan0/") for t in p.tunnels)
            )
        inner = sorted(t.inner for t in before.tunnels)
        near, far = connected(lab, inner[0][0])
        with Pinging(lab, inner[0][0], FAR) as pinging:
            after = controller.until(lambda p: p.family != before.family, within=REAUTH + 20)
            eventually(lambda: {sa.family for sa in rig.sas(lab)} == {after.family}, 10)
            eventually(lambda: len(rig.sas(lab, "gateway")) == 2, 10)
        near.sendall(b"still here")
        assert far.recv(100) == b"still here"
        assert pinging.lost == 0, pinging
        assert after.authentications == 2
        assert sorted(t.inner for t in controller.peer.tunnels) == inner
        assert not re.search(r"reauthenticating IKE_SA", said(lab.client.log))
    assert rig.in_clear(lab) == {}


def said(log: Path) -> str:
    return log.read_text(errors="replace")
