# SPDX-License-Identifier: Apache-2.0
"""Streams beside whatever a test does, from inner addresses to the far side and back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.namespace import eventually
from vici_mif.lab.lab import Lab
from vici_mif.lab.streams.ends import RATE
from vici_mif.lab.streams.streams import ON_THE_WAY, PATIENCE, Streams, far_address

FAR = "10.100.0.2"


class Traffic(Streams):
    """A test that asks what was lost asks for something: datagrams that were sent."""

    def lost(self, since: float, until: float = float("inf")) -> dict[str, int]:
        """As of Streams; waits until all of this time can be judged."""
        until = min(until, time.time())
        eventually(lambda: time.time() > until + ON_THE_WAY)
        log = self.log()
        for flow in self.udp:
            assert len(log.blocks(flow, since, until)) > (until - since) * RATE / PATIENCE / 4, flow
        return super().lost(since, until)


@contextmanager
def traffic(lab: Lab, sources: Iterable[str], rate: float = RATE / PATIENCE) -> Iterator[Traffic]:
    """From the moment when all flow until the end of the block."""
    pairs = [(source, far_address(lab)) for source in sources]
    with Traffic(lab, lab.client).going(pairs, rate) as flows:
        yield flows
