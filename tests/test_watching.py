# SPDX-License-Identifier: Apache-2.0
"""All watched tunnels together: whose fault a silence is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from vici_mif.core.health.watching import Watching
from vici_mif.core.model import Echo, PathName, ProbeWish, Verdict

TARGET = ip_address("10.100.0.1")
RTT = 0.01


def wish(number: int, serial: int = 1, interval: float = 0.1) -> ProbeWish:
    """The tunnel of ethN, on its own path."""
    echo = Echo(ip_address(f"10.9.0.{number}"), TARGET, 90)
    path = PathName(f"eth{number}", "203.0.113.1")
    return ProbeWish("hq", path, serial, (echo,), interval, 3)


ONE, TWO, THREE = wish(1), wish(2), wish(3)


class Stage:
    """Echoes of several tunnels under a clock that jumps."""

    def __init__(self, *wishes: ProbeWish) -> None:
        self.watching = Watching()
        self.now = 50.0
        self.dead: set[str] = set()
        self.target_lives = True
        self.said: list[tuple[float, str, Verdict, bool]] = []
        self.sent = 0
        self.wakes: list[float] = []
        self.set(*wishes)

    def set(self, *wishes: ProbeWish) -> None:
        self.watching.set(wishes, self.now)

    def run(self, span: float) -> None:
        end = self.now + span
        coming: list[tuple[float, Callable[[], None]]] = []
        while True:
            known = [at for at, _ in coming]
            deadline = self.watching.next_deadline(self.now)
            known += [deadline] if deadline is not None else []
            if not known or min(known) > end:
                break
            self.now = max(self.now, min(known))
            self.wakes.append(self.now)
            for item in [c for c in coming if c[0] <= self.now]:
                coming.remove(item)
                item[1]()
            coming += self._send()
            for change in self.watching.changes(self.now):
                self._say(change)
        self.now = end

    def _send(self) -> list[tuple[float, Callable[[], None]]]:
        requests = self.watching.due(self.now)
        self.sent += len(requests)
        passing = [r for r in requests if self.target_lives and r.wish.path.link not in self.dead]

        def back(request: object) -> Callable[[], None]:
            r = request
            return lambda: self._say(
                self.watching.answered(r.wish, r.target, r.sequence, self.now)  # type: ignore[attr-defined]
            )

        return [(self.now + RTT, back(request)) for request in passing]

    def _say(self, change: object) -> None:
        if change is not None:
            path = change.wish.path.link  # type: ignore[attr-defined]
            self.said.append((self.now, path, change.verdict, change.proof))  # type: ignore[attr-defined]

    def last(self, link: str) -> tuple[Verdict, bool]:
        return next((v, proof) for _, path, v, proof in reversed(self.said) if path == link)


def test_one_of_three_paths_fails() -> None:
    """The others are answered by the same target: it is the path, and that is known at once."""
    stage = Stage(ONE, TWO, THREE)
    stage.run(3)
    stage.dead = {"eth1"}
    stage.run(1)

    silent = [s for s in stage.said if s[2] is Verdict.SILENT]
    assert [(path, proof) for _, path, _, proof in silent] == [("eth1", True)]
    assert silent[0][0] - 53.0 < 0.33


def test_a_dead_target_is_no_dead_path() -> None:
    """It answers nobody any more: no path is to blame, IKE has to tell."""
    stage = Stage(ONE, TWO, THREE)
    stage.run(3)
    stage.target_lives = False
    stage.run(5)

    assert {v for _, _, v, _ in stage.said} == {Verdict.GOOD, Verdict.UNSURE}
    stage.target_lives = True
    stage.run(1)
    assert {stage.last(f"eth{i}")[0] for i in (1, 2, 3)} == {Verdict.GOOD}


def test_alone_nobody_can_compare() -> None:
    """One tunnel: its silence is told, without proof."""
    stage = Stage(ONE)
    stage.run(3)
    stage.dead = {"eth1"}
    stage.run(1)

    assert stage.last("eth1") == (Verdict.SILENT, False)


def test_a_rare_asker_is_no_witness() -> None:
    """Who asks every five seconds cannot tell about the last three tenths."""
    stage = Stage(ONE, wish(2, interval=5.0))
    stage.run(11)
    stage.dead = {"eth1"}
    stage.run(0.5)

    assert stage.last("eth1") == (Verdict.SILENT, False)


def test_two_of_three_fail_together() -> None:
    """The third is a witness against both."""
    stage = Stage(ONE, TWO, THREE)
    stage.run(3)
    stage.dead = {"eth1", "eth2"}
    stage.run(1)

    assert stage.last("eth1") == stage.last("eth2") == (Verdict.SILENT, True)
    assert stage.last("eth3")[0] is Verdict.GOOD


def test_moved_to_a_path_that_passes_no_echo() -> None:
    """It was answered where it was before, and others are answered now: the new path is dead."""
    stage = Stage(ONE, TWO)
    stage.run(3)
    stage.dead = {"eth3"}
    moved = replace(ONE, path=PathName("eth3", "203.0.113.1"), serial=2)
    stage.set(moved, TWO)
    stage.run(3)

    assert stage.last("eth3") == (Verdict.SILENT, True)


def test_never_answered_anywhere() -> None:
    """A tunnel that was never answered proves nothing, whoever else is answered."""
    stage = Stage(ONE, TWO)
    stage.dead = {"eth1"}
    stage.run(3)

    assert stage.last("eth1") == (Verdict.UNSURE, False)


def test_measuring_begins_anew() -> None:
    """Another serial: nothing of before counts."""
    stage = Stage(ONE)
    stage.run(3)
    stage.set(wish(1, serial=2))

    (health,) = stage.watching.reports(stage.now)
    assert (health.verdict, health.rtt_delay, health.outer_bytes) == (Verdict.NEW, None, 0)


def test_what_is_watched_already_goes_on() -> None:
    """Another tunnel comes: the first one's figures stay."""
    stage = Stage(ONE)
    stage.run(3)
    stage.set(ONE, TWO)

    first = stage.watching.reports(stage.now)[0]
    assert first.verdict is Verdict.GOOD
    assert first.rtt_delay == pytest.approx(RTT)


def test_one_beat_for_all() -> None:
    """Sixteen tunnels that began at different times wake the process once an interval."""
    stage = Stage()
    wishes: list[ProbeWish] = []
    for number in range(1, 17):
        wishes.append(wish(number))
        stage.set(*wishes)
        stage.run(0.037)
    before, sent = len(stage.wakes), stage.sent
    stage.run(10)

    assert stage.sent - sent == pytest.approx(16 * 100, abs=32)
    assert len(stage.wakes) - before < 2 * 100 + 20


def test_nothing_to_watch_wakes_nobody() -> None:
    """No deadline."""
    stage = Stage(ONE)
    stage.run(1)
    stage.set()

    assert stage.watching.next_deadline(stage.now) is None
    assert stage.watching.due(stage.now + 10) == []
