# SPDX-License-Identifier: Apache-2.0
"""A family driven by hand over VICI, with no controller: what the patched charon does in a lab.

One authentication, one clone and one inner address for each further uplink, one child each.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import vici
from vici.protocol import Message, Packet

from tests.namespace import eventually
from tests.pings import came
from tests.real.conftest import MakeLab
from tests.real.rig import agreed
from tests.real.test_lab import clear_packets, ping
from vici_mif.lab.hosts import Host
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import bare, family, pick

INNER = {4: "10.100.0.2", 6: "fd00:100::2"}
# a request for several addresses gives several only if the hints differ
HINT = {4: "0.0.0.{}", 6: "::{}"}


class Vici:
    """charon's socket on a host, one request at a time."""

    def __init__(self, host: Host) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(host.vici_socket))
        self._session = vici.Session(self._socket)

    def close(self) -> None:
        self._socket.close()

    def ask(self, command: str, **keys: Any) -> dict[str, str]:
        """The answer to a request that has to succeed."""
        message = Message.serialize({k.replace("__", "-"): v for k, v in keys.items()})
        # not Session.request: it hides the reason
        self._session.transport.send(Packet.request(command, message))
        packet = Packet.parse(self._session.transport.receive())
        assert packet.response_type == Packet.CMD_RESPONSE, f"{command}: not known to this charon"
        answer = Message.deserialize(packet.payload)
        said = {k: v.decode() for k, v in answer.items() if isinstance(v, bytes)}
        assert said.get("success") == "yes", f"{command}: {said}"
        return said

    def sas(self) -> dict[str, dict[str, Any]]:
        """Unique id -> the IKE SA."""
        found = {}
        for part in self._session.list_sas():
            for sa in part.values():
                found[sa["uniqueid"].decode()] = sa
        return found

    def identity(self) -> list[tuple[str, ...]]:
        """What has to stay as it is: ids, SPIs, and both ends of each IKE SA."""
        return sorted(
            (
                ident,
                sa["initiator-spi"].decode(),
                sa["local-host"].decode(),
                *sorted((c["spi-in"] + c["spi-out"]).decode() for c in sa["child-sas"].values()),
            )
            for ident, sa in self.sas().items()
        )


@pytest.fixture(params=[(4, 4), (6, 4), (4, 6), (6, 6)], ids="outer{0[0]}-inner{0[1]}".format)
def families(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


def multihome(lab: Lab, outer: int) -> dict[str, str]:
    """What is sent from an uplink's address leaves by it. Returns uplink -> address."""
    addresses = {}
    for number, wire in enumerate(lab.topology.uplinks, start=1):
        address = bare(pick(wire.a.addresses, outer))
        hop = pick(wire.a.gateways, outer)
        ip = ["ip", f"-{outer}"]
        table, name = str(1000 + number), wire.a.name
        lab.client.exec([*ip, "route", "add", "default", "via", hop, "dev", name, "table", table])
        lab.client.exec([*ip, "rule", "add", "from", address, "lookup", table, "pref", "150"])
        addresses[name] = address
    return addresses


def bring_up(lab: Lab, client: Vici, outer: int, inner: int) -> dict[str, str]:
    """A family with one tunnel on each uplink. Returns uplink -> inner address."""
    uplinks = multihome(lab, outer)
    remote = lab.topology.remote_addresses[0]
    hints = [HINT[inner].format(n + 1) for n in range(len(uplinks))]
    first = next(iter(uplinks.values()))
    root = client.ask(
        "create-ike", ike="hq", local=first, remote=remote, vips=hints, childless="yes"
    )["ike-id"]
    vips = [v.decode() for v in client.sas()[root]["local-vips"]]
    assert len(set(vips)) == len(uplinks)
    members = [root] + [client.ask("clone", ike__id=root)["ike-id"] for _ in vips[1:]]
    for member, (name, local), vip in zip(members, uplinks.items(), vips, strict=True):
        if member != root:
            client.ask("migrate", ike__id=member, local=local, remote=remote, pin="30")
        length = 32 if inner == 4 else 128
        client.ask(
            "create-child", ike__id=member, child="net", name=f"net@{name}",
            local_ts=f"{vip}/{length}",
        )  # fmt: skip
    return dict(zip(uplinks, vips, strict=True))


@pytest.fixture
def vici_of() -> Iterator[Any]:
    opened: list[Vici] = []

    def open_(lab: Lab) -> Vici:
        opened.append(Vici(lab.client))
        return opened[-1]

    yield open_
    for session in opened:
        session.close()


def test_one_tunnel_per_uplink_in_each_mix_of_families(
    make_lab: MakeLab, vici_of: Any, families: tuple[int, int]
) -> None:
    outer, inner = families
    lab = make_lab(ipv6=True, outer=outer, capture=True)
    tunnels = bring_up(lab, vici_of(lab), outer, inner)
    for vip in tunnels.values():
        assert ping(lab, "client", INNER[inner], "-I", vip, count=10) == 10
    lab.stop_captures()
    for uplink in tunnels:
        capture = lab.captures.file("router", uplink)
        assert not clear_packets(capture, "10.100.0.0/24", "fd00:100::/64")
        # ten there and ten back, in UDP for libipsec, as ESP for the kernel, and little else
        assert clear_packets(capture, remote_net(lab)) >= 20


def remote_net(lab: Lab) -> str:
    address = lab.topology.remote_addresses[0]
    return f"{address}/{32 if family(address) == 4 else 128}"


def test_loading_again_leaves_all_members_alone(make_lab: MakeLab, vici_of: Any) -> None:
    """Unchanged, and with a child added, while there are two spares and a root without child."""
    lab = make_lab()
    client = vici_of(lab)
    uplinks = multihome(lab, 4)
    remote = lab.topology.remote_addresses[0]
    root = client.ask(
        "create-ike", ike="hq", local=uplinks["eth0"], remote=remote, vips=["0.0.0.1"],
        childless="yes",
    )["ike-id"]  # fmt: skip
    for _ in range(2):
        client.ask("clone", ike__id=root)
    before = client.identity()
    assert len(before) == 3
    lab.charons["client"].load()
    assert client.identity() == before
    operators = lab.client.swanctl_dir / "swanctl.conf"
    text = operators.read_text()
    more = "      voip {\n        remote_ts = 10.100.9.0/24\n      }\n      net {"
    operators.write_text(text.replace("      net {", more))
    assert "voip" in lab.charons["client"].load() + lab.charons["client"].swanctl("--list-conns")
    lab.charons["gateway"].load()
    assert client.identity() == before


def test_loading_again_under_traffic_loses_nothing(make_lab: MakeLab, vici_of: Any) -> None:
    lab = make_lab()
    client = vici_of(lab)
    vip = bring_up(lab, client, 4, 4)["wlan0"]
    before = client.identity()
    argv = ["ping", "-n", "-i", "0.02", "-c", "100", "-w", "20", "-I", vip, INNER[4]]
    lab_ping = lab.client.spawn("ping", argv, stdout=-1, text=True)
    for _ in range(3):
        lab.charons["client"].load()
        lab.charons["gateway"].load()
    said = lab_ping.communicate(timeout=30)[0]
    assert came(said, 100) == 100, said
    assert client.identity() == before


def test_families_of_two_labs_do_not_meet(make_lab: MakeLab, vici_of: Any) -> None:
    """The same addresses and names in both; one is cut off, the other goes on."""
    one, two = make_lab(uplinks=2), make_lab(uplinks=2)
    inner = bring_up(one, vici_of(one), 4, 4), bring_up(two, vici_of(two), 4, 4)
    for uplink in one.uplinks:
        one.cut(uplink)
    for vip in inner[0].values():
        assert ping(one, "client", INNER[4], "-I", vip, count=1) == 0
    for vip in inner[1].values():
        assert ping(two, "client", INNER[4], "-I", vip) == 3


def test_a_tunnel_moves_to_another_uplink_and_keeps_its_address(
    make_lab: MakeLab, vici_of: Any
) -> None:
    lab = make_lab()
    client = vici_of(lab)
    vips = bring_up(lab, client, 4, 4)
    ident = next(i for i, sa in client.sas().items() if sa["local-host"] == b"192.168.2.100")
    spis = [entry[3:] for entry in client.identity()]
    lab.cut("wlan0")
    client.ask("migrate", ike__id=ident, local="192.168.3.100", pin="30")
    eventually(lambda: agreed(lab))  # it believes a move after its check: mobike_check
    assert ping(lab, "client", INNER[4], "-I", vips["wlan0"], count=10) == 10
    assert sorted(e[3:] for e in client.identity()) == sorted(spis)


def test_a_stock_gateway_grants_no_clone(
    make_lab: MakeLab, vici_of: Any, stock_charon: Any
) -> None:
    lab = make_lab(uplinks=2, gateway_charon=stock_charon)
    client = vici_of(lab)
    root = client.ask(
        "create-ike", ike="hq", local="192.168.1.100", remote="203.0.113.1", vips=["0.0.0.0"],
        childless="no", child="net",
    )["ike-id"]  # fmt: skip
    assert client.sas()[root].get("clone-supported") != b"yes"
    with pytest.raises(AssertionError, match="not-negotiated"):
        client.ask("clone", ike__id=root)
    with closing(Vici(lab.client)) as again:
        assert list(again.sas()) == [root]
    assert ping(lab, "client", INNER[4]) == 3


def test_stock_charons_bring_the_same_files_up(make_lab: MakeLab, stock_charon: Any) -> None:
    """What the lab gives a patched charon harms no stock one: a fall-back costs nothing."""
    lab = make_lab(uplinks=2, client_charon=stock_charon, gateway_charon=stock_charon)
    lab.charons["client"].swanctl("--initiate", "--child", "net")
    assert ping(lab, "client", INNER[4]) == 3
