# SPDX-License-Identifier: Apache-2.0
"""Somebody on the way who has seen SPIs: ESP in UDP with them, from addresses of his choice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.real import rig
from vici_mif.lab.lab import Lab

PROGRAM = """
import random, socket, struct, sys, time
here, spis, count, rate = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]), float(sys.argv[4])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
chance = random.Random(7)
sources = [0x0b000000 + n for n in range(count)]
chance.shuffle(sources)
begun, sent = time.monotonic(), 0
while True:
    source = sources[sent % count]
    esp = struct.pack("!II", int(chance.choice(spis)), 0xfffffff0) + bytes(80)
    udp = struct.pack("!HHHH", 4500, 4500, 8 + len(esp), 0) + esp
    head = struct.pack("!BBHHHBBHI4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source,
                       socket.inet_aton(here))
    raw.sendto(head + udp, (here, 0))
    sent += 1
    ahead = begun + sent / rate - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
"""


@contextmanager
def forging(lab: Lab, spis: list[int], *, addresses: int, rate: float) -> Iterator[None]:
    """From the router, for as long as the block lasts; `rate` packets a second.

    No address comes again before all have been there.
    """
    here = lab.topology.remote_addresses[0]
    words = [here, ",".join(map(str, spis)), str(addresses), str(rate)]
    argv = [sys.executable, "-c", PROGRAM, *words]
    with rig.lasting(lab.router, "forger", argv):
        yield
