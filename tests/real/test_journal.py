# SPDX-License-Identifier: Apache-2.0
"""The journal beside real charons: a full disk costs no packet, and what was noted is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import disk
from tests.namespace import eventually
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, agreed, on, ping

ONE_WARNING = "nothing is noted until it can be written again"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Four megabytes, all but a few kilobytes taken."""
    with disk.small(tmp_path / "disk", "4m") as place:
        (place / "ballast").write_bytes(bytes(4 * 1024 * 1024 - 16 * 1024))
        yield place


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_full_disk_costs_no_packet(make_lab: MakeLab, small_disk: Path) -> None:
    """Tunnels come up, move and carry; one warning; with room again all of it is noted."""
    lab = make_lab(uplinks=2)
    controller = Controller(lab, "{links: [eth0, wlan0], hold_down: 1s}")
    text = controller.file.read_text()
    controller.file.write_text(
        text.replace(str(controller.directory / "journal"), str(small_disk / "journal"))
    )
    controller.start()
    try:
        controller.until(lambda p: p.state == "up" and {"eth0", "wlan0"} <= on(p).keys())
        eventually(lambda: ONE_WARNING in controller.said(), 60)
        lab.link_down("eth0")
        controller.until(lambda p: all("wlan0" in str(t.current) for t in p.tunnels))
        eventually(lambda: agreed(lab))
        for tunnel in controller.peer.tunnels:
            assert ping(lab, "10.100.0.2", tunnel.inner[0]) == 5
        assert controller.log.read_text().count(ONE_WARNING) == 1
        (small_disk / "ballast").unlink()
        eventually(lambda: "journal: noted again; " in controller.said(), 90)
        lab.link_up("eth0")
        controller.until(lambda p: p.state == "up" and {"eth0", "wlan0"} <= on(p).keys())
    finally:
        controller.stop()
    replayed = controller.command("replay", "--quiet", str(small_disk / "journal"))

    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "steps were not noted" in replayed.stdout
