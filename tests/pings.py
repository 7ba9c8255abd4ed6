# SPDX-License-Identifier: Apache-2.0
"""A `ping` (without -q), and which of its requests were answered."""

from __future__ import annotations

import re


def ping_argv(count: int) -> list[str]:
    """A ping that waits for late answers. It asks on until `count` came: see `came`."""
    patience = ["-w", "5"] if count > 1 else ["-W", "1"]
    return ["ping", "-n", "-c", str(count), "-i", "0.05", *patience]


def came(said: str, count: int) -> int:
    """How many of the first `count` requests were answered."""
    return len(answers(said).keys() & set(range(1, count + 1)))


def counted(said: str, last: int = 1) -> tuple[int, int]:
    """Sent and answered, but for the last ones: they were on their way when the ping was ended."""
    found = re.search(r"(\d+) packets transmitted", said)
    assert found is not None, said
    sent = int(found[1]) - last
    return sent, came(said, sent)


def answers(said: str) -> dict[int, float]:
    """Sequence number -> when it was answered, seconds since 1970; 0 without -D."""
    found = re.findall(r"^(?:\[([\d.]+)\] )?.*icmp_seq=(\d+) ttl=\d+ time=", said, re.MULTILINE)
    return {int(number): float(at or 0) for at, number in found}
