# SPDX-License-Identifier: Apache-2.0
"""A path grows narrower under TCP and wide again: transfers live, and new ones fit."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.namespace import eventually
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, on, running
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab

CONFIG = "{links: [eth0, wlan0], hold_down: 1s, spares: 0}"
FAR = "10.100.0.2"
NARROW = 1428
FITS = NARROW - 20 - 8 - 8 - 8 - 16 - 2
"""RFC 3948 and RFC 4303 with AES-GCM-16 in IPv4."""

# Sends and receives without end, some megabits a second, and says how much came.
BULK = """
import socket, sys, threading, time
def feed(peer):
    while True:
        peer.sendall(bytes(20000)); time.sleep(0.02)
def talk(peer, note):
    threading.Thread(target=feed, args=(peer,), daemon=True).start()
    total = 0
    while data := peer.recv(65536):
        total += len(data); note(total)
if sys.argv[1] == "serve":
    with socket.create_server((sys.argv[2], int(sys.argv[3]))) as server:
        print("ready", flush=True)
        talk(server.accept()[0], lambda n: print("far", n, flush=True))
else:
    source = (sys.argv[4], 0)
    peer = socket.create_connection((sys.argv[2], int(sys.argv[3])), 10, source)
    peer.settimeout(None)
    talk(peer, lambda n: print("near", n, flush=True))
"""


@dataclass
class Transfer:
    """One TCP connection that fills both directions."""

    ends: list[subprocess.Popen[bytes]]
    logs: list[Path]

    def received(self) -> list[int]:
        """Bytes at the far and the near end so far."""
        lines = [log.read_text().splitlines() for log in self.logs]
        return [int((said or ["- 0"])[-1].split()[-1].replace("ready", "0")) for said in lines]

    def goes_on(self) -> None:
        """Both ends get 200 KB more from now on, and neither has ended."""
        before = self.received()
        eventually(
            lambda: all(n > b + 200_000 for n, b in zip(self.received(), before, strict=True))
        )
        assert all(end.poll() is None for end in self.ends)


@contextmanager
def transfer(lab: Lab, source: str, port: int) -> Iterator[Transfer]:
    logs = [lab.directory / f"bulk-{port}-{end}.log" for end in ("far", "near")]
    roles = (("server", ["serve", FAR, str(port)]), ("client", ["run", FAR, str(port), source]))
    ends = []
    try:
        for log, (host, words) in zip(logs, roles, strict=True):
            with log.open("wb") as out:
                argv = [sys.executable, "-c", BULK, *words]
                ends.append(lab.host(host).spawn(f"bulk-{port}", argv, stdout=out))
            if host == "server":
                eventually(lambda: "ready" in logs[0].read_text())
        yield Transfer(ends, logs)
    finally:
        for end in ends:
            end.send_signal(signal.SIGTERM)
            end.wait()


def set_mtu(lab: Lab, link: str, mtu: int) -> None:
    """Both ends of an uplink's wire."""
    for host in ("client", "router"):
        lab.host(host).exec(["ip", "link", "set", link, "mtu", str(mtu)])


def fragments(lab: Lab, link: str, since: float) -> list[str]:
    """Pieces of IP packets on an uplink."""
    file = lab.captures.file("router", link)
    argv = ["tcpdump", "-tt", "-n", "-r", str(file), "ip[6:2] & 0x3fff != 0"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if float(line.split()[0]) >= since]


@pytest.fixture
def client(make_lab: MakeLab) -> Iterator[Controller]:
    lab = make_lab(uplinks=2, capture=True)
    with running(lab, CONFIG) as controller:
        controller.until(both_up)
        yield controller


def both_up(peer: PeerStatus) -> bool:
    seated = on(peer)
    return peer.state == "up" and all(x in seated and seated[x].children for x in ("eth0", "wlan0"))


def routes(lab: Lab) -> str:
    return lab.client.exec(["ip", "route", "show", "table", "all", "proto", "77"]).stdout


def test_1500_to_1428_under_tcp(client: Controller) -> None:
    """Status, routes and TCP follow within 15 s; transfers of before live; a new one that begins
    on the narrow path needs no fragment in either direction."""
    lab = client.lab
    wide = client.until(lambda p: p.mtu is not None).mtu
    libipsec = lab.state.data_plane == "libipsec"
    assert wide == (1400 if libipsec else 1438)
    inner = on(client.peer)["wlan0"].inner[0]

    with transfer(lab, inner, 7901) as old:
        old.goes_on()
        since = time.time()
        set_mtu(lab, "wlan0", NARROW)
        client.until(_has(FITS))
        eventually(lambda: not libipsec or f"mtu {FITS}" in routes(lab))
        old.goes_on()
        # the judge itself: the size that the old one announced does not fit any more
        eventually(lambda: fragments(lab, "wlan0", since))

    # what the old one had under way is gone
    eventually(lambda: not fragments(lab, "wlan0", time.time() - 1))
    since = time.time()
    with transfer(lab, inner, 7902) as new:
        new.goes_on()
        lab.stop_captures()
        assert fragments(lab, "wlan0", since) == []
        new.goes_on()
        set_mtu(lab, "wlan0", 1500)
        client.until(_has(wide))
        eventually(lambda: "mtu" not in routes(lab))
        new.goes_on()


def _has(mtu: int) -> Callable[[PeerStatus], bool]:
    return lambda peer: peer.mtu == mtu
