# SPDX-License-Identifier: Apache-2.0
"""Inner addresses when a peer authenticates again: who gets which, and when they are free.

Driven over VICI, with no controller; what is asserted is what the gateway's charon says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.namespace import eventually
from tests.real.conftest import MakeLab
from tests.real.rig import agreed, ping, request, sas
from tests.real.test_family import Vici, multihome
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import Auth

FREE = (0, 0)
INSIDE = "10.100.0.2"
HINTS = ["0.0.0.1", "0.0.0.2"]


class Client:
    """A road warrior that authenticates as often as a test wants."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.links = multihome(lab, 4)
        self.remote = lab.topology.remote_addresses[0]
        self.vici = Vici(lab.client)

    def authenticate(self, link: str, vips: list[str]) -> tuple[str, list[str]]:
        """A new family from that uplink, and the inner addresses it got."""
        answer = self.vici.ask(
            "create-ike",
            ike="hq",
            local=self.links[link],
            remote=self.remote,
            vips=vips,
            childless="yes",
        )
        return answer["ike-id"], self.vips(answer["ike-id"])

    def vips(self, ike: str) -> list[str]:
        return [vip.decode() for vip in self.vici.sas()[ike].get("local-vips", [])]

    def move(self, ike: str, link: str) -> None:
        self.vici.ask("migrate", ike__id=ike, local=self.links[link], remote=self.remote)

    def clone(self, ike: str) -> str:
        return self.vici.ask("clone", ike__id=ike)["ike-id"]

    def open(self, ike: str, name: str, vip: str) -> None:
        self.vici.ask("create-child", ike__id=ike, child="net", name=name, local_ts=f"{vip}/32")

    def close(self, *ikes: str) -> None:
        """Closes them in this order, and waits for both ends."""
        for ike in ikes:
            before = len(sas(self.lab, "gateway"))
            request(self.lab, "terminate", {"ike-id": ike})
            eventually(lambda before=before: len(sas(self.lab, "gateway")) < before)


def leases(lab: Lab) -> tuple[int, int]:
    """Addresses of the gateway's pool that are in use, and that were."""
    pool = request(lab, "get-pools", {}, "gateway")["rw4"]
    return int(pool["online"]), int(pool["offline"])


@pytest.fixture(params=[Auth.PSK, Auth.EAP], ids=["psk", "eap"])
def client(make_lab: MakeLab, request: pytest.FixtureRequest) -> Iterator[Client]:
    made = Client(make_lab(uplinks=2, auth=request.param))
    yield made
    made.vici.close()


def test_a_new_family_has_the_old_ones_addresses(client: Client) -> None:
    """From where a member is after a move, under ping; free after the last of both families."""
    lab = client.lab
    first, second = client.links
    assert leases(lab) == FREE
    root, vips = client.authenticate(first, HINTS)
    clone = client.clone(root)
    client.move(root, second)
    eventually(lambda: agreed(lab))  # it believes a move after its check: mobike_check
    client.open(root, "net@old", vips[0])
    assert ping(lab, INSIDE, vips[0]) == 5

    # the clone is where both began, the root is not
    new, given = client.authenticate(second, vips[::-1])
    assert given == vips[::-1]
    assert leases(lab) == (2, 0)
    client.open(new, "net@new", vips[0])
    assert ping(lab, INSIDE, vips[0]) == 5

    client.close(root)
    assert ping(lab, INSIDE, vips[0]) == 5
    client.close(clone)
    assert leases(lab) == (2, 0)
    assert ping(lab, INSIDE, vips[0]) == 5
    assert client.vips(new) == vips[::-1]

    client.close(new)
    eventually(lambda: leases(lab) == (0, 2))


def test_nobody_else_gets_them(client: Client) -> None:
    """Not from where no member is, and not without naming them; each is free once."""
    lab = client.lab
    first, second = client.links
    root, vips = client.authenticate(first, HINTS)

    whatever = [client.authenticate(link, ["0.0.0.0", "0.0.0.0"]) for link in (second, first)]
    assert len({*vips, *whatever[0][1], *whatever[1][1]}) == 6
    client.close(*(ike for ike, _ in whatever))
    eventually(lambda: leases(lab) == (2, 4))

    device, other = client.authenticate(second, vips)
    anything, third = client.authenticate(first, HINTS)
    assert len({*vips, *other, *third}) == 6
    assert leases(lab) == (6, 0)

    # where the device is now, only its own addresses are to be had
    again, shared = client.authenticate(second, [other[1], vips[0]])
    assert shared[0] == other[1]
    assert shared[1] not in vips
    assert leases(lab) == (7, 0)

    client.close(device)
    eventually(lambda: leases(lab) == (6, 1))
    client.close(root, again, anything)
    eventually(lambda: leases(lab) == (0, 7))


def test_one_authentication_does_not_drain_the_pool(make_lab: MakeLab) -> None:
    """As many addresses as IKE SAs, however many are asked for; all of them are free afterwards."""
    client = Client(make_lab(uplinks=2, max_clones=2))
    lab = client.lab
    first, second = client.links
    greedy, vips = client.authenticate(first, ["0.0.0.0"] * 40)
    assert len(set(vips)) == 3
    assert leases(lab) == (3, 0)

    modest, others = client.authenticate(second, HINTS)
    assert len({*vips, *others}) == 5
    client.close(greedy, modest)
    eventually(lambda: leases(lab) == (0, 5))
    client.vici.close()


@pytest.mark.long
def test_a_gateway_that_replaces_waits_for_the_whole_family(make_lab: MakeLab) -> None:
    """`unique = replace`: the old family goes as a whole, ten seconds after it was followed."""
    client = Client(make_lab(uplinks=2))
    lab = client.lab
    file = lab.host("gateway").swanctl_dir / "swanctl.conf"
    file.write_text(
        file.read_text().replace("version = 2\n", "version = 2\n    unique = replace\n")
    )
    lab.charons["gateway"].load()
    first, second = client.links
    root, vips = client.authenticate(first, HINTS)
    clone = client.clone(root)
    client.move(clone, second)
    eventually(lambda: agreed(lab))  # it believes a move after its check: mobike_check
    client.open(root, "net@old", vips[0])

    begun = time.monotonic()
    new, given = client.authenticate(second, vips)
    client.open(new, "net@new", given[0])
    late = client.clone(root)
    assert given == vips
    assert set(client.vici.sas()) == {root, clone, late, new}
    assert ping(lab, INSIDE, vips[0]) == 5

    eventually(lambda: set(client.vici.sas()) == {new}, 20)
    assert time.monotonic() - begun > 9
    assert ping(lab, INSIDE, vips[0]) == 5
    assert leases(lab) == (2, 0)

    # from where no member is, the old one goes at once
    other, elsewhere = client.authenticate(first, vips)
    eventually(lambda: set(client.vici.sas()) == {other}, 5)
    assert not set(elsewhere) & set(vips)
    client.vici.close()


DEAF = """
table inet deaf {
  chain in {
    type filter hook input priority 0;
    udp sport 4500 @th,64,32 0 drop
  }
}
"""
"""No IKE comes in, but ESP: what is not ESP begins with four octets of zero (RFC 3948, 2.2)."""


def test_what_is_replaced_sends_no_more(make_lab: MakeLab) -> None:
    """From the moment it is closed, and not only once the gateway has told that it did."""
    client = Client(make_lab(uplinks=1))
    lab = client.lab
    (link,) = client.links
    old, vips = client.authenticate(link, HINTS)
    new, _ = client.authenticate(link, vips)
    client.open(new, "net@new", vips[0])
    client.open(old, "net@old", vips[0])  # the last one is preferred
    assert ping(lab, INSIDE, vips[0]) == 5

    lab.client.exec(["nft", "-f", "-"], stdin=DEAF)
    request(lab, "terminate", {"ike-id": old, "replaced": "yes", "timeout": "-1"})
    eventually(lambda: len(sas(lab, "gateway")) == 1)
    assert ping(lab, INSIDE, vips[0]) == 5
    assert set(client.vici.sas()) == {old, new}

    request(lab, "terminate", {"ike-id": old, "force": "yes"})
    eventually(lambda: set(client.vici.sas()) == {new})
    assert ping(lab, INSIDE, vips[0]) == 5
    client.vici.close()


def test_the_peer_tells_its_addresses(make_lab: MakeLab) -> None:
    """All, or those inside mobike_announce, as of the moment of the authentication."""
    lab = make_lab(uplinks=1, remotes=2)
    client = Client(lab)
    (link,) = client.links
    used, spare = lab.topology.remote_addresses
    ike, _ = client.authenticate(link, ["0.0.0.0"])
    told: Any = client.vici.sas()[ike]["remote-addresses"]
    assert {used.encode(), spare.encode()} < set(told)

    settings = lab.host("gateway").strongswan_conf
    more = f"charon {{\n  mobike_announce = {spare}/32\n}}\n"
    settings.write_text(settings.read_text() + more)
    request(lab, "reload-settings", {}, "gateway")
    ike, _ = client.authenticate(link, ["0.0.0.0"])
    assert sorted(client.vici.sas()[ike]["remote-addresses"]) == sorted(
        [used.encode(), spare.encode()]
    )
    client.vici.close()
