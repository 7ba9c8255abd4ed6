# SPDX-License-Identifier: Apache-2.0
"""How many requests of a `ping` (without -q) were answered."""

from __future__ import annotations

import re


def counted(said: str) -> tuple[int, int]:
    """Sent and answered, but for the last one: it was on its way when the ping was ended."""
    found = re.search(r"(\d+) packets transmitted", said)
    assert found is not None, said
    sent = int(found[1]) - 1
    answered = {int(n) for n in re.findall(r"icmp_seq=(\d+) ttl=\d+ time=", said)}
    return sent, len(answered & set(range(1, sent + 1)))
