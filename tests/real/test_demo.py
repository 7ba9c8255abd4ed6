# SPDX-License-Identifier: Apache-2.0
"""What `make demo` proves, with the same script and the same judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.conftest import MakeLab
from vici_mif.lab import demo
from vici_mif.lab.controller import Controller
from vici_mif.lab.trial import Findings, Home, Script, Trial

HOLD_DOWN = 2.0


def played(make_lab: MakeLab, outage: str, **wish: object) -> Findings:
    """The demo's script on a fresh lab."""
    lab = make_lab(uplinks=3, keys=True, **wish)
    lab.start_captures()
    said: list[str] = []
    controller = Controller(lab, said.append)
    controller.start(f"hq: {{links: [{', '.join(lab.uplinks)}], hold_down: {HOLD_DOWN}s}}")
    controller.wait("up", 60)
    tunnels = demo.tunnels(controller)
    assert len(tunnels) == 3, said
    # the second that is allowed on a quiet machine is judged by `make demo`
    script = Script(outage, hold_down=HOLD_DOWN, slow=2)
    findings = Trial(lab, tunnels, script, said.append).play()
    assert controller.stop() == 0, said
    return findings


@pytest.mark.parametrize(
    ("outage", "outer"), [("eth0", 4), ("wwan0", 6)], ids=["the root's uplink", "a clone's, IPv6"]
)
def test_the_demo_is_proved(make_lab: MakeLab, outage: str, outer: int) -> None:
    """One authentication, three tunnels, nothing in clear, and an uplink that goes and comes."""
    findings = played(make_lab, outage, outer=outer)

    assert [str(claim) for claim in findings.claims if not claim.holds] == []
    assert {member.name for member in findings.transcript.members.values()} >= {
        "root",
        "clone 1",
        "clone 2",
    }
    assert "HDR(root), SK { N(CLONE_IKE_SA), SA, Ni, KEi }  -->" in findings.setup_ladder()
    assert "N(UPDATE_SA_ADDRESSES)" in findings.outage_ladder()


def test_the_judge_says_no_to_a_stock_charon(make_lab: MakeLab, stock_charon: Path) -> None:
    """It roams by itself, authenticates once and leaks nothing; it does not come home."""
    lab = make_lab(
        client_charon=stock_charon, gateway_charon=stock_charon, uplinks=2, keys=True, max_clones=0
    )
    lab.start_captures()
    lab.charons["client"].swanctl("--initiate", "--child", "net")
    script = Script("eth0", steady=2, away=2, hold_down=0.5, after=2)
    homes = {"eth0": Home("eth0", ("10.222.0.1",))}
    said: list[str] = []
    findings = Trial(lab, homes, script, said.append).play()
    refused = [claim.name for claim in findings.claims if not claim.holds]

    assert "eth0 is home again" in refused
    assert {name for name in refused if "all uplinks there" in name} == set()
    assert {"one authentication", "nothing in clear"}.isdisjoint(refused)
