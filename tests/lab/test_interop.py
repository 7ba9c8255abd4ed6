# SPDX-License-Identifier: Apache-2.0
"""The rig's results and their page, without an engine: what is written, and how it looks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import images, page, plan, results, table
from vici_mif.lab.interop.results import Cell, Counters, Facts, Played, Results
from vici_mif.lab.interop.stage import LADDER

ROOT = Path(__file__).parent.parent.parent
FACTS = Facts(
    messages={"IKE_SA_INIT": 2, "IKE_AUTH": 2},
    clones=1,
    authentications=1,
    esp={"eth0": 12, "gw0": 24},
    counters={"client": Counters(ike_sas=2, packets_in=12, packets_out=12)},
)


def _cell(scenario: str, outcome: results.Outcome, why: str = "", folder: str = "") -> Cell:
    files = (LADDER, "router-gw0.pcap") if folder else ()
    facts = FACTS if folder else None
    return Cell(
        scenario=scenario,
        client="ours",
        gateway="theirs",
        outcome=outcome,
        why=why,
        folder=folder,
        files=files,
        facts=facts,
    )


@pytest.fixture
def found(tmp_path: Path) -> Results:
    """One cell of each outcome, one with a hostile reason, and a ladder that is wide."""
    folder = tmp_path / "cells/one-clone/ours--theirs"
    folder.mkdir(parents=True)
    (folder / LADDER).write_text("HDR, SK { N(CLONE_IKE_SA) }  -->" + "-" * 90 + "\n")
    (folder / "router-gw0.pcap").write_bytes(b"")
    names = ("one-clone", "eap", "three-clones", "announcement")
    return Results(
        schema="vici-mif/interop/1",
        began="2026-01-01T00:00:00Z",
        seconds=12.5,
        backend="netns",
        kernel="Linux 6.1",
        implementations={"ours": "vici-mif on strongSwan", "theirs": "another"},
        scenarios={
            **{name: Played(title=f"about {name}", kind="clones") for name in names},
            "old": Played(title="about old", kind="fallback"),
        },
        cells=(
            _cell("one-clone", "pass", folder="cells/one-clone/ours--theirs"),
            _cell("eap", "fail", "<script>alert('a peer said so')</script>"),
            _cell("three-clones", "skipped", "no engine"),
            _cell("announcement", "unsupported", "theirs does not play it"),
            _cell("old", "fallback", "fallback ok: the gateway cannot clone"),
        ),
    )


def test_a_table_counts_by_pair_and_tells_what_did_not_hold(found: Results) -> None:
    """Nobody has to open the page to see what a run was worth; unsupported is not counted."""
    other = found.model_copy(update={"cells": (_cell("one-clone", "pass"),)})
    text = table.draw([found, other])

    assert "12 s: 4 cells, 1 pass, 1 fail, 1 skipped, 1 fallback.\n" in text
    assert "12 s: 1 cells, 1 pass.\n" in text
    assert "| ours | 2 pass, 1 fail, 1 skipped, 1 fallback |" in text
    assert "- three-clones, ours to theirs: skipped: no engine" in text
    assert "announcement" not in text


def test_results_can_be_read_again(found: Results, tmp_path: Path) -> None:
    """What was written is what is read, under the schema's name."""
    file = found.write(tmp_path)

    assert Results.model_validate_json(file.read_text()) == found
    assert json.loads(file.read_text())["schema"] == "vici-mif/interop/1"
    assert [cell.scenario for cell in found.failed] == ["eap"]


def test_the_schema_is_current() -> None:
    """`scripts/schemas` writes it."""
    kept = json.loads((ROOT / "docs/vici-mif-interop.schema.json").read_text())

    assert kept == results.schema()


def test_every_cell_leads_to_its_section(found: Results, tmp_path: Path) -> None:
    """Each link of the matrix has its target, each file is beside the page, nothing is loaded."""
    html = page.draw(found, tmp_path)

    links = set(re.findall(r'<td><a class="\w+" href="#([^"]+)"', html))
    assert links == set(re.findall(r'<section class="cell" id="([^"]+)"', html))
    assert len(links) == 4
    files = [name for name in re.findall(r'href="([^"#]+)"', html) if name != results.FILE]
    assert files
    assert [name for name in files if not (tmp_path / name).exists()] == []
    assert "N(CLONE_IKE_SA)" in html
    assert not re.search(r"src=|https?://|<link|@import", html)


def test_what_others_said_is_text(found: Results, tmp_path: Path) -> None:
    """A reason may carry what a peer sent."""
    html = page.draw(found, tmp_path)

    assert "<script" not in html
    assert "&lt;script&gt;" in html


CHROMIUM = shutil.which("chromium")
FRAME = """<!doctype html><iframe src="{page}" width="{width}" height="{height}"
 style="border: 0"></iframe><script>
addEventListener("load", () => {{
  const page = frames[0], root = page.document.documentElement;
  const cell = page.document.querySelector("section.cell:target");
  const style = page.getComputedStyle(page.document.body);
  document.body.innerHTML = JSON.stringify({{
    wide: root.scrollWidth, room: root.clientWidth, window: page.innerWidth,
    shown: cell ? cell.id : null, paper: style.backgroundColor, ink: style.color,
    dark: page.matchMedia("(prefers-color-scheme: dark)").matches}});
}});
</script>"""
"""No window of a desk is as narrow as a phone; a frame is, and the page is as it was written."""


def _look(html: Path, where: str, size: str, *options: str) -> dict[str, object]:
    """What a real browser made of the page, opened as a file."""
    assert CHROMIUM
    width, _, height = size.partition(",")
    around = html.with_name("around.html")
    around.write_text(FRAME.format(page=html.name + where, width=width, height=height))
    profile = f"--user-data-dir={html.parent / 'profile'}"
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", profile, *options,
         "--allow-file-access-from-files", "--window-size=1400,1000", "--dump-dom",
         f"file://{around}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    found = re.search(r"<body[^>]*>(\{.*\})", done.stdout)
    assert found, done.stderr[-2000:]
    measured: dict[str, object] = json.loads(found[1])
    return measured


@pytest.mark.skipif(not CHROMIUM, reason="needs Debian's package chromium")
@pytest.mark.parametrize("size", ["360,800", "390,844", "1280,900"])
def test_in_a_browser(found: Results, tmp_path: Path, size: str) -> None:
    """On a phone and on a desk nothing is wider than the window; a cell opens by its link."""
    html = page.write(found, tmp_path)
    cell = "one-clone--ours--theirs"

    matrix, opened = _look(html, "", size), _look(html, f"#{cell}", size)

    assert (matrix["shown"], opened["shown"]) == (None, cell)
    for look in (matrix, opened):
        assert str(look["window"]) == size.partition(",")[0]
        assert int(str(look["wide"])) <= int(str(look["room"]))
    # without this a phone takes the page for one of a desk, and shows it small
    assert (
        '<meta name="viewport" content="width=device-width, initial-scale=1">' in html.read_text()
    )


@pytest.mark.skipif(not CHROMIUM, reason="needs Debian's package chromium")
def test_in_the_dark(found: Results, tmp_path: Path) -> None:
    """Light ink on dark paper, and the other way round, as the reader's system wishes."""
    html = page.write(found, tmp_path)

    light = _look(html, "", "800,900")
    dark = _look(html, "", "800,900", "--force-dark-mode")

    assert (light["dark"], dark["dark"]) == (False, True)
    assert (light["paper"], light["ink"]) != (dark["paper"], dark["ink"])


OUTSIDE = {
    "apt": "#5 3.2 E: Unable to locate package libreswan\nERROR: process did not complete",
    "our builder": "vici-mif: no source of strongSwan can be had:\n  6.1.0: gone",
}


@pytest.mark.parametrize("who", OUTSIDE)
def test_what_is_gone_out_there_is_told_from_an_error(who: str) -> None:
    """A stage is skipped for it, with the line that says so; a broken build is red."""
    assert images.outside(OUTSIDE[who])
    assert images.outside(OUTSIDE[who]) in OUTSIDE[who]
    assert not images.outside("gcc: error: no such file\nmake: *** [all] Error 2")


def test_the_reason_of_a_script_is_its_own_last_word() -> None:
    """Whatever the programs that it called printed before."""
    noise = "E: could not get lock\nskipped: no image of trixie\n"
    assert images.reason(noise) == "no image of trixie"
    assert images.reason("no word of it\n") == "no word of it"


def test_images_know_the_scenarios_of_the_rig() -> None:
    """`endpoint check` by name, as the scenarios' kinds say; 127 to what nobody knows."""
    endpoint = str(ROOT / "docker" / "endpoint")
    found = plan.scenarios(ROOT / "tests" / "scenarios")
    part = {
        ("clones", "client"): "yes",
        ("clones", "gateway"): "yes",
        ("fallback", "client"): "yes",
        ("fallback", "gateway"): "no",
        ("old-client", "client"): "no",
        ("old-client", "gateway"): "yes",
        ("upgrade", "client"): "yes",
        ("upgrade", "gateway"): "yes",
    }
    for name, kind in [*((n, s.story.rig) for n, s in found.items()), ("nobody-knows", "clones")]:
        for role in ("client", "gateway"):
            for clones in ("yes", "no"):
                given = {"SCENARIO": name, "ROLE": role, "CLONES": clones}
                status = subprocess.run([endpoint, "check"], env=given, check=False).returncode
                plays = part[str(kind), role] == clones and name in found
                assert status == (0 if plays else 127), given


def test_a_release_without_a_series_is_a_mistake_of_ours(tmp_path: Path) -> None:
    """Nothing out there is missing, so no test may be skipped over it."""
    with pytest.raises(LabError, match=r"no series for strongSwan 0\.0\.1; there are") as caught:
        images.have_source("0.0.1", tmp_path / "source")
    assert not isinstance(caught.value, images.SkippedError)
