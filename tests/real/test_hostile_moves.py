# SPDX-License-Identifier: Apache-2.0
"""A peer that says it moved to where somebody else is: nobody is flooded in its name.

It sends UPDATE_SA_ADDRESSES from an address of another host, as whoever can spoof sources does.
What is sent to that host is counted in the router.
"""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.heard import heard
from tests.real.rig import request
from tests.real.test_gateway import counted
from tests.real.watcher import HONEST, HOSTILE, Peer, receive_guests, route_all, watching
from vici_mif.lab.lab import Lab

VICTIM = "192.0.2.77"
COUNTER = f"""
table inet victim {{
  chain passing {{
    type filter hook prerouting priority 0;
    ip daddr {VICTIM} udp sport 4500 @th,64,32 != 0 counter
  }}
}}
"""


def flooded(lab: Lab) -> int:
    """Packets of ESP in UDP that are on their way to the victim."""
    said = lab.router.exec(["nft", "list", "table", "inet", "victim"]).stdout
    found = re.search(r"counter packets (\d+)", said)
    assert found
    return int(found[1])


def spoof(lab: Lab) -> None:
    """The client may send from the victim's address; what is sent there does not come back."""
    lab.router.exec(["nft", "-f", "-"], stdin=COUNTER)
    lab.client.exec(["ip", "address", "add", f"{VICTIM}/32", "dev", "eth0"])
    rule = ["from", VICTIM, "lookup", "1001", "pref", "149"]
    lab.client.exec(["ip", "rule", "add", *rule])
    # a provider that filters no sources, not even those nobody routes
    lab.router.exec(["sysctl", "-q", "-w", "net.ipv4.conf.eth0.rp_filter=0"])


def prepare(lab: Lab, check: str) -> None:
    """A gateway that receives guests, and somewhere else a victim."""
    receive_guests(lab)
    route_all(lab)
    spoof(lab)
    with lab.gateway.strongswan_conf.open("a") as conf:
        conf.write(f"charon {{ mobike_check = {check} }}\n")
    request(lab, "reload-settings", {}, "gateway")


def flooding(lab: Lab, vip: str) -> AbstractContextManager[object]:
    """Fifty packets a second for the hostile peer's inner address."""
    return rig.lasting(lab.host("server"), "flood", ["ping", "-q", "-i", "0.02", vip])


def claim(lab: Lab, hostile: Peer) -> None:
    """It says that it is where the victim is."""
    wish = {"ike-id": hostile.root, "local": VICTIM, "remote": hostile.remote}
    request(lab, "migrate", wish | {"timeout": "-1", "pin": "60"})


@pytest.mark.parametrize("check", ["before", pytest.param("no", marks=pytest.mark.long)])
def test_a_move_to_where_somebody_else_is(make_lab: MakeLab, check: str) -> None:
    """0 packets are sent to the victim; without the check (the control) they do.

    The honest peer's traffic goes on, and nothing of its SAs changes.
    """
    lab = make_lab(uplinks=2)
    prepare(lab, check)
    honest, hostile = Peer(lab, HONEST, "wlan0"), Peer(lab, HOSTILE, "eth0")
    with watching(lab) as watcher, counted(lab, honest.open()) as lost:
        before = [(sa.unique_id, sa.remote) for sa in honest.at_gateway()]
        with flooding(lab, hostile.open()):
            claim(lab, hostile)
            eventually(lambda: "request 3 [ N(UPD_SA_ADDR)" in lab.gateway.log.read_text())
            if check == "no":
                eventually(lambda: flooded(lab) > 50)
            else:
                begun = time.monotonic()
                eventually(lambda: time.monotonic() > begun + 6)
                assert flooded(lab) == 0
        assert [(sa.unique_id, sa.remote) for sa in honest.at_gateway()] == before
        assert watcher.family(HONEST)
    assert lost[0] <= 2


@pytest.mark.long
def test_a_move_that_is_believed_at_once(make_lab: MakeLab) -> None:
    """`after`: the victim gets two seconds of the traffic, and no more however often it is said."""
    lab = make_lab(uplinks=2)
    prepare(lab, "after")
    hostile = Peer(lab, HOSTILE, "eth0")
    with flooding(lab, hostile.open()), heard(lab, "gateway", "ike-migrate") as moves:
        claim(lab, hostile)
        eventually(lambda: moves)
        sent = flooded(lab)
        # its charon repeats the request, which is checked before anything moves
        eventually(lambda: len(moves) > 1, within=40)
        assert flooded(lab) == sent
    assert {(m["success"], m["reason"]) for m in moves} == {("no", "timeout")}
    assert 0 < sent <= 50 * 3
