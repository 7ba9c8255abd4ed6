# SPDX-License-Identifier: Apache-2.0
"""A delay line: packets go into a TUN device, wait their time, and come out of it again.

    python -m vici_mif.lab.wires.delay --device d-eth0 --inside 192.168.1.0/24 --file FILE

For kernels without netem. The router leads what an uplink sends or gets through the device
(`impair`); the packet is routed anew when it comes out. FILE holds the qualities of both
directions as JSON, SIGHUP reads it again: what is in the line keeps the time it was given.
Order is kept unless jitter is asked for. Prints `ready` when the device is up.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import sys
import time
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import count
from pathlib import Path

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
_LONGEST = 65535


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one direction."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """At most so much more or less, evenly spread."""
    loss_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Qualities:
    """Of a line: from the client, and to it."""

    up: Quality = Quality()
    down: Quality = Quality()

    def write(self, path: Path) -> None:
        """For the line's process; a reader never sees half of it."""
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> Qualities:
        """What `write` wrote."""
        found = json.loads(path.read_text())
        return cls(Quality(**found["up"]), Quality(**found["down"]))


class Line:
    """What waits. Times are monotonic seconds; pure."""

    def __init__(self, inside: tuple[IPv4Network | IPv6Network, ...], dice: random.Random) -> None:
        self.qualities = Qualities()
        self._inside, self._dice = inside, dice
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = count()

    def take(self, packet: bytes, now: float) -> None:
        """A packet begins to wait, or is lost."""
        quality = self.qualities.down if self._is_down(packet) else self.qualities.up
        if quality.loss_percent and self._dice.random() * 100 < quality.loss_percent:
            return
        jitter = self._dice.uniform(-quality.jitter_s, quality.jitter_s)
        heapq.heappush(self._waiting, (now + quality.delay_s + jitter, next(self._number), packet))

    def due(self, now: float) -> bytes | None:
        """The next packet whose time has come."""
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        return None

    def left(self, now: float) -> float | None:
        """Seconds until the next is due; None where nothing waits."""
        return max(0.0, self._waiting[0][0] - now) if self._waiting else None

    def _is_down(self, packet: bytes) -> bool:
        raw = packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
        destination = ip_address(raw)
        return any(destination in net for net in self._inside if net.version == destination.version)


def run(device: int, line: Line, file: Path) -> None:
    """Until SIGTERM."""

    def read(*_: object) -> None:
        line.qualities = Qualities.read(file)

    read()
    signal.signal(signal.SIGHUP, read)
    while True:
        # select(2) counts in microseconds, poll(2) and epoll_wait(2) in milliseconds
        select.select([device], [], [], line.left(time.monotonic()))
        _exchange(device, line)


def _exchange(device: int, line: Line) -> None:
    """Everything that came goes in, everything due goes out."""
    now = time.monotonic()
    try:
        while True:
            line.take(os.read(device, _LONGEST), now)
    except BlockingIOError:
        pass
    while (packet := line.due(time.monotonic())) is not None:
        os.write(device, packet)


def open_tun(name: str) -> int:
    """A TUN device of that name, which goes with the descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def main(arguments: list[str] | None = None) -> int:
    """Run the line until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m vici_mif.lab.wires.delay")
    parser.add_argument("--device", required=True)
    parser.add_argument("--inside", action="append", type=ip_network, required=True)
    parser.add_argument("--file", type=Path, required=True)
    options = parser.parse_args(arguments)
    device = open_tun(options.device)
    with contextlib.suppress(PermissionError):
        # a busy machine must not show up as delay; what it does takes microseconds
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    print("ready", flush=True)
    run(device, Line(tuple(options.inside), random.Random()), options.file)  # noqa: S311
    return 0


if __name__ == "__main__":
    sys.exit(main())
