# SPDX-License-Identifier: Apache-2.0
"""Streams beside whatever a test does, from inner addresses to the far side and back."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.namespace import eventually
from vici_mif.lab import namespaces
from vici_mif.lab.hosts import Host
from vici_mif.lab.lab import Lab
from vici_mif.lab.streams.ends import RATE
from vici_mif.lab.streams.streams import ON_THE_WAY, PATIENCE, Streams, far_address
from vici_mif.lab.topology import CLIENT, GATEWAY, SERVER

FAR = "10.100.0.2"
LATE = 5.0
"""Seconds in which what is late may still come."""


def full(lab: Lab, hosts: Iterable[str] = (CLIENT, GATEWAY)) -> int:
    """Datagrams that these hosts' sockets had no room for: who had to read had no processor."""
    return sum(_no_room(lab.host(name)) for name in hosts)


def _no_room(host: Host) -> int:
    said = host.exec(["cat", "/proc/net/snmp"]).stdout.splitlines()
    names, numbers = (line.split() for line in said if line.startswith("Udp:"))
    return int(numbers[names.index("RcvbufErrors")])


class Traffic(Streams):
    """A test that asks what was lost asks for something: datagrams that were sent.

    What is late is not lost, nor is what full sockets of the charons' hosts dropped: who had to
    read them had no processor.
    """

    def __init__(self, lab: Lab, near: Host) -> None:
        super().__init__(lab, near)
        self._full = full(lab)

    def lost(self, since: float, until: float = float("inf")) -> dict[str, int]:
        """As of Streams; waits until all of this time can be judged, and for what is late."""
        until = min(until, time.time())
        eventually(lambda: time.time() > until + ON_THE_WAY)
        log = self.log()
        for flow in self.udp:
            assert len(log.blocks(flow, since, until)) > (until - since) * RATE / PATIENCE / 4, flow
        end = time.monotonic() + LATE * PATIENCE
        while (found := super().lost(since, until)) and time.monotonic() < end:
            time.sleep(0.1)
        return found if sum(found.values()) > full(self._lab) - self._full else {}


@contextmanager
def traffic(lab: Lab, sources: Iterable[str], rate: float = RATE / PATIENCE) -> Iterator[Traffic]:
    """From the moment when all flow until the end of the block."""
    pairs = [(source, far_address(lab)) for source in sources]
    with Traffic(lab, lab.client).going(pairs, rate) as flows:
        yield flows


def connected(lab: Lab, source: str, host: str = CLIENT) -> tuple[socket.socket, socket.socket]:
    """A TCP connection from an inner address of a host to the far side: both ends of it."""
    to = (far_address(lab), 7777)
    far = namespaces.inside(lab.host(SERVER).namespace, lambda: socket.create_server(to))
    near = namespaces.inside(
        lab.host(host).namespace,
        lambda: socket.create_connection(to, 20, source_address=(source, 0)),
    )
    other, _ = far.accept()
    far.close()
    other.settimeout(20)
    return near, other
