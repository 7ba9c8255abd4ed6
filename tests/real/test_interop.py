# SPDX-License-Identifier: Apache-2.0
"""The rig's matrix on network namespaces: a cell that holds, and cells that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from vici_mif.core.wish.document import Source
from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import images, implementations, plan, run
from vici_mif.lab.interop.implementations import Implementation, Namespaced
from vici_mif.lab.interop.results import Cell
from vici_mif.lab.scenario.model import parse

ROOT = Path(__file__).parent.parent.parent
NAME = "ours"


def _play(root: None, out: Path, text: str, release: str = "6.1.0") -> Cell:
    wanted = Implementation(title=NAME, clones=True, netns=Namespaced(release=release))
    scenario = parse("a-test", Source("a-test.yaml", text))
    only = {NAME: wanted}
    wanted = plan.Plan("netns", only, only, {"a-test": scenario}, out)
    (cell,) = run.run(wanted, print).cells
    return cell


def test_a_cell_holds(root: None, patched_charon: Path, tmp_path: Path) -> None:
    """By VICI, by tshark, by counters; the page is there."""
    cell = _play(root, tmp_path, (ROOT / "tests/scenarios/one-clone.yaml").read_text())

    assert (cell.outcome, cell.why) == ("pass", "")
    assert cell.facts is not None
    assert cell.facts.clones == 1
    assert min(cell.facts.esp["eth0"], cell.facts.esp["wlan0"]) > 0
    assert cell.facts.counters["gateway"].packets_in > 0
    assert "a-test" in (tmp_path / "index.html").read_text()


def test_a_wrong_claim_fails_the_cell(root: None, patched_charon: Path, tmp_path: Path) -> None:
    """What the capture says differs: the cell says what, and keeps the evidence."""
    text = (
        "scenario: more than there is\nrig: clones\ntopology: {uplinks: 1}\n"
        "connections: {hq: {links: [eth0], tunnels: 1, spares: 0}}\n"
        "wire:\n  - {notify: CLONE_IKE_SA, times: 7}\nsteps:\n  - expect: {peer: up}\n"
    )
    cell = _play(root, tmp_path, text)

    assert cell.outcome == "fail"
    assert "on the wire: CLONE_IKE_SA: 0, not 7" in cell.why
    assert {"ladder.txt", "router-gw0.pcap"} <= set(cell.files)


def test_what_is_missing_is_skipped_and_said(root: None, tmp_path: Path) -> None:
    """A release without a series: no cell of it is red, and each says why."""
    text = "scenario: none\nrig: clones\nsteps:\n  - expect: {peer: up}\n"
    cell = _play(root, tmp_path, text, release="1.2.3")

    assert cell.outcome == "skipped"
    assert "no series for strongSwan 1.2.3" in cell.why


def test_an_image_plays_without_an_engine(root: None, patched_charon: Path, tmp_path: Path) -> None:
    """libreswan, from a directory: an old client of a gateway that can clone."""
    known = implementations.read(ROOT / "docker" / "implementations.json")
    theirs = known["libreswan"]
    if not theirs.image or not images.root(theirs.image).is_dir():
        pytest.skip("no files of libreswan: python -m vici_mif.lab.interop unpack libreswan")
    found = plan.scenarios(ROOT / "tests" / "scenarios", "ike-of-old-client")
    ends = ({"libreswan": theirs}, {"ours-6.1.0": known["ours-6.1.0"]})

    (cell,) = run.run(plan.Plan("netns", *ends, found, tmp_path), print).cells

    assert cell.outcome == "pass", cell.why
    assert cell.facts is not None
    assert cell.facts.messages["IKE_AUTH"] >= 2


def test_a_strange_scenario_is_named() -> None:
    """With those that the rig has."""
    with pytest.raises(LabError, match=r"no such scenario: elsewhere \(the rig has: announce"):
        plan.scenarios(ROOT / "tests" / "scenarios", "elsewhere")
