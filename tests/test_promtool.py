# SPDX-License-Identifier: Apache-2.0
"""The alerts that come along, judged by Prometheus' own tool; `scripts/promtool` fetches it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_render import crowded
from vici_mif.core.figures import figures
from vici_mif.core.figures.figures import Counted
from vici_mif.core.status import GatewayStatus, SourcesStatus, Status

ROOT = Path(__file__).parent.parent
RULES = ROOT / "share/prometheus/vici-mif.rules.yml"
DASHBOARD = ROOT / "share/grafana/vici-mif.json"
CASES = Path(__file__).parent / "prometheus/alerts.yml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vici-mif"
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=str(CACHE / "promtool"))
NEEDED = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: `scripts/promtool`")

GATEWAY = GatewayStatus(
    families=(),
    tunnels=0,
    refused=0,
    read="",
    sources=SourcesStatus(
        mode="count", known=3, refused=1, new_packets=4, refused_packets=2, spread_packets=0,
        full_packets=0,
    ),
)  # fmt: skip


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
    present = told(crowded().model_copy(update={"gateway": GATEWAY}))
    explained = names((ROOT / "docs/operating.md").read_text())

    assert names(RULES.read_text()) <= present
    assert names(DASHBOARD.read_text()) <= present
    assert explained == present


@NEEDED
def test_a_gateways_metrics_are_well_formed() -> None:
    """With their sums and the source check."""
    text = figures.text(crowded().model_copy(update={"gateway": GATEWAY}), Counted())
    argv = [str(PROMTOOL), "check", "metrics"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert 'vicimif_gateway_strange_packets_total{result="refused"} 2' in text


@NEEDED
def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    """Each expression as a rule of its own; Grafana's variables stand for any text."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [{"record": f"x:y{i}", "expr": expr} for i, expr in enumerate(expressions)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))  # JSON is YAML
    done = promtool("check", "rules", str(file))

    assert len(expressions) > 8
    assert done.returncode == 0, done.stdout + done.stderr
