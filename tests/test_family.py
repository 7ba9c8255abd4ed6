# SPDX-License-Identifier: Apache-2.0
"""Which IKE_SAs are a family, which tunnel is at home where, which inner address is whose."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from vici_mif.core.family.family import choose, home_of, slots_of, used_slots
from vici_mif.core.family.homes import Homes
from vici_mif.core.model import Child, PathName, Sa
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import Path

GW = ip_address("203.0.113.1")
A, B, C = (PathName(x, "gw") for x in "abc")
LOCAL = {name: ip_address(f"192.0.2.{i}") for i, name in enumerate((A, B, C), 1)}


def paths() -> Paths:
    from vici_mif.core.model import Pair

    made = Paths()
    made.see(
        [
            Path(name, rank, GW, Pair(LOCAL[name], GW), frozenset({LOCAL[name]}))
            for rank, name in enumerate((A, B, C))
        ],
        0.0,
    )
    return made


def child(name: str, ts: str = "10.9.0.1/32", state: str = "INSTALLED") -> Child:
    return Child(name, 1, state, (ts,), ("10.0.0.0/8",))


def sa(number: int, at: PathName = A, *children: Child, **more: object) -> Sa:
    made = Sa(number, "hq", "ESTABLISHED", LOCAL[at], GW, family=1, children=children)
    return replace(made, cloned=number > 1, **more)  # type: ignore[arg-type]


def homes(*members: Sa, carrier: int | None = None) -> list[PathName | None]:
    return [tunnel.home for tunnel in Homes().see(members, paths(), carrier, 8, 0.0)]


def test_home_is_read_from_the_childs_name() -> None:
    """Wherever the tunnel is now."""
    assert homes(sa(1, A, child("net@a/gw")), sa(2, A, child("net@c/gw"))) == [A, C]


def test_the_root_is_at_home_where_it_authenticated() -> None:
    """Also if that is not the best path."""
    assert homes(sa(1, B)) == [B]


def test_childless_clones_take_free_homes_by_rank() -> None:
    """A clone stands where its parent is; that says nothing."""
    assert homes(sa(1, B), sa(2, B), sa(3, B)) == [B, A, C]


def test_more_members_than_paths() -> None:
    """The one too many is a spare."""
    assert homes(sa(1), sa(2), sa(3), sa(4)) == [A, B, C, None]


def test_a_childless_member_does_not_take_a_home_that_is_written() -> None:
    """Whatever the order of the numbers."""
    assert homes(sa(1, C), sa(2, A, child("net@a/gw"))) == [C, A]
    assert homes(sa(2, C), sa(3, A, child("net@b/gw"))) == [A, B]


def test_mode_one_carrier_is_at_home_on_the_best_path() -> None:
    """The others get the rest."""
    assert homes(sa(1, B, child("lan")), sa(2, C), carrier=1) == [A, B]


def test_homes_are_remembered_and_follow_rekeying() -> None:
    """The second look gives the same, also under a new number."""
    memory = Homes()
    memory.see([sa(1, B), sa(2, B)], paths(), None, 8, 0.0)
    memory.rename(2, 9)
    found = memory.see([sa(1, B), sa(9, C)], paths(), None, 8, 0.0)

    assert [(t.ike_id, t.home) for t in found] == [(1, B), (9, A)]


def test_home_of_many_children() -> None:
    """The first name with a path in it."""
    assert home_of(sa(1, A, child("x"), child("net@b/gw"))) == B
    assert home_of(sa(1, A, child("net"), child("net@nonsense"))) is None


@pytest.mark.parametrize(
    ("vips", "expected"),
    [
        ([], []),
        (["10.9.0.1", "10.9.0.2"], [["10.9.0.1"], ["10.9.0.2"]]),
        (
            ["10.9.0.1", "fd00::1", "10.9.0.2", "fd00::2"],
            [["10.9.0.1", "fd00::1"], ["10.9.0.2", "fd00::2"]],
        ),
        (["10.9.0.1", "10.9.0.2", "fd00::1"], [["10.9.0.1", "fd00::1"], ["10.9.0.2"]]),
    ],
)
def test_slots(vips: list[str], expected: list[list[str]]) -> None:
    """One address of each IP version per tunnel, in charon's order."""
    slots = slots_of([ip_address(vip) for vip in vips])

    assert [[str(address) for address in slot] for slot in slots] == expected


def test_used_slots() -> None:
    """An address is used where it stands alone in a selector."""
    slots = slots_of([ip_address("10.9.0.1"), ip_address("10.9.0.2")])

    assert used_slots(sa(1, A, child("net", "10.9.0.2/32")), slots) == (1,)
    assert used_slots(sa(1, A, child("net", "10.9.0.0/24")), slots) == ()
    assert used_slots(sa(1), slots) == ()


def test_choose_takes_the_family_that_carries() -> None:
    """Else one that can clone, else the newest; what is not established counts for nothing."""
    carrying = sa(2, A, child("net"), family=2)
    able = sa(3, A, family=3, clone_supported=True)
    newest = sa(9, A, family=9)
    going = sa(10, A, child("net"), family=10, state="DELETING")

    assert choose([able, carrying, newest, going]) == (carrying,)
    assert choose([newest, able]) == (able,)
    assert choose([sa(4, A, family=4), newest]) == (newest,)
    assert choose([going]) == ()


def test_choose_keeps_a_family_together() -> None:
    """All established members, oldest first as given."""
    members = [sa(1, A, child("net")), sa(2), sa(3)]

    assert choose(members) == tuple(members)


def test_stock_sas_are_families_of_their_own() -> None:
    """A stock charon shows no family; numbers of families and SAs are not mixed up."""
    first, second = sa(1, A, family=None), sa(2, A, family=1)

    assert choose([first, second]) == (second,)
