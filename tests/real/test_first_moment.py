# SPDX-License-Identifier: Apache-2.0
"""From `vici-mif guard` over charon and the controller to the tunnel: never a packet in clear."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, all_home
from tests.real.traffic import FAR
from vici_mif.lab.lab import Lab

CONFIG = "{links: [eth0, wlan0], hold_down: 2s}"

STUBBORN = """
import socket, sys, time
IP_TRANSPARENT = 19  # also an address that is not there any more
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
sender.bind((sys.argv[1], 9999))
while True:
    try:
        sender.sendto(b"mine", (sys.argv[2], 9999))
    except OSError:
        pass
    time.sleep(0.01)
"""


@contextmanager
def stubborn(lab: Lab, source: str) -> Iterator[None]:
    """A program that keeps its inner address over everything and sends from it."""
    argv = [sys.executable, "-c", STUBBORN, source, FAR]
    sender = lab.client.spawn("stubborn", argv)
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


def in_clear(lab: Lab) -> list[float]:
    """When protected packets were seen on the uplinks."""
    lab.captures.flush()
    seen = [line for link in rig.UPLINKS for line in rig.captured(lab, link, rig.INSIDE, "-tt")]
    return sorted(float(line.split()[0]) for line in seen)


def forget(lab: Lab) -> None:
    """What a reboot leaves of us: files."""
    client = lab.client
    for version in ("-4", "-6"):
        rules = client.exec(["ip", version, "rule"]).stdout.splitlines()
        for line in (line for line in rules if "proto 77" in line):
            client.exec(["ip", version, "rule", "del", "pref", line.partition(":")[0]])
        client.exec(["ip", version, "route", "flush", "table", "all", "proto", "77"], check=False)
    client.exec(["nft", "flush", "ruleset"])


def test_from_the_guard_to_the_tunnel(make_lab: MakeLab) -> None:
    """A program bound to its inner address sends all the time, from before the first rule on."""
    lab = make_lab(uplinks=2, capture=True)
    controller = Controller(lab, CONFIG)
    controller.start()
    source = controller.until(all_home).tunnels[0].inner[0]
    controller.kill()
    lab.charons["client"].kill()
    forget(lab)
    with stubborn(lab, source):
        eventually(lambda: in_clear(lab))  # without the guard it does leave
        done = controller.command("guard")
        assert done.returncode == 0, done.stderr
        guarded_at = time.time()
        lab.charons["client"].start()
        controller.start()
        try:
            controller.until(all_home, within=90)
            eventually(lambda: rig.ping(lab, FAR, source, count=1) == 1)
        finally:
            controller.stop()
        assert [at for at in in_clear(lab) if at > guarded_at] == []
        assert controller.command("down").returncode == 0
    assert rig.ours(lab) == []
