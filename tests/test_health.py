# SPDX-License-Identifier: Apache-2.0
"""One tunnel by its echoes: what is silence, what is only loss, and what is nobody's fault."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vici_mif.core.health.health import ENOUGH, LATE_DELAY, START_DELAY, WINDOW, Health
from vici_mif.core.model import Echo, Limit, PathName, ProbeWish, Verdict

INNER = ip_address("10.9.0.1")
NEAR, FAR = ip_address("10.100.0.1"), ip_address("10.100.0.2")
INTERVAL = 0.1
RTT = 0.02


def wish(*targets: object, **limits: object) -> ProbeWish:
    echoes = tuple(Echo(INNER, target, 90) for target in targets or (NEAR,))  # type: ignore[arg-type]
    path = PathName("eth0", "203.0.113.1")
    return ProbeWish("hq", path, 1, echoes, INTERVAL, 3, **limits)  # type: ignore[arg-type]


class Line:
    """A path that answers or not, and a clock."""

    def __init__(self, watched: ProbeWish) -> None:
        self.health = Health(watched)
        self.now = 100.0
        self.rtt = RTT
        self.alive = [True] * len(watched.echoes)
        self._number = 0
        self._coming: list[tuple[float, int, int]] = []
        self.verdicts: list[Verdict] = []

    def beat(self, beats: int = 1) -> Verdict:
        """One request to each target, and all that happens until the next is due."""
        for _ in range(beats):
            for target, alive in enumerate(self.alive):
                self._number += 1
                self.health.sent(self._number, target, self.now)
                if alive:
                    self._coming.append((self.now + self.rtt, self._number, target))
            self.run(INTERVAL)
        return self.verdicts[-1]

    def run(self, span: float) -> Verdict:
        end = self.now + span
        for at in [*self._moments(end), end]:
            self.now = at
            for due, number, target in [c for c in self._coming if c[0] <= at]:
                self._coming.remove((due, number, target))
                self.health.answered(number, target, due)
            self.verdicts.append(self.health.verdict(at))
        return self.verdicts[-1]

    def _moments(self, end: float) -> Iterator[float]:
        due = sorted({at for at, _, _ in self._coming if at <= end})
        yield from due
        deadline = self.health.next_deadline(self.now)
        if deadline is not None and deadline <= end:
            yield max(deadline, *due) if due else deadline


def test_new_until_the_first_answer() -> None:
    """Nothing is known before, and all is well after it."""
    line = Line(wish())

    assert line.health.verdict(line.now) is Verdict.NEW
    assert line.beat() is Verdict.GOOD


def test_silent_after_three_missing_answers() -> None:
    """Two are loss; the third in a row is silence, 300 ms after the last answer."""
    line = Line(wish())
    line.beat(20)
    line.alive = [False]
    last_answer_at = line.now - INTERVAL + RTT

    assert line.beat(2) is Verdict.GOOD
    line.health.sent(999, 0, line.now)
    while line.run(0.001) is Verdict.GOOD:
        pass
    assert line.now - last_answer_at == pytest.approx(3 * INTERVAL, abs=0.01)


def test_the_deadline_names_the_moment() -> None:
    """Nobody has to look in between: just before it is good, at the deadline it is silent."""
    line = Line(wish())
    line.beat(20)
    line.alive = [False]
    line.beat(2)
    line.health.sent(999, 0, line.now)
    deadline = line.health.next_deadline(line.now)

    assert deadline is not None
    assert line.health.verdict(deadline - 0.001) is Verdict.GOOD
    assert line.health.verdict(deadline) is Verdict.SILENT


def test_who_did_not_send_does_not_judge() -> None:
    """A process that slept for an hour has not asked, so nobody failed to answer."""
    line = Line(wish())
    line.beat(10)

    assert line.run(3600.0) is Verdict.GOOD
    assert line.beat() is Verdict.GOOD


def test_never_answered_is_no_silence() -> None:
    """A target that is down or not allowed to answer tells nothing of the path."""
    line = Line(wish())
    line.alive = [False]

    assert line.beat(int(START_DELAY / INTERVAL) - 1) is Verdict.NEW
    assert line.beat(2) is Verdict.UNSURE
    line.alive = [True]
    assert line.beat() is Verdict.GOOD


@pytest.mark.parametrize("dead", [0, 1])
def test_one_of_two_targets_is_enough(dead: int) -> None:
    """Whether it died or never lived."""
    line = Line(wish(NEAR, FAR))
    line.beat(10)
    line.alive[dead] = False

    assert line.beat(50) is Verdict.GOOD
    line.alive = [False, False]
    assert line.beat(4) is Verdict.SILENT


def test_after_a_silence_one_answer_is_not_enough() -> None:
    """As many in a row as were missing."""
    line = Line(wish())
    line.beat(10)
    line.alive = [False]
    line.beat(10)
    line.alive = [True]

    assert line.beat(2) is Verdict.SILENT
    assert line.beat(1) is Verdict.GOOD


def test_far_away_is_not_silent() -> None:
    """A round trip of many intervals: each answer comes late and comes."""
    line = Line(wish())
    line.rtt = 0.75

    line.beat(60)
    assert set(line.verdicts[10:]) == {Verdict.GOOD}
    line.alive = [False]
    assert line.beat(4) is Verdict.GOOD
    assert line.beat(8) is Verdict.SILENT


def test_duplicates_and_late_ones_change_nothing() -> None:
    """Once answered or once lost, a request has no second answer."""
    line = Line(wish())
    line.beat(5)

    assert not line.health.answered(1, 0, line.now)
    assert not line.health.answered(777, 0, line.now)
    line.health.sent(50, 0, line.now)
    assert not line.health.answered(50, 0, line.now + LATE_DELAY)
    rtt = line.health.targets[0].rtt
    assert rtt == pytest.approx(RTT)


def test_an_answer_of_another_target_is_none() -> None:
    """Numbers belong to a target."""
    line = Line(wish(NEAR, FAR))
    line.health.sent(1, 0, line.now)

    assert not line.health.answered(1, 1, line.now)
    assert line.health.answered(1, 0, line.now)


def test_loss_has_a_threshold_and_a_recovery_value() -> None:
    """Poor from a fifth on, good again at a twentieth; in between it stays what it was."""
    line = Line(wish(loss=Limit(0.2, 0.05)))
    line.beat(WINDOW)

    def lossy(every: int, beats: int) -> Verdict:
        for beat in range(beats):
            line.alive = [beat % every != 0]
            line.beat()
        line.alive = [True]
        return line.beat(1)

    assert lossy(10, 2 * WINDOW) is Verdict.GOOD
    assert lossy(4, 2 * WINDOW) is Verdict.POOR
    assert lossy(10, 2 * WINDOW) is Verdict.POOR
    assert line.beat(2 * WINDOW) is Verdict.GOOD


def test_delay_has_a_threshold_and_a_recovery_value() -> None:
    """The same for the smoothed round trip time."""
    line = Line(wish(delay=Limit(0.05, 0.03)))
    line.beat(ENOUGH)
    line.rtt = 0.06
    assert line.beat(40) is Verdict.POOR
    line.rtt = 0.04
    assert line.beat(60) is Verdict.POOR
    line.rtt = 0.02
    assert line.beat(40) is Verdict.GOOD


def test_what_one_target_loses_is_not_the_paths_loss() -> None:
    """The better one counts."""
    line = Line(wish(NEAR, FAR, loss=Limit(0.2, 0.05)))
    for beat in range(2 * WINDOW):
        line.alive = [True, beat % 2 == 0]
        line.beat()

    assert line.verdicts[-1] is Verdict.GOOD


def test_bytes_are_those_on_the_link() -> None:
    """Requests as sent, answers as received."""
    line = Line(wish())
    line.beat(10)
    line.alive = [False]
    line.beat(5)

    assert line.health.outer_bytes == (10 + 5 + 10) * 90


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80))
def test_no_verdict_without_a_cause(story: list[tuple[bool, int]]) -> None:
    """Whatever came: silence takes three missing answers, its end three that came."""
    line = Line(wish())
    missing = came = 0
    for answered, milliseconds in story:
        line.alive, line.rtt = [answered], 0.001 + milliseconds / 1000
        before = line.health.verdict(line.now)
        after = line.beat()
        missing, came = (0, came + 1) if answered else (missing + 1, 0)
        if after is Verdict.SILENT and before is not Verdict.SILENT:
            assert missing >= 3
        if after is Verdict.GOOD and before is Verdict.SILENT:
            assert came >= 3
        assert after is not Verdict.POOR
