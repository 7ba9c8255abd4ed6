# SPDX-License-Identifier: Apache-2.0
"""The alerts that come along, judged by Prometheus' own tool; `scripts/promtool` fetches it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vici_mif.core.figures import figures
from vici_mif.core.figures.figures import Counted
from vici_mif.core.status import Status

ROOT = Path(__file__).parent.parent
RULES = ROOT / "share/prometheus/vici-mif.rules.yml"
CASES = Path(__file__).parent / "prometheus/alerts.yml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vici-mif"
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=str(CACHE / "promtool"))
NEEDED = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: `scripts/promtool`")


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROMTOOL), *words], capture_output=True, text=True, check=False)


@NEEDED
def test_the_alerts_are_well_formed() -> None:
    """`promtool check rules`."""
    done = promtool("check", "rules", "--lint-fatal", str(RULES))

    assert done.returncode == 0, done.stdout + done.stderr


@NEEDED
def test_the_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """`promtool test rules`: what fires, and what does not."""
    cases = tmp_path / "alerts.yml"
    cases.write_text(CASES.read_text().replace("RULES", str(RULES)))
    done = promtool("test", "rules", str(cases))

    assert done.returncode == 0, done.stdout + done.stderr


def names(text: str) -> set[str]:
    """All that begins like a metric of ours, without what a histogram adds."""
    return {re.sub(r"_(bucket|sum|count)$", "", n) for n in re.findall(r"\bvicimif_\w+", text)}


def told(status: Status) -> set[str]:
    """Every family there is."""
    return set(re.findall(r"# TYPE (\w+)", figures.text(status, Counted())))


def test_alerts_and_documents_name_what_there_is() -> None:
    """A metric that is renamed is renamed everywhere; each one is explained."""
    from tests.test_render import crowded

    present = told(crowded())
    explained = names((ROOT / "docs/operating.md").read_text())

    assert names(RULES.read_text()) <= present
    assert explained == present
