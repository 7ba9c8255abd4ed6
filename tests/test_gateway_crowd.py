# SPDX-License-Identifier: Apache-2.0
"""What a fact about one peer costs beside thousands of others. CPU time, so that who else runs on
the machine does not count."""

from __future__ import annotations

import time
from itertools import count

from tests.test_gateway import Host, member
from vici_mif.core import events as e

FEW, MANY, NEW = 40, 4000, 200


def cost(host: Host, numbers: count[int]) -> float:
    """Seconds for hundreds of IKE SAs that come in, one fact each; the least of five times."""
    spans = []
    for _ in range(5):
        facts = [e.SaSeen(member(number)) for number in (next(numbers) for _ in range(NEW))]
        begun = time.thread_time()
        for fact in facts:
            host.room.handle(host.sieve.facts(fact, host.now)[0], host.now)
        spans.append(time.thread_time() - begun)
    return min(spans)


def quiet(size: int) -> Host:
    """So many IKE SAs through which nothing came between two looks."""
    host, sas = Host("off"), tuple(member(number) for number in range(1, size + 1))
    host.feed(e.SasSeen(sas))
    host.now += 300
    host.feed(e.SasSeen(sas))
    assert host.gateway.tunnels == size
    return host


def test_a_new_peer_costs_the_same_beside_thousands() -> None:
    """All of them quiet, so that each may be asked one day: nothing walks over them."""
    few, many = quiet(FEW), quiet(MANY)
    numbers = count(MANY + 1)

    assert cost(many, numbers) < 5 * cost(few, numbers)
