# SPDX-License-Identifier: Apache-2.0
"""Which paths there are and in which order."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from vici_mif.core.model import Link, Pair, PathName
from vici_mif.core.paths.path import PathState
from vici_mif.core.paths.ranking import Path, best, candidates, quality, without
from vici_mif.core.paths.remotes import Remote
from vici_mif.core.wish.links import LinkMatch

GW = Remote("gw", ip_address("203.0.113.1"))
GW6 = Remote("gw6", ip_address("2001:db8::1"))


def link(name: str, *addresses: str, up: bool = True) -> Link:
    return Link(name, 1, up, 1500, tuple(map(ip_interface, addresses)))


def matches(*names: str) -> list[LinkMatch]:
    return [LinkMatch(match=name) for name in names]


ETH0, ETH1 = link("eth0", "192.0.2.1/24"), link("eth1", "198.51.100.1/24")


def test_order_of_the_configuration_is_rank() -> None:
    """First match, first rank; within a pattern by name."""
    found = candidates(matches("eth1", "*"), [ETH0, link("wwan9", "10.0.0.1/8"), ETH1], [GW])

    assert [str(path.name) for path in found] == ["eth1/gw", "eth0/gw", "wwan9/gw"]
    assert [path.rank for path in found] == [0, 1, 2]


def test_a_link_that_fits_twice_counts_once() -> None:
    """The first match gives its rank."""
    found = candidates(matches("eth0", "eth*"), [ETH0, ETH1], [GW])

    assert [str(path.name) for path in found] == ["eth0/gw", "eth1/gw"]


def test_an_exact_link_has_its_path_while_it_is_away() -> None:
    """So status can say that it is missing; a pattern stands for what is there."""
    found = candidates(matches("eth0", "wwan*"), [], [GW])

    assert [(str(path.name), path.pair) for path in found] == [("eth0/gw", None)]


@pytest.mark.parametrize(
    "gone", [link("eth0", "192.0.2.1/24", up=False), link("eth0"), link("eth0", "2001:db8::2/64")]
)
def test_unusable_links(gone: Link) -> None:
    """Down, without an address, or without one of the remote's IP version."""
    (path,) = candidates(matches("eth0"), [gone], [GW])

    assert path.pair is None


def test_pair_is_the_primary_address() -> None:
    """The kernel's first address is used; an SA on another one is still on this path."""
    (path,) = candidates(matches("eth0"), [link("eth0", "192.0.2.1/24", "192.0.2.9/24")], [GW])

    assert path.pair == Pair(ip_address("192.0.2.1"), GW.address)
    assert path.holds(Pair(ip_address("192.0.2.9"), GW.address))
    assert not path.holds(Pair(ip_address("192.0.2.8"), GW.address))
    assert not path.holds(Pair(ip_address("192.0.2.1"), ip_address("203.0.113.2")))


def test_versions_fit() -> None:
    """An IPv6 remote is reached from IPv6 addresses only."""
    both = link("eth0", "192.0.2.1/24", "2001:db8:1::1/64")
    pairs = [path.pair for path in candidates(matches("eth0"), [both], [GW, GW6])]

    assert [str(pair) for pair in pairs] == [
        "192.0.2.1 -> 203.0.113.1",
        "2001:db8:1::1 -> 2001:db8::1",
    ]


def test_best_first() -> None:
    """What works before what is unknown before what failed; then home; then rank."""
    states = dict(zip("abcdef", PathState, strict=False))
    found = candidates(matches(*states), [link(name, "192.0.2.1/24") for name in states], [GW])
    order = best(found, lambda name: states[name.link])

    assert [states[path.name.link].value for path in order] == [
        "active",
        "ready",
        "idle",
        "testing",
        "failed",
    ]


def test_home_is_first_among_equals() -> None:
    """Not before a path that works."""
    names = [PathName(x, "gw") for x in "abc"]
    pair = Pair(ip_address("192.0.2.1"), GW.address)
    paths = [Path(name, i, GW.address, pair) for i, name in enumerate(names)]
    states = {names[0]: PathState.READY, names[1]: PathState.IDLE, names[2]: PathState.IDLE}

    assert [p.name for p in best(paths, states.__getitem__, names[2])] == [
        names[0],
        names[2],
        names[1],
    ]


@pytest.mark.parametrize("state", list(PathState))
def test_quality_is_total(state: PathState) -> None:
    """Each state has a place."""
    assert quality(state) in range(4)


def test_a_host_address_is_no_uplinks_first_choice() -> None:
    """An inner address that is not known yet may be listed first; PPP has nothing else."""
    (both,) = without([link("eth0", "2001:db8:9::1/128", "2001:db8:1::1/64")], [])
    (ppp,) = without([link("ppp0", "10.64.0.1/32")], [])

    assert str(both.addresses[0]) == "2001:db8:1::1/64"
    assert len(ppp.addresses) == 1


def test_known_inner_addresses_are_not_the_links() -> None:
    """Wherever charon put them."""
    (found,) = without([link("eth0", "192.0.2.1/24", "10.9.0.1/32")], [ip_address("10.9.0.1")])

    assert [str(a) for a in found.addresses] == ["192.0.2.1/24"]
