# SPDX-License-Identifier: Apache-2.0
"""The life of one path: states, facts, one table.

Two rules for this file:

1. Every transition is in TRANSITIONS. A pair that is not there changes nothing.
2. This file knows no action and no preference. It does not know what a tunnel is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PathState(StrEnum):
    """What is known about a pair of addresses."""

    ACTIVE = "active"
    """A tunnel works here."""
    READY = "ready"
    """Tested, works, no tunnel on it."""
    IDLE = "idle"
    """Could be used, not tested yet."""
    TESTING = "testing"
    """An answer is awaited on it."""
    FAILED = "failed"
    """The link is not there, or nothing was answered."""
    DRAINED = "drained"
    """Taken out of use by hand."""
    DENIED = "denied"
    """The peer does not accept these addresses (UNACCEPTABLE_ADDRESSES)."""


class PathFact(StrEnum):
    """What can happen to a path."""

    LINK_LOST = "link lost"
    LINK_FOUND = "link found"
    TEST_BEGUN = "test begun"
    TEST_PASSED = "test passed"
    TEST_FAILED = "test failed"
    TEST_VOID = "test without result"
    """Nothing was learned: the SA was busy, or charon went away in between."""
    REFUSED = "refused"
    SEATED = "seated"
    """A tunnel works here now."""
    LEFT = "left"
    """The last tunnel went elsewhere."""
    DRAIN_ORDERED = "drain ordered"
    DRAIN_CLEARED = "drain cleared"


S = PathState
F = PathFact

TRANSITIONS: dict[tuple[PathState, PathFact], PathState] = {
    (S.IDLE, F.TEST_BEGUN): S.TESTING,
    (S.IDLE, F.TEST_PASSED): S.READY,
    (S.IDLE, F.TEST_FAILED): S.FAILED,
    (S.IDLE, F.REFUSED): S.DENIED,
    (S.IDLE, F.SEATED): S.ACTIVE,
    (S.IDLE, F.LINK_LOST): S.FAILED,
    (S.IDLE, F.DRAIN_ORDERED): S.DRAINED,
    #
    (S.TESTING, F.TEST_PASSED): S.READY,
    (S.TESTING, F.TEST_FAILED): S.FAILED,
    (S.TESTING, F.TEST_VOID): S.IDLE,
    (S.TESTING, F.REFUSED): S.DENIED,
    (S.TESTING, F.SEATED): S.ACTIVE,
    (S.TESTING, F.LINK_LOST): S.FAILED,
    (S.TESTING, F.DRAIN_ORDERED): S.DRAINED,
    #
    (S.READY, F.TEST_FAILED): S.FAILED,
    (S.READY, F.REFUSED): S.DENIED,
    (S.READY, F.SEATED): S.ACTIVE,
    (S.READY, F.LINK_LOST): S.FAILED,
    (S.READY, F.DRAIN_ORDERED): S.DRAINED,
    #
    (S.ACTIVE, F.TEST_FAILED): S.FAILED,
    (S.ACTIVE, F.REFUSED): S.DENIED,
    (S.ACTIVE, F.LEFT): S.READY,
    (S.ACTIVE, F.LINK_LOST): S.FAILED,
    (S.ACTIVE, F.DRAIN_ORDERED): S.DRAINED,
    #
    (S.FAILED, F.LINK_FOUND): S.IDLE,
    (S.FAILED, F.TEST_BEGUN): S.TESTING,
    (S.FAILED, F.TEST_PASSED): S.READY,
    (S.FAILED, F.REFUSED): S.DENIED,
    (S.FAILED, F.SEATED): S.ACTIVE,
    (S.FAILED, F.DRAIN_ORDERED): S.DRAINED,
    #
    (S.DENIED, F.LINK_FOUND): S.IDLE,
    (S.DENIED, F.LINK_LOST): S.FAILED,
    (S.DENIED, F.TEST_BEGUN): S.TESTING,
    (S.DENIED, F.TEST_PASSED): S.READY,
    (S.DENIED, F.SEATED): S.ACTIVE,
    (S.DENIED, F.DRAIN_ORDERED): S.DRAINED,
    #
    (S.DRAINED, F.DRAIN_CLEARED): S.IDLE,
}

WORKS = frozenset({S.ACTIVE, S.READY})
"""States in which a tunnel may be moved here without a doubt."""


TROUBLE = frozenset({S.FAILED, S.DENIED, S.DRAINED})
"""States that want an explanation."""


def advance(state: PathState, fact: PathFact) -> PathState:
    """The state after `fact`."""
    return TRANSITIONS.get((state, fact), state)


@dataclass(frozen=True, slots=True)
class PathLife:
    """A state with its history's last line."""

    state: PathState
    since_at: float
    """Monotonic seconds: when the state was entered."""
    why: str = ""
    """What was said with the fact; for a state that is in order nothing."""

    def after(self, fact: PathFact, now: float, why: str = "") -> PathLife:
        state = advance(self.state, fact)
        if state == self.state:
            return self
        return PathLife(state, now, why or (fact.value if state in TROUBLE else ""))


def mermaid() -> str:
    """The table as a Mermaid state diagram, for docs/architecture.md."""
    lines = ["stateDiagram-v2", "    [*] --> idle"]
    joined: dict[tuple[PathState, PathState], list[PathFact]] = {}
    for (before, fact), after in TRANSITIONS.items():
        joined.setdefault((before, after), []).append(fact)
    for (before, after), facts in joined.items():
        lines.append(f"    {before} --> {after}: {', '.join(facts)}")
    return "\n".join(lines)
