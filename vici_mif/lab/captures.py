# SPDX-License-Identifier: Apache-2.0
"""Captures: one tcpdump per interface, each into `captures/HOST-INTERFACE.pcap`."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from pathlib import Path

from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.processes import Process, end
from vici_mif.lab.state import StateFile
from vici_mif.lab.topology import GATEWAY, ROUTER, Topology

FOLDER = "captures"
PATIENCE = 10.0


def outside(topology: Topology) -> list[tuple[str, str]]:
    """Host and interface of every wire over which the two charons may talk.

    At the router for the uplinks, for it goes on seeing what a client sends whose interface
    has just gone down.
    """
    uplinks = [(ROUTER, wire.b.name) for wire in topology.uplinks]
    return uplinks + [(GATEWAY, wire.b.name) for wire in topology.remotes]


class Captures:
    """The tcpdumps of a lab."""

    def __init__(self, directory: Path, hosts: dict[str, Host]) -> None:
        self.directory = directory / FOLDER
        self._hosts = hosts
        self._state = StateFile(directory)

    def file(self, host: str, interface: str) -> Path:
        return self.directory / f"{host}-{interface}.pcap"

    def start(self, places: Iterable[tuple[str, str]]) -> None:
        self.directory.mkdir(exist_ok=True)
        waiting = [self._start(host, interface) for host, interface in places]
        deadline = time.monotonic() + PATIENCE
        for process, log in waiting:
            _wait_listening(process, log, deadline)

    def stop(self) -> None:
        """End them all; what they have seen is on disk afterwards."""
        for process in self._running():
            end(process, PATIENCE, signal.SIGINT)

    def _running(self) -> list[Process]:
        found = self._state.read().processes
        return [p for p in found if p.role.startswith("tcpdump@") and p.alive()]

    def _start(self, host: str, interface: str) -> tuple[Process, Path]:
        target = self.file(host, interface)
        log = target.with_suffix(".log")
        role = f"tcpdump@{host}-{interface}"
        if any(p.role == role for p in self._running()):
            raise LabError(f"{interface} of {host} is being captured already")
        # written packet by packet; the buffer (KiB) outlasts a burst on a busy machine
        argv = ["tcpdump", "-i", interface, "-n", "-U", "-s", "0", "-B", "8192",
                "-Z", "root", "-w", str(target)]  # fmt: skip
        with log.open("wb") as errors:
            self._hosts[host].spawn(role, argv, stdout=errors, stderr=errors)
        process = self._state.read().find(role)
        assert process is not None
        return process, log


def _wait_listening(process: Process, log: Path, deadline: float) -> None:
    while "listening on" not in log.read_text():
        if not process.alive() or time.monotonic() > deadline:
            raise LabError(f"{process.role} did not start: {log.read_text().strip()}")
        time.sleep(0.02)
