# SPDX-License-Identifier: Apache-2.0
"""The controller under a real systemd, in the sandbox of its units, beside real charons."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.manager import READERS, Manager, configuration, manager
from tests.real.under_ping import Pinging
from vici_mif.core.status import PeerStatus, Status
from vici_mif.edges.control import ControlError, ask
from vici_mif.lab.topology import Profile

HQ = "hq: {links: [eth0, wlan0], hold_down: 2s, probe: {targets: [10.100.0.2]}}"
SERVER = "10.100.0.2"
CAPABILITIES = {"cap_chown": 0, "cap_net_admin": 12, "cap_net_raw": 13}

GUARD = "vici-mif-guard.service"
NETWORKING = """\
[Unit]
DefaultDependencies=no
After=network-pre.target
Wants=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'nft list tables > /run/seen-by-networking'
"""
"""Stands for what brings links up: it is told what the firewall holds then."""


@pytest.fixture
def host(make_lab: MakeLab) -> Iterator[Manager]:
    """A road warrior; a controller that hangs is noticed within eight seconds."""
    with manager(make_lab(uplinks=2), HQ, watchdog="8") as found:
        yield found


def peer(host: Manager) -> PeerStatus | None:
    run_dir = host.lab.client.run_directory / "vici-mif"
    try:
        return Status.model_validate(ask(run_dir, {"ask": "status"})["status"]).peers[0]
    except ControlError:
        return None


def is_up(host: Manager) -> bool:
    """All tunnels at home and watched from inside, and the spare is there."""
    found = peer(host)
    assert host.shown("ActiveState") != "failed", host.said()
    return (
        found is not None
        and rig.all_home(found)
        and rig.spare_ready(found)
        and any(path.probe == "inner" for path in found.paths)
    )


def test_a_controller_that_hangs(host: Manager) -> None:
    """Started in its sandbox with three capabilities; stopped by SIGSTOP it is replaced, and the
    tunnels and what goes through them never notice; reload and stop as systemd wants them."""
    started = host.systemctl("start", "vici-mif.service")
    assert started.returncode == 0, started.stderr + host.said()
    eventually(lambda: is_up(host), within=60)
    assert "hq: up" in host.shown("StatusText")
    assert capabilities(host) == sum(1 << bit for bit in CAPABILITIES.values())

    # what each capability is for
    assert re.search(r"^1[56]\d:", host.lab.client.exec(["ip", "rule"]).stdout, re.MULTILINE)
    readable = (host.lab.client.run_directory / "vici-mif/status.sock").stat()
    assert (readable.st_gid, readable.st_mode & 0o777) == (READERS, 0o660)

    before = rig.spis(host.lab)
    found = peer(host)
    assert found is not None
    with Pinging(host.lab, rig.inner(found)[0], SERVER) as pings:
        os.kill(host.main_pid(), signal.SIGSTOP)
        eventually(lambda: host.shown("NRestarts") == "1", within=30)
        eventually(lambda: is_up(host), within=60)
    assert pings.lost == 0
    assert rig.spis(host.lab) == before
    assert "most recent call first" in host.said()

    reloads(host)
    assert host.systemctl("stop", "vici-mif.service").returncode == 0
    assert host.shown("Result") == "success"
    assert rig.spis(host.lab) == before


def capabilities(host: Manager) -> int:
    with open(f"/proc/{host.main_pid()}/status") as status:
        return int(next(line for line in status if line.startswith("CapEff")).split()[1], 16)


def reloads(host: Manager) -> None:
    """A broken file: the reload fails, the controller goes on. A good one is in force."""
    host.configure(configuration(HQ.replace("links", "lnks")))
    assert host.systemctl("reload", "vici-mif.service").returncode != 0
    assert host.shown("ActiveState") == "active"

    host.configure(configuration(HQ.replace("2s", "3s")))
    assert host.systemctl("reload", "vici-mif.service").returncode == 0
    assert host.shown("NRestarts") == "1"


def test_the_guard_before_the_network(make_lab: MakeLab) -> None:
    """What the controller laid is laid again by the other unit, before any controller runs.

    Enabled and pulled in by the boot's own target, beside what brings the links up: that one finds
    it laid.
    """
    lab = make_lab(uplinks=2, profile=Profile.SITE)
    with manager(lab, "hq: {links: [eth0, wlan0]}") as host:
        host.systemctl("start", "vici-mif.service")
        eventually(lambda: (found := peer(host)) is not None and found.state == "up", within=60)
        eventually(lambda: "vici_mif" in lab.client.exec(["nft", "list", "tables"]).stdout)
        assert host.systemctl("stop", "vici-mif.service").returncode == 0
        lab.client.exec(["nft", "flush", "ruleset"])

        host.write("/etc/systemd/system/networking.service", NETWORKING)
        assert host.systemctl("enable", "vici-mif-guard.service").returncode == 0
        assert host.systemctl("daemon-reload").returncode == 0

        done = host.systemctl("start", "sysinit.target", "networking.service")

        assert done.returncode == 0, host.said()
        assert host.shown("ActiveState", GUARD) == "active"
        assert "vici_mif" in host.run("cat", "/run/seen-by-networking").stdout
        laid, network, links = (
            int(host.shown("ActiveEnterTimestampMonotonic", unit))
            for unit in (GUARD, "network-pre.target", "networking.service")
        )
        assert 0 < laid <= network <= links
