# SPDX-License-Identifier: Apache-2.0
"""Numbered datagrams both ways beside whatever a test does, and what became of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.namespace import eventually
from vici_mif.lab import streamlog
from vici_mif.lab.hosts import Host
from vici_mif.lab.lab import Lab
from vici_mif.lab.streamlog import Flow
from vici_mif.lab.topology import SERVER

FAR = "10.100.0.2"
RATE = 100.0
EDGE = 0.5
"""Seconds at the end of a window that are not judged: what is under way is nowhere yet."""


@dataclass
class Traffic:
    """UDP and TCP from each of these addresses to the far side, and back."""

    lab: Lab
    sources: tuple[str, ...]
    logs: tuple[Path, ...]
    began_at: float

    @property
    def flows(self) -> list[Flow]:
        pairs = [(source, FAR) for source in self.sources]
        return [("udp", *ends) for pair in pairs for ends in (pair, pair[::-1])]

    def flowing(self) -> bool:
        """Something came on every flow in the last half second."""
        log, now = streamlog.read(self.logs), time.time()
        return all(any(m.at > now - 0.5 for m in log.got.get(f, ())[-1:]) for f in self.flows)

    def lost(self, since: float, until: float) -> dict[Flow, int]:
        """Datagrams sent in this time that never came, where there are any."""
        eventually(lambda: time.time() > until + EDGE)
        log = streamlog.read(self.logs)
        for flow in self.flows:
            assert len(log.blocks(flow, since, until)) > (until - since) * RATE / 4, flow
        lost = {flow: log.lost(flow, since, until) for flow in self.flows}
        return {flow: number for flow, number in lost.items() if number}

    def silence(self, since: float) -> float:
        """The longest time in which a flow brought nothing."""
        log, now = streamlog.read(self.logs), time.time() - EDGE
        return max(log.gap(flow, since, now) for flow in self.flows)

    def back_after(self, since: float) -> float:
        """Seconds until the last of the flows brought something that was sent after `since`."""
        log = streamlog.read(self.logs)
        firsts = []
        for flow in self.flows:
            sent = log.blocks(flow, since, time.time())
            firsts.append(min(m.at for m in log.got[flow] if m.number in sent and m.at > since))
        return max(firsts) - since

    def tcp_failures(self) -> list[tuple[float, Flow, str]]:
        """TCP connections that ended, or could not be made."""
        found = streamlog.read(self.logs).failures
        return [failure for failure in found if failure[1][0] == "tcp"]


@contextmanager
def traffic(lab: Lab, sources: Iterable[str]) -> Iterator[Traffic]:
    """From the moment when all flows flow until the end of the block."""
    inner = tuple(sources)
    folder = lab.client.directory
    number = len(list(folder.glob("traffic-*")))
    logs = tuple(folder / f"traffic-{number}-{end}" for end in ("far", "near"))
    far = _stream(lab.host(SERVER), logs[0], ["serve", "--address", FAR])
    assert far.stdout is not None
    assert far.stdout.readline() == b"ready\n"
    pairs = chain.from_iterable(("--stream", f"{source},{FAR}") for source in inner)
    near = _stream(lab.client, logs[1], ["run", *pairs])
    try:
        found = Traffic(lab, inner, logs, time.time())
        eventually(found.flowing, within=30)
        yield found
    finally:
        for end in (near, far):
            end.terminate()
            end.wait()


def _stream(host: Host, log: Path, words: list[str]) -> subprocess.Popen[bytes]:
    log.touch()
    program = [sys.executable, "-m", "vici_mif.lab.streams", *words, "--rate", f"{RATE:g}"]
    return host.spawn(
        f"traffic@{host.name}-{log.name}",
        [*program, "--log", str(log)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": os.getcwd()},
    )
