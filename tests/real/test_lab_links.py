# SPDX-License-Identifier: Apache-2.0
"""What a lab can do to links, addresses and NATs, seen from the kernel and from the other end."""

from __future__ import annotations

import json

import pytest

from tests.namespace import eventually
from tests.real.conftest import MakeLab
from vici_mif.lab import links
from vici_mif.lab.cli import main
from vici_mif.lab.errors import LabError
from vici_mif.lab.evidence import pcap
from vici_mif.lab.evidence.pcap import Packet
from vici_mif.lab.lab import Lab

REMOTE = "203.0.113.1"


@pytest.fixture(scope="module")
def lab(make_module_lab: MakeLab) -> Lab:
    return make_module_lab(uplinks=3, start_charons=False, remotes=2)


def shown(lab: Lab, interface: str) -> dict[str, object]:
    """What `ip` says of an interface of the client; nothing where there is none."""
    done = lab.client.exec(["ip", "-j", "address", "show", "dev", interface], check=False)
    found = json.loads(done.stdout or "[]")
    return found[0] if found else {}


def addresses(lab: Lab, interface: str) -> list[str]:
    entries = shown(lab, interface).get("addr_info", [])
    return [f"{e['local']}/{e['prefixlen']}" for e in entries if e["family"] == "inet"]  # type: ignore[attr-defined]


def reaches(lab: Lab, interface: str, target: str = REMOTE) -> bool:
    ping = ["ping", "-n", "-c", "1", "-W", "1", "-I", interface, target]
    return lab.client.exec(ping, check=False).returncode == 0


def test_carrier_goes_and_comes(lab: Lab) -> None:
    """Up without carrier, with its address; then it works as before."""
    links.lose_carrier(lab, "eth0")
    eventually(lambda: "NO-CARRIER" in shown(lab, "eth0")["flags"])  # type: ignore[operator]
    assert "UP" in shown(lab, "eth0")["flags"]  # type: ignore[operator]
    assert addresses(lab, "eth0") == ["192.168.1.100/24"]

    links.restore_carrier(lab, "eth0")
    eventually(lambda: reaches(lab, "eth0"))


def test_an_interface_vanishes_and_comes_again(lab: Lab) -> None:
    """Another index would be as good; address and route are there again."""
    links.remove(lab, "wlan0")
    assert shown(lab, "wlan0") == {}

    links.add(lab, "wlan0")
    assert addresses(lab, "wlan0") == ["192.168.2.100/24"]
    eventually(lambda: reaches(lab, "wlan0"))


def test_a_lease_is_renewed_and_kept(lab: Lab) -> None:
    """The new address replaces the old one, also over a down and up."""
    links.renew(lab, "wlan0", "192.168.2.77/24")
    assert addresses(lab, "wlan0") == ["192.168.2.77/24"]
    lab.link_down("wlan0")
    lab.link_up("wlan0")

    assert addresses(lab, "wlan0") == ["192.168.2.77/24"]
    eventually(lambda: reaches(lab, "wlan0"))
    with pytest.raises(LabError, match=r"not of wlan0: 192\.168\.2\.0/24"):
        links.renew(lab, "wlan0", "10.0.0.1/24")
    links.renew(lab, "wlan0", "192.168.2.100/24")


def test_addresses_come_and_go(lab: Lab) -> None:
    """One more is behind the first; without any there is no way out."""
    links.add_address(lab, "wlan0", "192.168.2.150/24")
    assert addresses(lab, "wlan0") == ["192.168.2.100/24", "192.168.2.150/24"]
    for address in ("192.168.2.150/24", "192.168.2.100/24"):
        links.remove_address(lab, "wlan0", address)
    assert addresses(lab, "wlan0") == []
    with pytest.raises(LabError, match="it has: none"):
        links.remove_address(lab, "wlan0", "192.168.2.100/24")

    links.renew(lab, "wlan0", "192.168.2.100/24")
    eventually(lambda: reaches(lab, "wlan0"))


def test_a_renamed_interface_is_the_same_uplink(lab: Lab) -> None:
    """It keeps address and route, and can be cut and renamed back by its new name."""
    links.rename(lab, "wwan0", "wwp0s20")
    eventually(lambda: reaches(lab, "wwp0s20"))
    lab.cut("wwp0s20")
    assert not reaches(lab, "wwp0s20")
    lab.uncut("wwp0s20")

    links.rename(lab, "wwp0s20", "wwan0")
    eventually(lambda: reaches(lab, "wwan0"))


def test_an_address_of_the_gateway_goes_and_comes(lab: Lab) -> None:
    """The other one stays."""
    links.remote_down(lab, REMOTE)
    assert not reaches(lab, "eth0")
    eventually(lambda: reaches(lab, "eth0", "198.51.100.1"))

    links.remote_up(lab, REMOTE)
    eventually(lambda: reaches(lab, "eth0"))
    with pytest.raises(LabError, match=r"198\.51\.100\.1"):
        links.remote_up(lab, "192.0.2.99")


def test_a_bridge_is_up_with_an_address(lab: Lab) -> None:
    """As docker's is once a container runs."""
    links.add_bridge(lab, "docker0", "172.17.0.1/16")

    eventually(lambda: shown(lab, "docker0").get("operstate") == "UP")
    assert addresses(lab, "docker0") == ["172.17.0.1/16"]


def test_the_same_by_command(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """What is typed has the effect, and a word too few is said."""

    def typed(*words: str) -> int:
        return main(["lab", words[0], "--name", lab.name, *words[1:]])

    assert typed("link", "client", "eth0", "unplug") == 0
    eventually(lambda: "NO-CARRIER" in shown(lab, "eth0")["flags"])  # type: ignore[operator]
    assert typed("link", "client", "eth0", "plug") == 0
    assert typed("address", "eth0", "renew", "192.168.1.9/24") == 0
    assert addresses(lab, "eth0") == ["192.168.1.9/24"]
    assert typed("remote", REMOTE, "down") == typed("remote", REMOTE, "up") == 0
    assert typed("link", "client", "wwan0", "rename") == 1
    assert typed("link", "client", "wwan0", "rename", "w" * 16) == 1
    assert typed("link", "client", "wwan0", "rename", "eth0") == 1
    assert typed("link", "client", "wwan0", "vlan", "many") == 1
    assert typed("link", "client", "wwan0", "rename", "wwan9") == 0
    assert shown(lab, "wwan9")
    assert typed("rebind", "eth0") == 1
    said = capsys.readouterr().err
    assert "wants one word more" in said
    assert "--nat eth0" in said


# -- NAT -------------------------------------------------------------------------------------


def sent(lab: Lab, uplink: str) -> Packet:
    """A datagram from port 4500 of an uplink, as it is seen at the gateway."""
    program = (
        "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);"
        f"s.setsockopt(1,socket.SO_BINDTODEVICE,b'{uplink}'); "
        f"s.bind((sys.argv[1],4500)); s.sendto(b'x'*64,('{REMOTE}',9))"
    )
    address = lab.port(uplink).addresses[0].partition("/")[0]
    file = lab.captures.file("router", "gw0")
    before = len(list(pcap.read(file)))
    lab.client.exec(["python3", "-c", program, address])

    def seen() -> list[Packet]:
        return [
            p for p in list(pcap.read(file))[before:] if p.protocol == pcap.UDP and p.dport == 9
        ]

    eventually(seen)
    return seen()[0]


def test_each_nat_has_an_address_and_forgets(make_lab: MakeLab) -> None:
    """The gateway sees the box; after a rebinding another port of the same box."""
    lab = make_lab(uplinks=3, nat=("eth0", "wlan0"), start_charons=False, capture=True)
    first = [sent(lab, uplink) for uplink in lab.uplinks]

    assert [str(p.src) for p in first] == ["203.0.113.101", "203.0.113.102", "192.168.3.100"]
    assert [p.sport for p in first] == [4500, 4500, 4500]

    lab.rebind("eth0")
    again, other = sent(lab, "eth0"), sent(lab, "wlan0")
    assert str(again.src) == "203.0.113.101"
    assert again.sport != 4500
    assert other.sport == 4500
    lab.rebind("eth0")
    assert sent(lab, "eth0").sport not in (4500, again.sport)


def test_two_uplinks_behind_one_nat(make_lab: MakeLab) -> None:
    """The same address, so not the same port."""
    lab = make_lab(
        uplinks=2, nat=("eth0", "wlan0"), one_nat=True, start_charons=False, capture=True
    )
    one, two = sent(lab, "eth0"), sent(lab, "wlan0")

    assert one.src == two.src
    assert one.sport != two.sport
