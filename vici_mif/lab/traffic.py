# SPDX-License-Identifier: Apache-2.0
"""Streams through the tunnels of a lab, and which wire their packets are seen on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import product
from pathlib import Path

from vici_mif.lab import pcap
from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.lab import Lab
from vici_mif.lab.pcap import Packet, esp_of
from vici_mif.lab.streamlog import Flow, Growing
from vici_mif.lab.streams import RATE
from vici_mif.lab.topology import ROUTER, SERVER, bare, family

# a guest's processors are translated
PATIENCE = float(os.environ.get("VICI_MIF_PATIENCE", "1"))
BEGIN_PATIENCE = 20.0 * PATIENCE
ON_THE_WAY = 1.0
"""Seconds a datagram may be under way before it counts as lost."""
LATELY = 2.0
"""Seconds within which a TCP connection that lives has said something."""


class Streams:
    """UDP and TCP both ways between pairs of addresses, from one host to the server."""

    def __init__(self, lab: Lab, near: Host) -> None:
        self._lab, self._near, self._rate = lab, near, RATE / PATIENCE
        self._logs = {SERVER: lab.directory / "far.log", near.name: lab.directory / "near.log"}
        self._log = Growing(self._logs.values())
        self._ends: list[subprocess.Popen[bytes]] = []
        self.flows: list[Flow] = []

    def start(self, pairs: Iterable[tuple[str, str]], rate: float = RATE / PATIENCE) -> None:
        """Begin, and wait until each direction of each was heard. Raises LabError."""
        self._rate, ends = rate, list(pairs)
        if not ends:
            raise LabError("there is no tunnel to send anything through")
        both = [pair for end in ends for pair in (end, end[::-1])]
        self.flows = [(kind, *pair) for kind, pair in product(("udp", "tcp"), both)]
        serving = [part for far in sorted({b for _, b in ends}) for part in ("--address", far)]
        server = self._end(self._lab.host(SERVER), ["serve", *serving])
        assert server.stdout is not None
        if server.stdout.readline() != b"ready\n":
            raise LabError("the far end of the streams did not start")
        self._end(self._near, ["run", *(p for a, b in ends for p in ("--stream", f"{a},{b}"))])
        self._wait()

    def stop(self) -> None:
        """End both ends; the logs stay."""
        for end in self._ends:
            end.send_signal(signal.SIGTERM)
            end.wait()
        self._ends.clear()

    def silences(self, since: float) -> dict[str, float]:
        """The longest silence of each UDP stream from a moment (seconds since 1970) to now."""
        now, log = time.time(), self._log.read()
        return {_name(flow): log.gap(flow, since, now) for flow in self._udp}

    def lost(self, since: float) -> int:
        """Datagrams that were sent from a moment to a while ago and never came."""
        until, log = time.time() - ON_THE_WAY, self._log.read()
        return sum(log.lost(flow, since, until) for flow in self._udp)

    def reordered(self, since: float) -> int:
        """Datagrams that came since then after one with a higher number."""
        log = self._log.read()
        return sum(log.late(flow, since) for flow in self._udp)

    @property
    def _udp(self) -> list[Flow]:
        return [flow for flow in self.flows if flow[0] == "udp"]

    def broken(self) -> list[str]:
        """TCP connections that ended, lost a block or say nothing any more."""
        now, log = time.time(), self._log.read()
        found = [f"{_name(flow)}: {why}" for _, flow, why in log.failures if flow[0] == "tcp"]
        for flow in (flow for flow in self.flows if flow[0] == "tcp"):
            numbers = [mark.number for mark in log.got.get(flow, ())]
            if numbers != list(range(len(numbers))):
                found.append(f"{_name(flow)}: blocks are missing")
            if log.gap(flow, now - LATELY, now) >= LATELY:
                found.append(f"{_name(flow)}: silent for {LATELY:g} s")
        return found

    def _end(self, host: Host, arguments: list[str]) -> subprocess.Popen[bytes]:
        log = self._logs[host.name]
        log.touch()
        program = [sys.executable, "-m", "vici_mif.lab.streams"]
        command = [*program, *arguments, "--rate", f"{self._rate:g}", "--log", str(log)]
        end = host.spawn(f"streams@{host.name}", command, stdout=subprocess.PIPE)
        self._ends.append(end)
        return end

    def _wait(self) -> None:
        deadline = time.monotonic() + BEGIN_PATIENCE
        while missing := self._unheard():
            if time.monotonic() > deadline:
                raise LabError(f"nothing heard of {', '.join(missing)}")
            time.sleep(0.1)

    def _unheard(self) -> list[str]:
        got = self._log.read().got
        return [_name(flow) for flow in self.flows if not got.get(flow)]


def _name(flow: Flow) -> str:
    kind, here, there = flow
    return f"{kind} {here} to {there}"


def far_address(lab: Lab, version: int = 4) -> str:
    """The server's."""
    port = next(w.b for w in lab.topology.inside if w.b.host == SERVER)
    return next(bare(a) for a in port.addresses if family(a) == version)


class Watch:
    """Where each SPI was seen last, by the captures of the uplinks, which go on growing."""

    def __init__(self, lab: Lab) -> None:
        self._files = {link: lab.captures.file(ROUTER, link) for link in lab.uplinks}
        self._read: dict[str, int] = {}
        self._seen: dict[str, Packet] = {}

    def last(self, spi: str) -> Packet | None:
        """The last one; its place is the uplink, as the plan names it."""
        for link, file in self._files.items():
            for packet in self._new(link, file):
                self._note(packet)
        return self._seen.get(spi)

    def _note(self, packet: Packet) -> None:
        esp = esp_of(packet)
        if esp is None or len(esp) < 8:
            return
        spi = esp[:4].hex()
        before = self._seen.get(spi)
        if before is None or before.time <= packet.time:
            self._seen[spi] = packet

    def _new(self, link: str, file: Path) -> list[Packet]:
        """Packets that came since the last look; one that is half written waits."""
        with file.open("rb") as stream:
            head = stream.read(pcap.HEAD)
            stream.seek(self._read.get(link, pcap.HEAD))
            raw = stream.read()
        whole = pcap.whole(head, raw)
        self._read[link] = self._read.get(link, pcap.HEAD) + whole
        return list(pcap.packets(head + raw[:whole], link)) if len(head) == pcap.HEAD else []
