# SPDX-License-Identifier: Apache-2.0
"""The plan of a lab: addresses are distinct, names as a user has them, wishes checked."""

from __future__ import annotations

from ipaddress import ip_interface
from itertools import combinations

import pytest

from vici_mif.lab.errors import LabError
from vici_mif.lab.topology import (
    CLIENT,
    GATEWAY,
    MAX_GATEWAYS,
    MAX_REMOTES,
    MAX_UPLINKS,
    Profile,
    Wish,
    design,
    namespace,
    owner,
)


def test_uplinks_are_named_as_on_a_laptop() -> None:
    wires = design(Wish(uplinks=5)).uplinks
    assert [w.a.name for w in wires] == ["eth0", "wlan0", "wwan0", "wwan1", "wwan2"]
    assert [w.b.name for w in wires] == [w.a.name for w in wires]


def test_metrics_rank_the_uplinks() -> None:
    metrics = [w.a.metric for w in design(Wish(uplinks=MAX_UPLINKS)).uplinks]
    assert metrics == sorted(set(metrics))


@pytest.mark.parametrize("profile", list(Profile))
def test_no_two_networks_overlap(profile: Profile) -> None:
    gateways = MAX_GATEWAYS if profile is Profile.ROADWARRIOR else 1
    largest = Wish(
        uplinks=MAX_UPLINKS, remotes=MAX_REMOTES, gateways=gateways, profile=profile, ipv6=True
    )
    wires = design(largest).wires
    nets = [[ip_interface(a).network for a in wire.a.addresses] for wire in wires]
    for one, other in combinations(nets, 2):
        assert not any(a.overlaps(b) for a in one for b in other if a.version == b.version)


def test_both_ends_of_a_wire_share_its_networks() -> None:
    for wire in design(Wish(ipv6=True)).wires:
        ends = [[ip_interface(a) for a in port.addresses] for port in (wire.a, wire.b)]
        assert [i.network for i in ends[0]] == [i.network for i in ends[1]]
        assert not set(ends[0]) & set(ends[1])


def test_ipv6_is_there_when_asked_for_or_needed() -> None:
    assert not any(":" in a for p in design(Wish()).ports() for a in p.addresses)
    for wish in (Wish(ipv6=True), Wish(outer=6)):
        assert all(len(p.addresses) == 2 for p in design(wish).ports())
    assert design(Wish(outer=6, remotes=2)).remote_addresses == (
        "2001:db8:100::1",
        "2001:db8:101::1",
    )


def test_a_site_has_a_host_behind_each_end() -> None:
    assert design(Wish()).hosts == ("router", "gateway", "client", "server")
    assert design(Wish(profile=Profile.SITE)).hosts == (
        "router", "gateway", "client", "server", "station",
    )  # fmt: skip


def test_a_second_gateway_is_on_a_way_of_its_own_to_the_same_server() -> None:
    topology = design(Wish(gateways=2, ipv6=True))
    assert topology.charon_hosts == ("gateway", "backup", "client")
    assert not set(topology.addresses_of("gateway")) & set(topology.addresses_of("backup"))
    assert topology.port("backup", "lan0").routes == (
        ("10.100.0.0/24", "10.100.1.2"),
        ("fd00:100::/64", "fd00:101::2"),
    )
    assert design(Wish()).charon_hosts == ("gateway", "client")


def test_interfaces_of_a_host_have_different_names() -> None:
    topology = design(Wish(uplinks=MAX_UPLINKS, remotes=MAX_REMOTES, profile=Profile.SITE))
    for host in topology.hosts:
        names = [p.name for p in topology.ports(host)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"name": "Lab"}, "lower-case"),
        ({"name": "a.b"}, "lower-case"),
        ({"name": ""}, "lower-case"),
        ({"uplinks": 0}, "uplinks"),
        ({"uplinks": MAX_UPLINKS + 1}, "uplinks"),
        ({"remotes": MAX_REMOTES + 1}, "remotes"),
        ({"outer": 5}, "outer"),
        ({"gateways": MAX_GATEWAYS + 1}, "gateways"),
        ({"gateways": 2, "profile": Profile.SITE}, "road warriors"),
    ],
)
def test_an_impossible_wish_is_refused_by_name(wrong: dict[str, object], word: str) -> None:
    with pytest.raises(LabError, match=word):
        Wish(**wrong)  # type: ignore[arg-type]


def test_namespaces_tell_their_lab() -> None:
    assert owner(namespace("one-two", CLIENT)) == "one-two"
    assert namespace("a", GATEWAY) != namespace("a-gateway", GATEWAY)
    assert owner("cni-1234") is None
    assert owner("mif-lab.x") is None
