# SPDX-License-Identifier: Apache-2.0
"""The peer's addresses, and which link goes with which."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from vici_mif.core.model import Link
from vici_mif.core.paths.pairing import DENIED
from vici_mif.core.paths.path import PathFact, PathState
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import Path, candidates
from vici_mif.core.paths.remotes import Remote, dialable, remotes
from vici_mif.core.wish.config import Pairs
from vici_mif.core.wish.links import LinkMatch

V4, V4_TOO, V6 = map(ip_address, ("192.0.2.1", "192.0.2.2", "2001:db8::1"))
A, B = Remote("a", V4, 0), Remote("b", V4_TOO, 1)
SIX = Remote("six", V6, 1)


def link(name: str, *addresses: str, up: bool = True) -> Link:
    return Link(name, 1, up, 1500, tuple(map(ip_interface, addresses)))


ETH0 = link("eth0", "198.18.0.2/24")
ETH1 = link("eth1", "198.18.1.2/24")
WWAN0 = link("wwan0", "198.18.2.2/24")


def found(
    links: list[Link], peers: list[Remote], pairs: Pairs | None = None, wanted: str = "eth0 eth1"
) -> dict[str, Path]:
    matches = [LinkMatch(match=name) for name in wanted.split()]
    paths = candidates(matches, links, peers, pairs or Pairs())
    return {str(path.name): path for path in paths}


def test_addresses_as_they_are_names_as_resolved() -> None:
    """With both IP versions the path's name tells which; the entry is the same."""
    assert remotes(["203.0.113.1"], {}) == (Remote("203.0.113.1", ip_address("203.0.113.1")),)
    assert remotes(["x", "gw"], {"gw": (V4, V4_TOO)}) == (Remote("gw", V4, 1),)
    assert remotes(["gw"], {"gw": (V6, V4, V4_TOO)}) == (
        Remote("gw.6", V6, 0),
        Remote("gw.4", V4, 0),
    )
    assert remotes(["gw"], {}) == ()


def test_an_address_that_two_entries_mean_is_one_remote() -> None:
    """Never two paths over one pair."""
    assert remotes(["192.0.2.1", "gw"], {"gw": (V4, V6)}) == (
        Remote("192.0.2.1", V4, 0),
        Remote("gw.6", V6, 1),
    )


@pytest.mark.parametrize(
    "text", ["%any", "%any6", "10.0.0.0/8", "0.0.0.0", "::", "192.0.2.1-192.0.2.9"]
)
def test_whom_a_connection_lets_in_is_nobody_to_call(text: str) -> None:
    """remote_addrs of swanctl.conf may hold all of these."""
    assert dialable([text, "192.0.2.7", "gw-1.example.org"]) == ("192.0.2.7", "gw-1.example.org")


def test_links_first_then_remotes() -> None:
    """The first remote on every link before the second on any."""
    assert list(found([ETH0, ETH1], [A, B])) == ["eth0/a", "eth1/a", "eth0/b", "eth1/b"]
    assert [path.rank for path in found([ETH0, ETH1], [A, B]).values()] == [0, 1, 2, 3]


def test_a_version_that_a_link_lacks_is_no_path() -> None:
    """Where the link reaches another remote. Where it reaches none, the path says so."""
    both = link("eth1", "198.18.1.2/24", "2001:db8:1::2/64")

    assert list(found([ETH0, both], [A, SIX])) == ["eth0/a", "eth1/a", "eth1/six"]
    assert list(found([], [A, SIX])) == ["eth0/a", "eth1/a", "eth0/six", "eth1/six"]
    assert list(found([ETH0], [SIX], wanted="eth0")) == ["eth0/six"]


def test_one_to_one() -> None:
    """Entry by entry; a link that is away does not shift the others."""
    pairs = Pairs(one_to_one=True)

    assert list(found([ETH0, ETH1], [A, B], pairs)) == ["eth0/a", "eth1/b"]
    assert list(found([ETH1], [A, B], pairs, "wwan* eth1")) == ["eth1/b"]
    dual = [Remote("gw.4", V4, 0), Remote("gw.6", V6, 0)]
    assert list(found([link("eth0", "198.18.0.2/24", "2001:db8:1::2/64")], dual, pairs)) == [
        "eth0/gw.4",
        "eth0/gw.6",
    ]


@pytest.mark.parametrize("text", ["b", "192.0.2.2", "b*"])
def test_a_denied_pair_is_listed_and_has_no_addresses_to_use(text: str) -> None:
    """By address, label or pattern."""
    pairs = Pairs(deny=(("wwan*", text),))
    paths = found([ETH0, WWAN0], [A, B], pairs, "eth0 wwan*")

    assert {name for name, path in paths.items() if path.denied} == {"wwan0/b"}
    assert paths["wwan0/b"].pair is None
    assert paths["eth0/b"].pair is not None


def test_a_name_denies_both_versions() -> None:
    """`gw` means gw.4 and gw.6."""
    dual = [Remote("gw.4", V4, 0), Remote("gw.6", V6, 0)]
    eth0 = link("eth0", "198.18.0.2/24", "2001:db8::2/64")
    paths = found([eth0], dual, Pairs(deny=(("eth0", "gw"),)), "eth0")

    assert {name: path.denied for name, path in paths.items()} == {
        "eth0/gw.4": True,
        "eth0/gw.6": True,
    }


@pytest.mark.parametrize("fact", list(PathFact))
def test_nothing_changes_a_denied_path(fact: PathFact) -> None:
    """Whatever is learned of it; and the reason stays."""
    pairs = Pairs(deny=(("eth0", "a"),))
    paths = Paths()
    paths.see(found([ETH0], [A], pairs, "eth0").values(), 0.0, {"a"})
    (path,) = paths.all()
    paths.fact(path.name, fact, 1.0)

    assert paths.life(path.name).state is PathState.DENIED
    assert paths.life(path.name).why == DENIED
    assert (paths.count, paths.usable(), paths.first) == (0, (), None)


def test_a_remote_that_is_no_more_takes_its_paths_along() -> None:
    """A link that is away does not: its path is still spoken of."""
    paths = Paths()
    paths.see(found([ETH0, ETH1], [A, B]).values(), 0.0, {"a", "b"})
    paths.see(found([ETH0], [A], wanted="eth0").values(), 1.0, {"a"})

    assert [str(p.name) for p in paths.all()] == ["eth0/a", "eth1/a"]
    assert paths.hold(paths.all()[0].name).works_at == 0.0


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ([PathFact.TEST_BEGUN, PathFact.SEATED], PathState.TESTING),
        ([PathFact.TEST_BEGUN, PathFact.TEST_VOID], PathState.FAILED),
        ([PathFact.TEST_BEGUN, PathFact.TEST_BEGUN, PathFact.SEATED], PathState.TESTING),
        ([PathFact.TEST_BEGUN, PathFact.TEST_BEGUN, PathFact.TEST_VOID], PathState.FAILED),
        ([PathFact.TEST_BEGUN, PathFact.TEST_PASSED, PathFact.SEATED], PathState.ACTIVE),
        ([PathFact.TEST_BEGUN, PathFact.TEST_FAILED, PathFact.TEST_VOID], PathState.FAILED),
    ],
)
def test_only_an_answer_takes_a_failure_back(facts: list[PathFact], state: PathState) -> None:
    """A dead gateway's path must not look alive because a tunnel stands there during a test."""
    paths = Paths()
    paths.see(found([ETH0], [A], wanted="eth0").values(), 0.0)
    (path,) = paths.all()
    for fact in (PathFact.TEST_FAILED, *facts):
        paths.fact(path.name, fact, 1.0, "said")

    assert paths.state(path.name) is state
