# SPDX-License-Identifier: Apache-2.0
"""A client that moves: the gateway sends ESP there once it answered from there, not before.

Whose address it is that a client claims, the gateway cannot see; here it is the client's own, on
an uplink by which nothing reaches it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.namespace import eventually
from tests.real.conftest import MakeLab
from tests.real.heard import heard
from tests.real.rig import captured, ping, request
from tests.real.test_leases import HINTS, Client
from vici_mif.lab.lab import Lab
from vici_mif.lab.wires.impair import DOWN, Impairment

ESP = "dst host {} and udp port 4500 and greater 60 and udp[8:4] != 0"
CHECK = "dst host {} and udp port 4500 and udp[8:4] = 0"


@pytest.fixture
def client(make_lab: MakeLab) -> Iterator[Client]:
    made = Client(make_lab(uplinks=2, capture=True))
    yield made
    made.vici.close()


def toward(lab: Lab, what: str, address: str) -> int:
    """Packets from the gateway to an address, whether they got there or not."""
    lab.captures.flush()
    return len(captured(lab, lab.topology.remotes[0].a.name, what.format(address)))


def begin(client: Client) -> tuple[str, str, str]:
    """A tunnel on the first uplink: its IKE SA, its inner address and the second uplink."""
    first, second = client.links
    ike, vips = client.authenticate(first, HINTS[:1])
    client.open(ike, "net@a", vips[0])
    assert ping(client.lab, vips[0], host="server") == 5
    return ike, vips[0], second


def test_an_honest_move(client: Client) -> None:
    """It is checked, then both directions are on the new uplink."""
    lab = client.lab
    ike, vip, second = begin(client)
    with heard(lab, "gateway", "ike-migrate") as moves:
        client.move(ike, second)
        eventually(lambda: moves)
    assert [(m["success"], m["initiator"]) for m in moves] == [("yes", "no")]
    assert moves[0]["remote-host"] == client.links[second]
    assert ping(lab, vip, host="server") == 5
    assert toward(lab, CHECK, client.links[second]) >= 2
    assert toward(lab, ESP, client.links[second]) >= 5


def test_a_move_to_where_answers_take_long(client: Client) -> None:
    """A round trip longer than the requests are sent for: it is waited for the answer."""
    lab = client.lab
    ike, vip, second = begin(client)
    lab.impair(second, Impairment(delay_s=1.3))
    with heard(lab, "gateway", "ike-migrate") as moves:
        client.move(ike, second)
        eventually(lambda: moves)
    assert [(m["success"], m["initiator"]) for m in moves] == [("yes", "no")]
    assert moves[0]["remote-host"] == client.links[second]
    assert toward(lab, CHECK, client.links[second]) >= 4
    lab.impair(second, Impairment())
    assert ping(lab, vip, host="server") == 5


def test_a_move_to_where_it_cannot_be_reached(client: Client) -> None:
    """Nobody there gets any ESP, the tunnel works on, and a later honest move too."""
    lab = client.lab
    ike, vip, second = begin(client)
    address = client.links[second]
    lab.cut(second, directions=(DOWN,))
    with heard(lab, "gateway", "ike-migrate") as moves:
        ask = {"ike-id": ike, "local": address, "remote": client.remote, "timeout": -1}
        assert request(lab, "migrate", ask)["success"] == "yes"
        eventually(lambda: toward(lab, CHECK, address))
        assert ping(lab, vip, host="server") == 5
        eventually(lambda: moves)
        told = [(m["success"], m["initiator"], m.get("reason")) for m in moves]
        assert told == [("no", "no", "timeout")]
        assert moves[0]["remote-host"] == next(iter(client.links.values()))
        assert ping(lab, vip, host="server") == 5
        assert toward(lab, ESP, address) == 0

        lab.uncut(second)
        # the client takes the late answer for success; it tells once more where it is
        ask["timeout"] = 5000
        eventually(lambda: request(lab, "migrate", ask) and moves[-1]["success"] == "yes")
    assert ping(lab, vip, host="server") == 5
    assert toward(lab, ESP, address) >= 5
