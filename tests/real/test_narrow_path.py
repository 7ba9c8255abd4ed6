# SPDX-License-Identifier: Apache-2.0
"""A link takes smaller packets under TCP: segments are as large as fit, nothing is in fragments.

What is claimed is read from captures at the router's end of the link.
"""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import on, running
from tests.real.traffic import connected
from vici_mif.lab import links
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import CLIENT, STATION, Profile, bare

CONFIG = "{links: [eth0, wlan0], hold_down: 1s, spares: 0}"

NARROW, INSIDE = 1428, 1366
"""Bytes of a packet on the link, and of one that fits inside its tunnel."""
LOAD = 200_000
MANY = LOAD // 1500
"""Packets that so many bytes need at the least."""

FRAGMENT = "ip[6:2] & 0x3fff != 0"
FULL = "ip[2:2] > 1300"
TOO_LARGE = f"ip[2:2] > {NARROW}"


def exchange(near: socket.socket, far: socket.socket) -> None:
    """So much each way at the same time; raises where it does not arrive."""
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(end.sendall, bytes(LOAD)) for end in (near, far)]
        work += [pool.submit(take, end) for end in (near, far)]
    for each in work:
        each.result()


def take(end: socket.socket) -> None:
    left = LOAD
    while left:
        got = len(end.recv(min(left, 65536)))
        assert got, f"the connection ended with {left} bytes missing"
        left -= got


def seen(lab: Lab, link: str, expression: str, since: float, way: str = "") -> int:
    """Packets on the link from this moment on; `way`: `src` is what the client sent, or `dst`."""
    lab.captures.flush()
    own = bare(lab.port(link).addresses[0])
    only = f"{expression} and {way} host {own}" if way else expression
    return sum(float(line.split()[0]) >= since for line in rig.captured(lab, link, only, "-tt"))


def fits(lab: Lab, link: str, since: float, way: str = "") -> None:
    """From this moment on segments were as large as the link takes, and no packet was larger."""
    for each in (way,) if way else ("src", "dst"):
        assert seen(lab, link, FULL, since, each) >= MANY
    assert seen(lab, link, TOO_LARGE, since, way) == 0
    assert seen(lab, link, FRAGMENT, since, way) == 0


def narrowed(lab: Lab) -> bool:
    """By the routes into charon's device, or by the interfaces of ours."""
    ways = [line for line in rig.ours(lab) if re.search(r" dev ipsec0 |: mif", line)]
    return bool(ways) and all(re.search(rf" mtu {INSIDE}\b", line) for line in ways)


def test_tcp_through_a_tunnel_of_its_own(make_lab: MakeLab) -> None:
    """What the client sends gets smaller on a connection that exists; on a new one both ways do.

    What the far side sends on the old one it has agreed on before: that is the gateway's to fit.
    """
    lab, link = make_lab(uplinks=2, capture=True), "wlan0"
    with running(lab, CONFIG) as controller:
        inner = on(controller.until(rig.all_home))[link].inner[0]
        at = time.time()
        old = connected(lab, inner)
        exchange(*old)
        assert min(seen(lab, link, TOO_LARGE, at, way) for way in ("src", "dst")) >= MANY

        links.set_mtu(lab, link, NARROW)
        controller.until(lambda p: p.mtu == INSIDE)
        eventually(lambda: narrowed(lab))
        at = time.time()
        exchange(*old)
        fits(lab, link, at, "src")

        at = time.time()
        exchange(*connected(lab, inner))
        fits(lab, link, at)
    assert rig.in_clear(lab) == {}


def test_tcp_between_sites(make_lab: MakeLab) -> None:
    """Mode one: the gateway of the site lowers what both ends offer in their SYN."""
    lab, link = make_lab(uplinks=2, profile=Profile.SITE, capture=True), "eth0"
    station = next(w.b for w in lab.topology.inside if w.a.host == CLIENT)
    source = bare(station.addresses[0])
    with running(lab, CONFIG) as controller:
        controller.until(lambda p: p.state == "up" and any(t.children for t in p.tunnels))
        at = time.time()
        exchange(*connected(lab, source, STATION))
        assert min(seen(lab, link, TOO_LARGE, at, way) for way in ("src", "dst")) >= MANY

        links.set_mtu(lab, link, NARROW)
        eventually(lambda: f"size set {INSIDE - 40}" in ruleset(lab))
        at = time.time()
        exchange(*connected(lab, source, STATION))
        fits(lab, link, at)
    assert rig.in_clear(lab, "net 10.1.0.0/24 and net 10.2.0.0/24") == {}


def ruleset(lab: Lab) -> str:
    return lab.client.exec(["nft", "list", "ruleset"]).stdout
