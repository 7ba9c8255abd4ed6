# SPDX-License-Identifier: Apache-2.0
"""Addresses that a peer announces, and what a hostile one cannot do with them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from tests.simulated import World, link
from tests.test_many_remotes import BOTH, R1, R2, at_home, pairs, states
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.model import Sa
from vici_mif.core.paths.learned import MOST, Learned

BEHIND = (ip_network("10.100.0.0/16"),)
FRESH = "203.0.113.7"
LEARNING = f"""
version: 1
connections:
  hq: {{links: [eth0, eth1], spares: 0, remotes: {{use: {R1}, learn: [203.0.113.0/24]}}}}
"""


def sa(*announced: str, remote: str = R1, state: str = "ESTABLISHED") -> Sa:
    local = ip_address("198.18.0.2")
    found = tuple(map(ip_address, announced))
    return Sa(1, "hq", state, local, ip_address(remote), remote_addresses=found)


def learned(*prefixes: str) -> Learned:
    return Learned([ip_network(p) for p in prefixes])


def seen(it: Learned, *sas: Sa) -> list[str]:
    return [r.label for r in it.see(sas, {ip_address(R1)}, BEHIND)]


def test_nothing_is_learned_unasked() -> None:
    """No prefix, no remote."""
    assert seen(learned(), sa(FRESH)) == []


def test_only_what_a_prefix_allows() -> None:
    """In the order of the announcement, without those that are configured."""
    assert seen(learned("203.0.113.0/24"), sa(FRESH, "198.51.100.1", R1, R2)) == [FRESH, R2]


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "fe80::1", "::1"]
)
def test_everything_allowed_is_no_private_address(address: str) -> None:
    """0.0.0.0/0 means the Internet."""
    assert seen(learned("0.0.0.0/0", "::/0"), sa(address, "9.9.9.9")) == ["9.9.9.9"]


def test_a_private_prefix_allows_private_addresses() -> None:
    """A gateway in the same company's network."""
    assert seen(learned("10.0.0.0/8"), sa("10.7.0.1")) == ["10.7.0.1"]


def test_what_lies_behind_the_peer_is_not_learned() -> None:
    """It would be exempt from the guard, and reached through the tunnels."""
    assert seen(learned("10.0.0.0/8"), sa("10.100.3.1", "10.7.0.1")) == ["10.7.0.1"]


def test_bounded_however_it_rotates() -> None:
    """Old ones that are still announced stay; never more than the bound."""
    it = learned("203.0.113.0/24")
    first = [str(IPv4Address("203.0.113.100") + i) for i in range(3)]
    for turn in range(50):
        others = [str(IPv4Address("203.0.113.10") + (turn * 7 + i) % 60) for i in range(30)]
        found = seen(it, sa(*others[:5], *first, *others[5:]))
        assert len(found) <= MOST
        assert turn == 0 or set(first) <= set(found)


def test_dropped_when_no_tunnel_is_on_it() -> None:
    """Not before; and nothing changes while there is no IKE SA to tell."""
    it = learned("203.0.113.0/24")
    assert seen(it, sa(FRESH)) == [FRESH]
    assert seen(it) == [FRESH]
    assert seen(it, sa(remote=FRESH)) == [FRESH]
    assert seen(it, sa()) == []


# --- in the planner ---------------------------------------------------------------


def world() -> World:
    it = World(text=LEARNING, connection=BOTH, links={f"eth{i}": link(i) for i in range(2)})
    return it.start().run(5)


def announce(it: World, *addresses: str) -> None:
    for number, each in list(it.sas.items()):
        it.sas[number] = replace(each, remote_addresses=tuple(map(ip_address, addresses)))
    it.feed(e.SasSeen(tuple(it.sas.values())))


def test_a_learned_address_has_paths_after_the_configured_ones() -> None:
    """LINK/ADDRESS; tested, and used when the configured one goes."""
    it = world()
    announce(it, R1, FRESH)
    it.run(30)
    assert [p.name for p in it.hq.paths] == [
        f"eth0/{R1}",
        f"eth1/{R1}",
        f"eth0/{FRESH}",
        f"eth1/{FRESH}",
    ]
    assert states(it)[f"eth0/{FRESH}"] == "ready" or f"eth0/{FRESH}" in it.seats()
    assert at_home(it)
    assert it.hq.state == "up"


def test_one_that_disappears_takes_its_paths_along() -> None:
    """And what was said of them."""
    it = world()
    announce(it, FRESH)
    it.run(30)
    announce(it)
    it.run(1)

    assert {p.remote for p in it.hq.paths} == {R1}
    assert it.hq.state == "up"


def test_a_hostile_announcement_sends_nothing_anywhere() -> None:
    """Thousands of addresses: no packet goes beyond the prefix, and few go at all."""
    it = world()
    announce(it, *(str(IPv4Address("10.0.0.1") + i) for i in range(3000)), "8.8.8.8", "10.100.0.1")
    it.run(100)

    assert {remote for _, remote in pairs(it, a.Probe, a.Migrate, a.CreateIke)} == {R1}
