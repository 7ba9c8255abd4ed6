# SPDX-License-Identifier: Apache-2.0
"""A link appears and takes the spare: how long until payload travels on it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import ping, running
from vici_mif.core.status import PeerStatus, TunnelStatus
from vici_mif.lab.lab import Lab

SERVER = "10.100.0.2"
NEW = "wwan0"
CONFIG = "{links: [eth0, wlan0, 'wwan*'], tunnels: 3}"
ESP = "udp port 4500 and udp[8:4] != 0 and udp[4:2] > 9"
BOUND = 3.0
"""Seconds; a quiet machine needs about a tenth of one, most of it for the rules of the link."""


def ready(peer: PeerStatus) -> bool:
    """Two tunnels at home, and a spare with its child."""
    spares = [t for t in peer.tunnels if _is_spare(t)]
    seated = [t for t in peer.tunnels if t.home and t.children and t.home == t.current]
    return len(seated) == 2 and len(spares) == 1


@contextmanager
def stream(lab: Lab, source: str) -> Iterator[None]:
    """Payload from this inner address, two hundred times a second."""
    child = lab.client.spawn(
        "stream",
        ["ping", "-n", "-q", "-i", "0.005", "-I", source, SERVER],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "ping\n")
        yield
    finally:
        child.terminate()
        child.wait(10)


@contextmanager
def address_events(lab: Lab, file: Path) -> Iterator[None]:
    """What the kernel tells of addresses, with the time."""
    with file.open("wb") as log:
        child = lab.client.spawn("monitor", ["ip", "-ts", "monitor", "address"], stdout=log)
        try:
            eventually(lambda: _listens(lab, file))
            yield
        finally:
            child.terminate()
            child.wait(10)


def _listens(lab: Lab, file: Path) -> bool:
    """It has started: it tells of an address that comes and goes on lo."""
    for word in ("add", "del"):
        lab.client.exec(["ip", "address", word, "192.0.2.77/32", "dev", "lo"])
    return file.stat().st_size > 0


def appeared_at(file: Path) -> float:
    """When the kernel told of the address of the new link: seconds since 1970, UTC."""
    line = next(x for x in file.read_text().splitlines() if NEW in x and " inet " in x)
    stamp = re.search(r"\[(\d{4}-\d\d-\d\dT[\d:]+)\.(\d+)\]", line)
    assert stamp is not None, line
    whole = subprocess.run(["date", "-d", stamp[1], "+%s"], capture_output=True, check=True)
    return int(whole.stdout) + float(f"0.{stamp[2]}")


def first_at(lab: Lab, expression: str) -> float:
    """When the first such packet passed the router on the new link."""
    file = lab.captures.file("router", NEW)
    argv = ["tcpdump", "-n", "-tt", "-r", str(file), expression]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return float(done.stdout.split(maxsplit=1)[0])


def test_a_new_link_takes_the_spare(make_lab: MakeLab, tmp_path: Path) -> None:
    """No authentication and one exchange between the address and the payload, both ways."""
    lab = make_lab(capture=True)
    wire = next(wire for wire in lab.topology.uplinks if wire.a.name == NEW)
    local = wire.a.addresses[0].partition("/")[0]
    lab.link_down(NEW)
    lab.client.exec(["ip", "address", "flush", "dev", NEW])
    with running(lab, CONFIG) as controller:
        before = controller.until(ready)
        (spare,) = [t for t in before.tunnels if t.home is None]
        assert ping(lab, SERVER, spare.inner[0]) == 5
        events = tmp_path / "addresses"
        # DHCP waits for the carrier, of which the kernel tells once a second at most
        lab.client.exec(["ip", "link", "set", NEW, "up"])
        state = ["cat", f"/sys/class/net/{NEW}/operstate"]
        eventually(lambda: lab.client.exec(state).stdout.strip() == "up")
        with address_events(lab, events), stream(lab, spare.inner[0]):
            lab.link_up(NEW)
            after = controller.until(lambda p: any(_is_at(t.current) for t in p.tunnels))
            eventually(lambda: ping(lab, SERVER, spare.inner[0], count=1) == 1)
        (taken,) = [t for t in after.tunnels if _is_at(t.current)]
        lab.stop_captures()

        assert (taken.ike_id, taken.inner) == (spare.ike_id, spare.inner)
        assert {c.spi_in for c in taken.children} == {c.spi_in for c in spare.children}
        began = appeared_at(events)
        out = first_at(lab, f"{ESP} and src {local}") - began
        back = first_at(lab, f"{ESP} and dst {local}") - began
        print(f"new link: payload out after {out * 1000:.0f} ms, back after {back * 1000:.0f} ms")
        assert out <= BOUND
        assert back <= BOUND
        replaced = controller.until(
            lambda p: p.state == "up" and any(_is_spare(t) for t in p.tunnels)
        )
        assert (len(replaced.tunnels), replaced.authentications) == (4, 1)
    assert rig.in_clear(lab) == {}


def _is_at(current: str | None) -> bool:
    return (current or "").startswith(f"{NEW}/")


def _is_spare(tunnel: TunnelStatus) -> bool:
    return tunnel.home is None and bool(tunnel.children)
