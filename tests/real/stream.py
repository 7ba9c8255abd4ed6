# SPDX-License-Identifier: Apache-2.0
"""Payload between a client's inner address and the server, and when it flows again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.namespace import eventually
from vici_mif.lab import streamlog
from vici_mif.lab.lab import Lab

SERVER = "10.100.0.2"
PROGRAM = [sys.executable, "-m", "vici_mif.lab.streams"]
RATE = 200
"""Datagrams a second: what is measured is known to 5 ms."""


class Stream:
    """UDP both ways and TCP both ways; the two directions are independent."""

    def __init__(self, inner: str, logs: tuple[Path, Path]) -> None:
        self._inner, self._logs = inner, logs

    def log(self) -> streamlog.StreamLog:
        return streamlog.read(self._logs)

    @property
    def flows(self) -> dict[str, streamlog.Flow]:
        return {"up": ("udp", self._inner, SERVER), "down": ("udp", SERVER, self._inner)}

    def flows_both_ways(self) -> bool:
        log = self.log()
        return all(log.got.get(flow) for flow in self.flows.values())

    def interruption(self, direction: str, since: float) -> float | None:
        """Seconds from `since` (of 1970) to the first datagram sent later that was delivered.

        None while none was.
        """
        log, flow = self.log(), self.flows[direction]
        later = {mark.number for mark in log.sent[flow] if mark.at >= since}
        came = [mark.at for mark in log.got[flow] if mark.number in later]
        return min(came) - since if came else None

    def tcp_failures(self) -> list[str]:
        return [why for _, flow, why in self.log().failures if flow[0] == "tcp"]


@contextmanager
def streaming(lab: Lab, inner: str) -> Iterator[Stream]:
    """Runs until the end of the block."""
    logs = (lab.client.directory / "stream.log", lab.host("server").directory / "stream.log")
    for log in logs:
        log.unlink(missing_ok=True)
        log.touch()
    rate = ["--rate", str(RATE)]
    far = lab.host("server").spawn(
        "stream-far",
        [*PROGRAM, "serve", "--address", SERVER, *rate, "--log", str(logs[1])],
        stdout=subprocess.PIPE,
    )
    assert far.stdout is not None
    assert far.stdout.readline() == b"ready\n"
    pair = f"{inner},{SERVER}"
    near = lab.client.spawn(
        "stream-near", [*PROGRAM, "run", "--stream", pair, *rate, "--log", str(logs[0])]
    )
    stream = Stream(inner, logs)
    try:
        eventually(stream.flows_both_ways)
        yield stream
    finally:
        for end in (near, far):
            end.send_signal(signal.SIGTERM)
            end.wait(10)
