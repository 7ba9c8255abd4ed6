# SPDX-License-Identifier: Apache-2.0
"""The life of a path: the table is total, enforced and without a trap."""

from __future__ import annotations

from itertools import product

import pytest

from vici_mif.core.paths.path import (
    TRANSITIONS,
    WORKS,
    PathFact,
    PathLife,
    PathState,
    advance,
    mermaid,
)

S, F = PathState, PathFact


@pytest.mark.parametrize(("state", "fact"), list(product(PathState, PathFact)), ids=str)
def test_every_state_takes_every_fact(state: PathState, fact: PathFact) -> None:
    """What is in the table happens, what is not changes nothing; nothing raises."""
    assert advance(state, fact) is TRANSITIONS.get((state, fact), state)


@pytest.mark.parametrize("state", list(PathState))
def test_no_state_is_a_trap(state: PathState) -> None:
    """From everywhere a path can become active again."""
    reached, new = {state}, {state}
    while new:
        new = {advance(s, f) for s, f in product(new, PathFact)} - reached
        reached |= new

    assert PathState.ACTIVE in reached


def test_no_transition_stays() -> None:
    """A line of the table that changes nothing would be a lie."""
    assert [pair for pair, after in TRANSITIONS.items() if pair[0] is after] == []


@pytest.mark.parametrize("state", [s for s in PathState if s is not S.DRAINED])
def test_a_lost_link_ends_every_hope(state: PathState) -> None:
    """Without a link a path has failed, unless it was taken out of use anyway."""
    assert advance(state, F.LINK_LOST) is S.FAILED


def test_a_drained_path_only_listens_to_the_operator() -> None:
    """Tests, links and tunnels do not bring it back."""
    woken = [f for f in PathFact if advance(S.DRAINED, f) is not S.DRAINED]

    assert woken == [F.DRAIN_CLEARED]


def test_story() -> None:
    """A path is tested, used, loses its link, comes back, is tested and used again."""
    facts = [
        (F.TEST_BEGUN, S.TESTING),
        (F.TEST_PASSED, S.READY),
        (F.SEATED, S.ACTIVE),
        (F.LINK_LOST, S.FAILED),
        (F.LINK_FOUND, S.IDLE),
        (F.TEST_BEGUN, S.TESTING),
        (F.TEST_FAILED, S.FAILED),
        (F.TEST_BEGUN, S.TESTING),
        (F.TEST_PASSED, S.READY),
        (F.SEATED, S.ACTIVE),
        (F.LEFT, S.READY),
    ]
    life = PathLife(S.IDLE, 0.0)
    for at, (fact, expected) in enumerate(facts, 1):
        life = life.after(fact, float(at))

        assert (life.state, life.since_at) == (expected, float(at))


def test_a_fact_without_effect_leaves_the_time() -> None:
    """`since` is when the state was entered, not when it was last confirmed."""
    life = PathLife(S.ACTIVE, 1.0).after(F.SEATED, 5.0)

    assert life == PathLife(S.ACTIVE, 1.0)


def test_trouble_explains_itself() -> None:
    """A failed path has a reason even if nobody gave one; one that works needs none."""
    assert PathLife(S.ACTIVE, 0.0).after(F.LINK_LOST, 1.0).why == "link lost"
    assert PathLife(S.TESTING, 0.0).after(F.TEST_FAILED, 1.0, "no answer").why == "no answer"
    assert PathLife(S.TESTING, 0.0).after(F.TEST_PASSED, 1.0).why == ""


def test_works_means_no_doubt() -> None:
    """Only tested or used paths take a tunnel without a test."""
    assert {S.ACTIVE, S.READY} == WORKS


def test_the_picture_has_every_transition() -> None:
    """Each line of the table is in the diagram."""
    picture = mermaid()

    for (before, fact), after in TRANSITIONS.items():
        line = next(x for x in picture.splitlines() if f" {before} --> {after}:" in x)
        assert fact.value in line
