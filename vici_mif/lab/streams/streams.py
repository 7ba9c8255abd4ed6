# SPDX-License-Identifier: Apache-2.0
"""Streams through the tunnels of a lab: begun, ended, and what both ends wrote down of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Self

from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.lab import Lab
from vici_mif.lab.streams.ends import RATE
from vici_mif.lab.streams.log import Flow, Growing, StreamLog
from vici_mif.lab.topology import SERVER, bare, family

# a guest's processors are translated
PATIENCE = float(os.environ.get("VICI_MIF_PATIENCE", "1"))
BEGIN_PATIENCE = 20.0
ON_THE_WAY = 1.0
"""Seconds a datagram may be under way before it counts as lost."""
LATELY = 2.0
"""Seconds within which a TCP connection that lives has said something."""


class Streams:
    """UDP and TCP both ways between pairs of addresses, from one host to the server."""

    def __init__(self, lab: Lab, near: Host) -> None:
        self._lab, self._near = lab, near
        number = len(list(lab.directory.glob("far-*.log")))
        self._logs = tuple(lab.directory / f"{end}-{number}.log" for end in ("far", "near"))
        for log in self._logs:
            log.touch()
        self._log = Growing(self._logs)
        self._ends: list[subprocess.Popen[bytes]] = []
        self.flows: list[Flow] = []

    # --- beginning and ending ----------------------------------------------------

    def start(
        self,
        pairs: Iterable[tuple[str, str]],
        rate: float = RATE / PATIENCE,
        patience: float = BEGIN_PATIENCE * PATIENCE,
        *,
        download: bool = False,
    ) -> None:
        """Begin, and wait until each direction of each was heard. Raises LabError.

        `download`: datagrams towards this host alone, which asks for them once.
        """
        ends = list(pairs)
        if not ends:
            raise LabError("there is no tunnel to send anything through")
        both = [pair for end in ends for pair in (end, end[::-1])]
        self.flows = [(kind, *pair) for kind, pair in product(("udp", "tcp"), both)]
        if download:
            self.flows = [("udp", *end[::-1]) for end in ends]
        serving = [part for far in sorted({b for _, b in ends}) for part in ("--address", far)]
        running = [part for a, b in ends for part in ("--stream", f"{a},{b}")]
        running += ["--download"] if download else []
        server = self._end(self._lab.host(SERVER), self._logs[0], ["serve", *serving], rate)
        assert server.stdout is not None
        if server.stdout.readline() != b"ready\n":
            raise LabError("the far end of the streams did not start")
        self._end(self._near, self._logs[1], ["run", *running], rate)
        self._wait(patience)

    def stop(self) -> None:
        """End both ends; the logs stay."""
        for end in self._ends:
            end.send_signal(signal.SIGTERM)
            end.wait()
        self._ends.clear()

    @contextmanager
    def going(
        self,
        pairs: Iterable[tuple[str, str]],
        rate: float = RATE / PATIENCE,
        *,
        download: bool = False,
    ) -> Iterator[Self]:
        """From the moment when all flow until the end of the block. Raises LabError."""
        try:
            self.start(pairs, rate, download=download)
            yield self
        finally:
            self.stop()

    def _end(self, host: Host, log: Path, words: list[str], rate: float) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "vici_mif.lab.streams.ends", *words]
        command = [*program, "--rate", f"{rate:g}", "--log", str(log)]
        end = host.spawn(f"streams@{host.name}-{log.stem}", command, stdout=subprocess.PIPE)
        self._ends.append(end)
        return end

    def _wait(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while missing := [_name(flow) for flow in self.flows if not self.log().got.get(flow)]:
            if any(end.poll() is not None for end in self._ends):
                raise LabError("an end of the streams ended by itself")
            if time.monotonic() > deadline:
                raise LabError(f"nothing heard within {patience:g} s of {', '.join(missing)}")
            time.sleep(0.1)

    # --- what became of them -------------------------------------------------------

    def log(self) -> StreamLog:
        """All that both ends wrote down up to now."""
        return self._log.read()

    @property
    def udp(self) -> list[Flow]:
        """Each direction by itself: of each pair there first, then back."""
        return [flow for flow in self.flows if flow[0] == "udp"]

    def flowing(self) -> bool:
        """Something came on every UDP stream in the last half second."""
        since, log = time.time() - 0.5, self.log()
        return all(any(m.at > since for m in log.got.get(f, ())[-1:]) for f in self.udp)

    def silences(self, since: float) -> dict[str, float]:
        """The longest silence of each UDP stream from a moment (seconds since 1970) to now."""
        now, log = time.time(), self.log()
        return {_name(flow): log.gap(flow, since, now) for flow in self.udp}

    def lost(self, since: float, until: float = float("inf")) -> dict[str, int]:
        """Datagrams sent in this time that never came, by stream, where there are any.

        What was sent a moment ago is not judged: it is nowhere yet.
        """
        until, log = min(until, time.time() - ON_THE_WAY), self.log()
        found = {_name(flow): log.lost(flow, since, until) for flow in self.udp}
        return {name: number for name, number in found.items() if number}

    def reordered(self, since: float) -> int:
        """Datagrams that came since then after one with a higher number."""
        log = self.log()
        return sum(log.late(flow, since) for flow in self.udp)

    def failures(self) -> list[str]:
        """TCP connections that ended or could not be made, and why."""
        return [f"{_name(flow)}: {why}" for _, flow, why in self.log().failures if flow[0] == "tcp"]

    def broken(self) -> list[str]:
        """TCP connections that ended, lost a block or say nothing any more."""
        now, found, log = time.time(), self.failures(), self.log()
        for flow in (flow for flow in self.flows if flow[0] == "tcp"):
            numbers = [mark.number for mark in log.got.get(flow, ())]
            if numbers != list(range(len(numbers))):
                found.append(f"{_name(flow)}: blocks are missing")
            if log.gap(flow, now - LATELY, now) >= LATELY:
                found.append(f"{_name(flow)}: silent for {LATELY:g} s")
        return found


def _name(flow: Flow) -> str:
    kind, here, there = flow
    return f"{kind} {here} to {there}"


def far_address(lab: Lab, version: int = 4) -> str:
    """The server's."""
    port = next(w.b for w in lab.topology.inside if w.b.host == SERVER)
    return next(bare(a) for a in port.addresses if family(a) == version)
