# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads of a real client while a path goes silent and tunnels are rekeyed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, ping
from tests.test_metrics import samples
from tests.test_promtool import PROMTOOL

ADDRESS = "127.0.0.1:9791"
TARGET = "10.100.0.1"
CONFIG = f"{{links: [eth0, wlan0], hold_down: 1s, probe: {{targets: [{TARGET}]}}}}"
GET = (
    "import sys, urllib.request as u; "
    f"sys.stdout.write(u.urlopen('http://{ADDRESS}/metrics').read().decode())"
)
SLOW = 5.0
"""Seconds that a failover may take on a machine that is shared."""


@pytest.fixture
def scraped(make_lab: MakeLab) -> Iterator[Controller]:
    controller = Controller(make_lab(uplinks=2), CONFIG)
    text = controller.file.read_text()
    controller.file.write_text(text.replace("daemon: {", f"daemon: {{metrics: '{ADDRESS}', "))
    controller.start()
    try:
        controller.until(
            lambda p: rig.all_home(p) and all(path.probe == "inner" for path in p.paths)
        )
        yield controller
    finally:
        if controller.runs:
            controller.stop()


def page(controller: Controller) -> str:
    """From another process on the same host."""
    return controller.lab.client.exec([sys.executable, "-c", GET]).stdout


def test_a_failover_and_a_rekey(scraped: Controller) -> None:
    """The failover is counted and timed, bytes grow, rekeying adds no series."""
    lab, labels = scraped.lab, 'peer="hq",path="wlan0/203.0.113.1",iface="wlan0"'
    for address in rig.inner(scraped.peer):
        ping(lab, TARGET, address, count=1)
    before = samples(page(scraped))
    assert before[f"vicimif_path_up{{{labels}}}"] == 1
    assert before[f"vicimif_path_rtt_seconds_count{{{labels}}}"] > 0

    lab.cut("wlan0")
    count = 'vicimif_failovers_total{peer="hq",reason="silent"}'
    eventually(lambda: samples(page(scraped))[count] == 1, within=30)
    after = samples(page(scraped))
    assert 0 < after['vicimif_failover_duration_seconds_sum{peer="hq"}'] < SLOW
    assert after[f"vicimif_path_up{{{labels}}}"] == 0

    for sa in rig.sas(lab):
        lab.charons["client"].swanctl("--rekey", "--ike-id", str(sa.unique_id))
    eventually(lambda: samples(page(scraped)).keys() == before.keys())
    assert samples(page(scraped))['vicimif_authentications_total{peer="hq"}'] == 1
    sent = 'vicimif_path_tx_bytes_total{peer="hq",path="eth0/203.0.113.1",iface="eth0"}'
    assert samples(page(scraped))[sent] > before[sent]


def test_promtool_reads_it(scraped: Controller) -> None:
    """As it comes over the wire."""
    if PROMTOOL is None:
        pytest.skip("needs promtool: `scripts/promtool`")
    argv = [PROMTOOL, "check", "metrics"]
    done = subprocess.run(argv, input=page(scraped), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
