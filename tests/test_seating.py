# SPDX-License-Identifier: Apache-2.0
"""Where a tunnel belongs, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vici_mif.core.model import Pair, PathName
from vici_mif.core.paths.path import PathFact, PathState
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import Path, quality
from vici_mif.core.seats.seating import Decision, Move, Seat, Seating, Test, Wait

A, B, C = (PathName(x, "gw") for x in "abc")
GW = ip_address("203.0.113.1")
HOLD_DOWN = 5.0

TO: dict[str, list[PathFact]] = {
    "active": [PathFact.SEATED],
    "ready": [PathFact.TEST_PASSED],
    "idle": [],
    "testing": [PathFact.TEST_BEGUN],
    "failed": [PathFact.TEST_FAILED],
    "denied": [PathFact.REFUSED],
    "drained": [],
    "leaving": [PathFact.SEATED],
    "preferred": [PathFact.TEST_PASSED],
    "gone": [],
}


def world(**states: str) -> Paths:
    """Paths a, b, c in these states since second 0."""
    paths = Paths()
    found = []
    for rank, (name, state) in enumerate(states.items()):
        local = ip_address(f"192.0.2.{rank + 1}")
        pair = None if state == "gone" else Pair(local, GW)
        found.append(Path(PathName(name, "gw"), rank, GW, pair, frozenset({local})))
    paths.see(found, 0.0)
    for name, state in states.items():
        for fact in TO[state]:
            paths.fact(PathName(name, "gw"), fact, 0.0)
    ordered = {s: [PathName(n, "gw") for n in states if states[n] == s] for s in TO}
    paths.obey(ordered["drained"] + ordered["leaving"], ordered["preferred"], 1.0)
    paths.drain(ordered["leaving"], 1.0)
    return paths


@dataclass(frozen=True)
class Row:
    states: dict[str, str]
    home: PathName | None
    current: PathName | None
    expected: Decision | None
    carries: bool = True
    now: float = 100.0
    may_try: bool = True


ROWS = {
    "at home and well": Row({"a": "active", "b": "ready"}, A, A, None),
    "a spare stays": Row({"a": "active", "b": "ready"}, None, A, None),
    "address gone: park on what works": Row(
        {"a": "gone", "b": "idle", "c": "ready"}, A, None, Move(1, C, urgent=True)
    ),
    "path failed: park by rank": Row(
        {"a": "failed", "b": "active", "c": "ready"}, A, A, Move(1, B, urgent=True)
    ),
    "nothing works: try what is unknown": Row(
        {"a": "gone", "b": "failed", "c": "idle"}, A, None, Move(1, C, urgent=True)
    ),
    "only failed paths: one after the other": Row(
        {"a": "gone", "b": "failed", "c": "gone"}, A, None, Move(1, B, urgent=True)
    ),
    "only failed paths, lately tried": Row(
        {"a": "gone", "b": "failed", "c": "gone"}, A, None, None, may_try=False
    ),
    "no path at all: stay": Row({"a": "gone", "b": "gone"}, A, None, None),
    "never park on a drained path": Row({"a": "gone", "b": "drained"}, A, None, None),
    "home first among unknown ones": Row(
        {"a": "gone", "b": "idle", "c": "idle"}, C, None, Move(1, C, urgent=True)
    ),
    "parked, hold-down runs": Row(
        {"a": "idle", "b": "active"}, A, B, Wait(HOLD_DOWN), now=4.0
    ),
    "parked, hold-down over: test first": Row({"a": "idle", "b": "active"}, A, B, Test(1, A)),
    "parked, home under test": Row({"a": "testing", "b": "active"}, A, B, None),
    "parked, home tested": Row(
        {"a": "ready", "b": "active"}, A, B, Move(1, A, urgent=False)
    ),
    "parked, home tested but too fresh": Row(
        {"a": "ready", "b": "active"}, A, B, Wait(HOLD_DOWN), now=1.0
    ),
    "parked, home failed its test: again later": Row(
        {"a": "failed", "b": "active"}, A, B, Test(1, A)
    ),
    "parked, home failed lately": Row(
        {"a": "failed", "b": "active"}, A, B, None, may_try=False
    ),
    "parked, home gone": Row({"a": "gone", "b": "active"}, A, B, None),
    "parked, home drained": Row({"a": "drained", "b": "active"}, A, B, None),
    "drain: test before the tunnel leaves": Row(
        {"a": "leaving", "b": "idle", "c": "failed"}, A, A, Test(1, B)
    ),
    "drain: leave for what was tested": Row(
        {"a": "leaving", "b": "idle", "c": "ready"}, A, A, Move(1, C, urgent=False), now=5.0
    ),
    "drain: a test of long ago is none": Row(
        {"a": "leaving", "b": "idle", "c": "ready"}, A, A, Test(1, C)
    ),
    "drain: wait for the test": Row(
        {"a": "leaving", "b": "testing"}, A, A, None, may_try=False
    ),
    "drain: the last path that works is kept": Row(
        {"a": "leaving", "b": "failed"}, A, A, None, may_try=False
    ),
    "drain: an empty clone is its own test": Row(
        {"a": "leaving", "b": "idle"}, A, A, Move(1, B, urgent=False), carries=False
    ),
    "never home to what is to be drained": Row(
        {"a": "leaving", "b": "active"}, A, B, None
    ),
    "broken: better on what is to be drained than nowhere": Row(
        {"a": "leaving", "b": "failed"}, B, B, Move(1, A, urgent=True), may_try=False
    ),
    "parked: to what is preferred": Row(
        {"a": "gone", "b": "active", "c": "preferred"}, A, B, Move(1, C, urgent=False), now=6.0
    ),
    "preferred by hand: no hold-down": Row(
        {"a": "preferred", "b": "active"}, A, B, Move(1, A, urgent=False), now=1.5
    ),
    "parked, home denied": Row({"a": "denied", "b": "active"}, A, B, Test(1, A)),
    "an empty clone is its own test": Row(
        {"a": "idle", "b": "active"}, A, B, Move(1, A, urgent=False), carries=False, now=0.5
    ),
    "an empty clone leaves a failed home alone": Row(
        {"a": "failed", "b": "active"}, A, B, None, carries=False, may_try=False
    ),
    "an empty tunnel found at home is tested": Row(
        {"a": "idle", "b": "active"}, A, A, Test(1, A), carries=False
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_seats(row: Row) -> None:
    """Home while home works, else the best that works; back after hold-down and test."""
    paths = world(**row.states)
    seating = Seating(paths, HOLD_DOWN, lambda _: row.may_try, row.now)

    assert seating.seat(Seat(1, row.home, row.current, row.carries)) == row.expected


states = st.sampled_from(list(TO))
names = st.sampled_from([A, B, C, None])


@given(states, states, states, names, names, st.booleans(), st.booleans())
def test_what_never_happens(
    a: str,
    b: str,
    c: str,
    home: PathName | None,
    current: PathName | None,
    carries: bool,
    may_try: bool,
) -> None:
    """A working tunnel is moved onto tested paths only, nothing onto drained or absent ones."""
    paths = world(a=a, b=b, c=c)
    decision = Seating(paths, HOLD_DOWN, lambda _: may_try, 100.0).seat(
        Seat(1, home, current, carries)
    )
    works = current is not None and quality(paths.state(current)) < 2
    works = works and paths.get(current).pair is not None  # type: ignore[union-attr]

    if isinstance(decision, Move | Test):
        assert paths.get(decision.path).pair is not None  # type: ignore[union-attr]
        assert paths.state(decision.path) is not PathState.DRAINED
        if works:
            assert not paths.is_drained(decision.path)
    if isinstance(decision, Move):
        assert decision.path != current
        assert decision.urgent is not works
        if carries and works:
            assert quality(paths.state(decision.path)) == 0
