# SPDX-License-Identifier: Apache-2.0
"""Others' hands under traffic: what they take away is back at once, what they order is obeyed.

Nothing protected leaves in clear meanwhile: every capture is searched at the end.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.networkd import networkd
from tests.real.rig import UPLINKS, Controller, all_home, on, ping, running
from tests.real.traffic import Traffic
from tests.real.under_ping import Pinging
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import Profile, bare

LOOKS = {"ReadAll", "ReadSa", "Probe", "Migrate", "Watch"}
"""What goes on while nothing happens: looks, tests, and pins that are renewed."""

OBEYED = 15.0
"""Seconds in which an order by hand has come to its end."""

CONFIG = "{links: [eth0, wlan0], hold_down: 2s}"
SITE_FAR = "10.2.0.2"


def said(name: str, figure: float) -> None:
    print(f"{name}: {figure * 1000:.0f} ms")


def ip(lab: Lab, command: str) -> str:
    return lab.client.exec(["ip", *command.split()], check=False).stdout


def flush_rules(lab: Lab) -> None:
    """As systemd-networkd does with `ManageForeignRoutingPolicyRules`: all that is not its own."""
    rules = [line.partition(":")[0] for line in ip(lab, "rule").splitlines() if "proto 77" in line]
    batch = "\n".join(f"rule del pref {number}" for number in rules)
    lab.client.exec(["ip", "-force", "-batch", "-"], stdin=batch + "\n", check=False)


def flush_all_rules(lab: Lab) -> None:
    """`ip rule flush` as typed: charon's rule goes too; the kernel's own are put back."""
    ip(lab, "rule flush")
    ip(lab, "rule add pref 32766 lookup main")
    ip(lab, "rule add pref 32767 lookup default")


def flush_routes(lab: Lab) -> None:
    """Its `ManageForeignRoutes`."""
    ip(lab, "route flush table all proto 77")


@contextmanager
def monitored(lab: Lab) -> Iterator[Callable[[], list[tuple[float, bool]]]]:
    """What the kernel tells of rules and routes of ours: when, and whether it was a deletion."""
    log = lab.client.directory / "monitor.log"
    argv = ["stdbuf", "-oL", "ip", "-ts", "monitor", "rule", "route"]
    with log.open("wb") as out:
        monitor = lab.client.spawn("monitor", argv, stdout=out)

    def read() -> list[tuple[float, bool]]:
        lines = [line for line in log.read_text().splitlines() if "proto 77" in line]
        found = [re.match(r"\[(\S+)\] (Deleted )?", line) for line in lines]
        return [(datetime.fromisoformat(m[1]).timestamp(), bool(m[2])) for m in found if m]

    try:
        eventually(lambda: _listens(lab, log))
        yield read
    finally:
        monitor.kill()
        monitor.wait()


def _listens(lab: Lab, log: Path) -> bool:
    """The monitor has started: it tells of a route of nobody's that comes and goes."""
    for word in ("add", "del"):
        ip(lab, f"route {word} unreachable 192.0.2.77/32 table 7777")
    return log.stat().st_size > 0


def restored_within(lab: Lab, take: Callable[[Lab], None], bound: float) -> float:
    """Seconds from the deletion until all of ours stands again as before."""
    before = sorted(rig.ours(lab))
    assert before
    take(lab)
    at = time.monotonic()
    eventually(lambda: sorted(rig.ours(lab)) == before, within=bound)
    return time.monotonic() - at


@pytest.mark.parametrize("take", [flush_rules, flush_all_rules, flush_routes])
def test_rules_and_routes_are_put_back(
    client: Controller, flows: Traffic, take: Callable[[Lab], None]
) -> None:
    """Three times in a row; counted, shown, and not a packet in clear."""
    at = time.time()
    for _ in range(3):
        with monitored(client.lab) as told:
            restored_within(client.lab, take, 5)
            eventually(lambda t=told: t() and not t()[-1][1])
            said(take.__name__, told()[-1][0] - min(at for at, deleted in told() if deleted))
    eventually(flows.flowing)
    said("longest silence of a flow", max(flows.silences(at).values()))

    assert client.status().daemon.restored.routing >= 3
    assert "put back" in client.command("status").stdout
    assert flows.failures() == []
    assert client.peer.authentications == 1


def test_networkd_restarts(client: Controller, flows: Traffic) -> None:
    """With its defaults it deletes rules that are not its own: put back each time, flows go on."""
    lab, at = client.lab, time.time()
    before = sorted(rig.ours(lab))
    with networkd(lab) as daemon:
        for number in range(1, 4):
            with monitored(lab) as told:
                daemon.restart()
                eventually(lambda t=told: any(deleted for _, deleted in t()), 20)
                eventually(lambda: sorted(rig.ours(lab)) == before, 20)
                said("networkd restarted", told()[-1][0] - min(at for at, gone in told() if gone))
            assert client.status().daemon.restored.routing >= number
    eventually(flows.flowing)
    said("longest silence of a flow", max(flows.silences(at).values()))

    assert flows.failures() == []
    assert client.peer.authentications == 1


def test_flush_ruleset_is_undone(make_lab: MakeLab) -> None:
    """Debian's nftables.service begins with it; the site's guard is back, nothing left in clear."""
    lab = make_lab(profile=Profile.SITE, uplinks=2, capture=True)
    with running(lab, CONFIG) as controller:
        controller.until(lambda p: p.state == "up" and any(t.children for t in p.tunnels))
        lab.charons["gateway"].kill()
        for _ in range(3):
            took = restored_within(lab, lambda it: it.client.exec(["nft", "flush", "ruleset"]), 5)
            said("flush ruleset", took)
        # counted after it was put back
        eventually(lambda: controller.status().daemon.restored.guard >= 3)
        assert controller.status().daemon.restored.guard == 3
        assert ping(lab, SITE_FAR, count=3, host="station") == 0
    assert rig.in_clear(lab, "net 10.2.0.0/16 and not udp port 4500") == {}


def test_load_all_unchanged_is_nothing(client: Controller, flows: Traffic) -> None:
    """The operator loads his files again and again under traffic."""
    client.until(rig.spare_ready)
    lab, before, at = client.lab, rig.spis(client.lab), time.time()
    mark = len(client.log.read_text())
    for _ in range(5):
        lab.charons["client"].load()
        lab.charons["gateway"].load()
    eventually(lambda: time.time() > at + 7)

    assert flows.lost(at, time.time()) == {}
    assert rig.spis(lab) == before
    begun = set(re.findall(r"^\S+ > (\w+)", client.log.read_text()[mark:], re.MULTILINE))
    assert begun <= LOOKS
    assert all_home(client.peer)


@pytest.mark.long
def test_a_child_that_load_all_brings_is_opened(client: Controller, flows: Traffic) -> None:
    """A changed connection is noticed within seconds, and what ran goes on running."""
    lab, at = client.lab, time.time()
    before = {c.spi_in for sa in rig.sas(lab) for c in sa.children}
    for host in ("client", "gateway"):
        file = lab.hosts[host].swanctl_dir / "swanctl.conf"
        side = "remote_ts" if host == "client" else "local_ts"
        more = f"      voip {{\n        {side} = 10.100.9.0/24\n      }}\n      net {{"
        file.write_text(file.read_text().replace("      net {", more))
        lab.charons[host].load()

    def opened() -> bool:
        names = [c.name for sa in rig.sas(lab) for c in sa.children if c.state == "INSTALLED"]
        return sum(name.startswith("voip@") for name in names) >= len(UPLINKS)

    eventually(opened, within=30)
    said("load-all with one more child, open on all tunnels", time.time() - at)
    assert before <= {c.spi_in for sa in rig.sas(lab) for c in sa.children}
    assert flows.lost(at, time.time()) == {}


@pytest.mark.long
def test_an_unloaded_connection_keeps_its_tunnels(client: Controller, flows: Traffic) -> None:
    """The operator's file is gone at `--load-all`: said, nothing given up; back: up."""
    client.until(rig.spare_ready)
    lab, before, at = client.lab, rig.spis(client.lab), time.time()
    file = lab.client.swanctl_dir / "swanctl.conf"
    text = file.read_text()
    file.write_text(text.replace("  hq {", "  other {"))
    lab.charons["client"].load()
    client.until(lambda p: p.state == "degraded" and "no connection hq any more" in p.why)
    file.write_text(text)
    lab.charons["client"].load()
    client.until(all_home)

    assert flows.lost(at, time.time()) == {}
    assert rig.spis(lab) == before


@pytest.mark.long
def test_terminated_by_hand_is_an_order(client: Controller, flows: Traffic) -> None:
    """`swanctl --terminate` of the connection means down, and nothing of ours is left.

    What is sent meanwhile goes nowhere; after `up` it arrives again.
    """
    lab = client.lab
    at = time.monotonic()
    lab.charons["client"].swanctl("--terminate", "--ike", "hq")
    client.until(lambda p: p.state == "down" and "taken down by swanctl" in p.why, OBEYED)
    eventually(lambda: rig.ours(lab) == [], within=OBEYED)
    said("terminate by hand until nothing of ours is left", time.monotonic() - at)
    eventually(lambda: not flows.flowing())

    at = time.monotonic()
    assert client.command("up").returncode == 0
    eventually(flows.flowing, within=OBEYED)
    said("up until all flows", time.monotonic() - at)
    client.until(all_home)


@pytest.mark.long
def test_a_connection_with_another_address_of_the_gateway(make_lab: MakeLab) -> None:
    """Loaded under ping: the tunnels go there, tested, with their keys, and nothing is lost."""
    lab = make_lab(uplinks=2, remotes=2, capture=True)
    first, second = lab.topology.remote_addresses
    dial(lab, bare(first))
    with running(lab, CONFIG) as controller:
        controller.until(lambda p: rig.all_home(p) and rig.spare_ready(p))
        before = rig.spis(lab)
        inner = on(controller.peer)["eth0"].inner[0]
        with Pinging(lab, inner, "10.100.0.2") as pinging:
            dial(lab, bare(second))
            eventually(lambda: {str(sa.remote) for sa in rig.sas(lab)} == {bare(second)}, 60)
            controller.until(lambda p: p.state == "up", 60)
        assert pinging.lost == 0
        assert rig.spis(lab) == before
        assert controller.peer.authentications == 1
    assert rig.in_clear(lab) == {}


def dial(lab: Lab, address: str) -> None:
    """The operator's connection has this address of the gateway now, and is loaded."""
    file = lab.client.swanctl_dir / "swanctl.conf"
    file.write_text(re.sub(r"remote_addrs = .*", f"remote_addrs = {address}", file.read_text()))
    lab.charons["client"].load()
