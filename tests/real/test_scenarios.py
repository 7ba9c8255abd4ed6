# SPDX-License-Identifier: Apache-2.0
"""Every scenario of tests/scenarios with real charons; captures are searched for clear text.

`lab: test` says that `make test` plays it; the others carry the marker `long`.
"""

from __future__ import annotations

import pytest

from tests.namespace import eventually
from tests.real.conftest import MakeLab
from tests.test_scenarios import FILES, read
from vici_mif.core.wish.document import Source
from vici_mif.lab.lab import Lab
from vici_mif.lab.scenario import stage
from vici_mif.lab.scenario.lab import LabStage
from vici_mif.lab.scenario.model import Scenario, Topology, parse
from vici_mif.lab.scenario.play import has
from vici_mif.lab.scenario.runner import ExpectationError, play


@pytest.fixture
def lab_stage(make_lab: MakeLab, request: pytest.FixtureRequest) -> LabStage:
    def make(topology: Topology) -> Lab:
        charons = {
            f"{side}_charon": request.getfixturevalue("stock_charon")
            for side in ("client", "gateway")
            if getattr(topology, side) == "stock"
        }
        wish = topology.wish("given-by-the-fixture")
        options = {name: getattr(wish, name) for name in wish.__slots__ if name != "name"}
        return make_lab(capture=True, keys=True, **charons, **options)

    return LabStage(make, has())


def _marked(scenario: Scenario) -> object:
    marks = [pytest.mark.long] if scenario.story.lab == "full" else []
    return pytest.param(scenario, marks=marks, id=scenario.name)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", [_marked(read(path)) for path in FILES])
def test_on_the_lab(scenario: Scenario, lab_stage: LabStage) -> None:
    """It holds, and no protected packet was seen in clear on any wire."""
    missing = stage.lacking(scenario, lab_stage)
    if missing:
        pytest.skip(f"this machine has no {', '.join(missing)}: the guest plays it")
    play(scenario, lab_stage, print)


def test_a_packet_in_clear_is_found(lab_stage: LabStage) -> None:
    """The judge at the end is not blind: one packet between inner networks, and it says so."""
    source = Source("leak.yaml", "scenario: a leak\nsteps:\n  - expect: {peer: up}\n")
    lab_stage.open(parse("leak", source))
    try:
        eventually(lambda: lab_stage.status() is not None)
        gateway = lab_stage.lab.gateway
        # the router answers no ARP request of an inner address
        gateway.exec(["ping", "-n", "-c", "1", "203.0.113.254"])
        gateway.exec(["ip", "address", "add", "10.222.0.99/32", "dev", "lo"])
        ping = ["ping", "-n", "-c", "1", "-W", "1", "-I", "10.222.0.99", "10.100.0.77"]
        gateway.exec(["ip", "route", "add", "10.100.0.77/32", "via", "203.0.113.254"])
        gateway.exec(ping, check=False)
        found = lab_stage.verdict()
    finally:
        lab_stage.close()

    assert len(found) == 1
    assert "nothing in clear" in found[0]
    assert "10.222.0.99 to 10.100.0.77" in found[0]


@pytest.mark.long
def test_what_streams_tell_can_fail(lab_stage: LabStage) -> None:
    """A path that was silent for seconds: each claim about it says so."""
    told = {"lost: 0": "lost: ", "silence: 1s": "was silent for", "tcp: lives": "silent for 2 s"}
    text = (
        "scenario: a cut\ntopology: {uplinks: 1}\nconnections: {hq: {links: [eth0]}}\nsteps:\n"
        "  - expect: {peer: up}\n  - do: [traffic start, remember, cut eth0 both]\n"
        f"  - wait: 4s\n  - expect: {{{', '.join(told)}}}\n    within: 0s\n"
    )
    with pytest.raises(ExpectationError) as error:
        play(parse("a-cut", Source("a-cut.yaml", text)), lab_stage)

    assert [part for part in told.values() if part not in str(error.value)] == []
