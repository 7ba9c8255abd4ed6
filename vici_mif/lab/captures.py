# SPDX-License-Identifier: Apache-2.0
"""Captures: one tcpdump per interface, each into `captures/HOST-INTERFACE.pcap`."""

from __future__ import annotations

import functools
import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.processes import Process, end, tell
from vici_mif.lab.state import StateFile
from vici_mif.lab.topology import Topology

T = TypeVar("T")

FOLDER = "captures"
# a guest's processors are translated
PATIENCE = 10.0 * float(os.environ.get("VICI_MIF_PATIENCE", "1"))
_ROLE = "tcpdump@"
_COUNTS = (
    re.compile(r"(\d+) packets? captured"),
    re.compile(r"(\d+) packets? received by filter"),
    re.compile(r"(\d+) packets? dropped by kernel"),
)


def outside(topology: Topology) -> list[tuple[str, str]]:
    """The router's end of every wire over which the two charons may talk.

    The router goes on seeing what a client sends whose interface has just gone down. And it
    sees what was on the wire: on a host whose kernel does ESP, what was taken out of ESP
    passes the same interface again, in clear, and tcpdump there shows it.
    """
    ends = [w.b for w in topology.uplinks] + [w.a for w in topology.remotes + topology.standby]
    return [(end.host, end.name) for end in ends]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a tcpdump says of itself: written, seen, and lost for want of room."""

    captured: int
    received: int
    dropped: int

    @property
    def settled(self) -> int:
        """What it will not write any more of: received counts what was lost, too."""
        return self.captured + self.dropped


class Captures:
    """The tcpdumps of a lab."""

    def __init__(self, directory: Path, hosts: dict[str, Host]) -> None:
        self.directory = directory / FOLDER
        self._hosts = hosts
        self._state = StateFile(directory)

    def file(self, host: str, interface: str) -> Path:
        return self.directory / f"{host}-{interface}.pcap"

    def log(self, process: Process) -> Path:
        return self.directory / f"{process.role.removeprefix(_ROLE)}.log"

    def start(self, places: Iterable[tuple[str, str]]) -> None:
        self.directory.mkdir(exist_ok=True)
        for process in [self._start(host, interface) for host, interface in places]:
            log = self.log(process)
            _wait(process, log, functools.partial(_listening, log))

    def flush(self) -> dict[str, Counts]:
        """Wait until everything seen so far is in the files."""
        asked = {p: self._ask(p) for p in self._running()}
        deadline = time.monotonic() + PATIENCE
        while behind := [p for p in asked if self._ask(p).settled < asked[p].received]:
            if time.monotonic() > deadline:
                raise LabError(f"{behind[0].role} does not keep up with what it sees")
            time.sleep(0.02)
        return {p.role.removeprefix(_ROLE): counts for p, counts in asked.items()}

    def stop(self) -> dict[str, Counts]:
        """End them all, with everything they have seen on disk."""
        counts = self.flush()
        for process in self._running():
            end(process, PATIENCE, signal.SIGINT)
        return counts

    def _running(self) -> list[Process]:
        found = self._state.read().processes
        return [p for p in found if p.role.startswith(_ROLE) and p.alive()]

    def _ask(self, process: Process) -> Counts:
        """tcpdump answers SIGUSR1 with its counts."""
        log = self.log(process)
        before = log.stat().st_size
        tell(process, signal.SIGUSR1)

        def answer() -> Counts | None:
            with log.open("rb") as said:
                said.seek(before)
                return _counts(said.read().decode(errors="replace"))

        return _wait(process, log, answer)

    def _start(self, host: str, interface: str) -> Process:
        target = self.file(host, interface)
        role = f"{_ROLE}{host}-{interface}"
        if any(p.role == role for p in self._running()):
            raise LabError(f"{interface} of {host} is being captured already")
        # Packet by packet into the file: else what waits in the ring is lost at the end, a second
        # of it. The buffer (KiB) outlasts seconds without a processor: it holds as many packets
        # as places of the snapshot length fit in, and that is above every wire's MTU.
        argv = ["tcpdump", "-i", interface, "-n", "--immediate-mode", "-U", "-s", "4096",
                "-B", "32768", "-Z", "root", "-w", str(target)]  # fmt: skip
        with target.with_suffix(".log").open("wb") as errors:
            self._hosts[host].spawn(role, argv, stdout=errors, stderr=errors)
        process = self._state.read().find(role)
        assert process is not None
        return process


def _listening(log: Path) -> bool:
    return "listening on" in log.read_text()


def _counts(text: str) -> Counts | None:
    found = [pattern.search(text) for pattern in _COUNTS]
    if not all(found):
        return None
    captured, received, dropped = (int(match.group(1)) for match in found if match)
    return Counts(captured, received, dropped)


def _wait(process: Process, log: Path, answer: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE
    while not (found := answer()):
        if not process.alive() or time.monotonic() > deadline:
            raise LabError(f"{process.role} does not answer: {log.read_text().strip()}")
        time.sleep(0.02)
    return found
