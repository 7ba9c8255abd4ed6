# SPDX-License-Identifier: Apache-2.0
"""Facts and actions as lines: short, complete, and without a secret."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from vici_mif.core import actions, events
from vici_mif.core.model import Child, Pair, Route, Rule, Sa, Steering
from vici_mif.shell import words

PAIR = Pair(ip_address("192.0.2.1"), ip_address("203.0.113.1"))
SA = Sa(
    unique_id=3,
    name="hq",
    state="ESTABLISHED",
    local=PAIR.local,
    remote=PAIR.remote,
    children=(Child("net@eth0/203.0.113.1", 7, "INSTALLED", ("10.3.0.1/32",), ("10.1.0.0/16",)),),
)


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (actions.Clone("t", 3), "Clone ike_id=3"),
        (
            actions.Migrate("t", 3, PAIR, 30),
            "Migrate ike_id=3 pair=192.0.2.1 -> 203.0.113.1 pin_delay=30",
        ),
        (
            actions.LoadSecret("t", "load-shared", {"data": "s3cret"}),
            "LoadSecret command=load-shared",
        ),
        (actions.LoadConnection("t", "hq", {"vips": "0.0.0.0"}), "LoadConnection name=hq"),
        (actions.Guard("t", None), "no guard"),
    ],
)
def test_action(action: actions.Action, line: str) -> None:
    """Name and fields; a message is never repeated."""
    assert words.action(action) == [line]


def test_steering_reads_like_ip() -> None:
    """One line for each thing that will stand in the kernel."""
    wish = Steering(
        rules=(
            Rule(150, 4, 7791, source=ip_network("192.0.2.1/32")),
            Rule(158, 4, 254, iif="lo", suppress_prefixlength=0),
        ),
        routes=(
            Route(7800, ip_network("10.1.0.0/16"), "ipsec0", ip_address("10.3.0.1")),
            Route(7800, ip_network("10.1.0.0/16")),
        ),
    )

    assert words.action(actions.Steer("t", wish)) == [
        "rule 150: from 192.0.2.1/32 lookup 7791",
        "rule 158: from all iif lo lookup 254 suppress_prefixlength 0",
        "table 7800: 10.1.0.0/16 dev ipsec0 src 10.3.0.1",
        "table 7800: 10.1.0.0/16 unreachable",
    ]


@pytest.mark.parametrize(
    ("fact", "line"),
    [
        (
            events.SaSeen(SA),
            "SaSeen #3 hq ESTABLISHED 192.0.2.1 -> 203.0.113.1 [net@eth0/203.0.113.1 INSTALLED]",
        ),
        (events.SasSeen(()), "SasSeen none"),
        (events.SaGone(3), "SaGone unique_id=3"),
        (events.CharonConnected("6.1.0", patched=False), "CharonConnected 6.1.0, without series"),
        (events.ActionDone("t", ike_id=4, family=3), "ActionDone ike_id=4 family=3"),
    ],
)
def test_event(fact: events.Event, line: str) -> None:
    """What happened, and to which."""
    assert words.event(fact) == line
