# SPDX-License-Identifier: Apache-2.0
"""The health of one tunnel by the echoes that come back through it. Pure.

A target is silent once as many requests in a row as the multiplier says are overdue: sent, and
older than an answer usually takes. Only what was really sent counts, so a process that slept
does not blame the path. A target that never answered proves nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from vici_mif.core.health.tally import Tally
from vici_mif.core.model import Echo, Limit, ProbeWish, Verdict

START_DELAY = 1.0
"""Seconds for the first answer at least: until then nobody knows how far the target is."""

LATE_DELAY = 2.0
"""Seconds after which a request counts as lost and its answer as none, at least."""

WINDOW = 40
"""Requests to each target that loss is counted over."""

ENOUGH = 20
"""Requests before loss or delay is judged."""

RTT_GAIN, JITTER_GAIN = 1 / 8, 1 / 16
"""RFC 6298, section 2; RFC 3550, section 6.4.1."""


@dataclass(slots=True)
class Target:
    """One target of one tunnel."""

    echo: Echo
    interval: float
    multiplier: int
    tally: Tally = field(default_factory=Tally)
    open: dict[int, float] = field(default_factory=dict)
    """Requests without an answer: number, when sent."""
    began_at: float | None = None
    heard: int | None = None
    """The highest number that was answered."""
    heard_sent_at: float = 0.0
    """When that one was sent."""
    rtt: float | None = None
    jitter: float = 0.0
    answers: int = 0
    """In a row, since one was last missing."""
    _last_rtt: float = 0.0
    _window: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def sent(self, sequence: int, now: float) -> None:
        if self.began_at is None:
            self.began_at = now
        self._expire(now)
        self.open[sequence] = now
        self.tally.sent += 1

    def answered(self, sequence: int, now: float) -> bool:
        """False: a duplicate, too late, or none of ours; it changed nothing."""
        self._expire(now)
        sent_at = self.open.pop(sequence, None)
        if sent_at is None:
            return False
        self._measure(now - sent_at)
        self.tally.rtt.observe(now - sent_at)
        self._window.append(True)
        self._count(sequence, sent_at)
        return True

    def _count(self, sequence: int, sent_at: float) -> None:
        """One that came before those asked for earlier begins a new row."""
        heard = -1 if self.heard is None else self.heard
        if sequence > heard:
            skipped = any(heard < number < sequence for number in self.open)
            self.answers = 0 if skipped else self.answers
            self.heard, self.heard_sent_at = sequence, sent_at
        self.answers += 1

    def _measure(self, rtt: float) -> None:
        if self.rtt is None:
            self.rtt = rtt
        else:
            self.rtt += (rtt - self.rtt) * RTT_GAIN
            self.jitter += (abs(rtt - self._last_rtt) - self.jitter) * JITTER_GAIN
        self._last_rtt = rtt

    def _expire(self, now: float) -> None:
        late = max(LATE_DELAY, (self.multiplier + 2) * self.interval)
        for sequence in [s for s, at in self.open.items() if at + late <= now]:
            del self.open[sequence]
            self._window.append(False)
            self.tally.lost += 1

    def end(self, now: float) -> None:
        """Nobody waits any more: what is overdue is lost, what is on its way is not judged."""
        self.tally.lost += sum(at + self.patience <= now for at in self.open.values())
        self.open.clear()

    @property
    def patience(self) -> float:
        """Seconds after which an answer is overdue."""
        if self.rtt is None:
            return max(START_DELAY, self.multiplier * self.interval)
        slack = min(max(4 * self.jitter, self.interval / 20), self.interval)
        return self.rtt + slack

    @property
    def run(self) -> list[float]:
        """When the requests after the last answered one were sent."""
        heard = self.heard
        return [at for sequence, at in self.open.items() if heard is None or sequence > heard]

    @property
    def due_at(self) -> float | None:
        """When it becomes silent; None while too little was sent for that."""
        if self.heard is None:
            return None if self.began_at is None else self.began_at + self.patience
        run = self.run
        return run[self.multiplier - 1] + self.patience if len(run) >= self.multiplier else None

    def overdue(self, now: float) -> bool:
        return self.due_at is not None and self.due_at <= now

    def missed(self, since: float, now: float) -> bool:
        """A request of `since` or later is overdue, and none of them was answered."""
        if self.hears(since):
            return False
        return any(at >= since and at + self.patience <= now for at in self.run)

    def hears(self, since: float) -> bool:
        """A request of `since` or later was answered."""
        return self.heard is not None and self.heard_sent_at >= since

    @property
    def loss(self) -> float | None:
        if len(self._window) < ENOUGH:
            return None
        return self._window.count(False) / len(self._window)


class Health:
    """All targets of one tunnel together."""

    def __init__(self, wish: ProbeWish, tally: Tally | None = None) -> None:
        """`tally`: where its requests are counted, with those of others on the same path."""
        self.wish = wish
        tally = tally or Tally()
        self.targets = tuple(
            Target(echo, wish.interval_delay, wish.multiplier, tally) for echo in wish.echoes
        )
        self.outer_bytes = 0
        self._silent = False
        self._poor = False

    def sent(self, sequence: int, target: int, now: float) -> None:
        """A request went to the target of that index; one that could not be sent counts too."""
        self.targets[target].sent(sequence, now)
        self.outer_bytes += self.targets[target].echo.outer_bytes

    def answered(self, sequence: int, target: int, now: float) -> bool:
        """An answer came; False where it is none that was awaited."""
        taken = self.targets[target].answered(sequence, now)
        if taken:
            self.outer_bytes += self.targets[target].echo.outer_bytes
        return taken

    def verdict(self, now: float) -> Verdict:
        """By this tunnel alone. UNSURE: nothing ever answered."""
        answering = [target for target in self.targets if target.heard is not None]
        for target in answering:
            if target.overdue(now):
                target.answers = 0
        if any(self._speaks(target, now) for target in answering):
            self._silent = False
            return self._quality(answering)
        pending = any(not target.overdue(now) for target in self.targets)
        if not answering:
            return Verdict.NEW if pending else Verdict.UNSURE
        self._silent = self._silent or not pending
        return Verdict.SILENT if self._silent else self._quality(answering)

    @property
    def silent(self) -> bool:
        """At the last look; until enough came again."""
        return self._silent

    def recovers(self, now: float) -> bool:
        """It was silent, answers again, and not often enough yet."""
        heard = (target for target in self.targets if target.heard is not None)
        return self._silent and any(not target.overdue(now) for target in heard)

    def _speaks(self, target: Target, now: float) -> bool:
        """After a silence one answer is not enough."""
        enough = target.answers >= target.multiplier or not self._silent
        return enough and not target.overdue(now)

    def _quality(self, answering: list[Target]) -> Verdict:
        """The best target counts: what is wrong with one alone is not the path's."""
        better = [self._trouble(target) for target in answering]
        self._poor = all(better)
        return Verdict.POOR if self._poor else Verdict.GOOD

    def _trouble(self, target: Target) -> bool:
        loss, delay = target.loss, target.rtt
        if loss is None or delay is None:
            return self._poor
        return exceeds(self.wish.loss, loss, self._poor) or exceeds(
            self.wish.delay, delay, self._poor
        )

    @property
    def unanswered_since(self) -> float | None:
        """Since when others would have been answered if it is not the target's fault.

        The second request without an answer: the first may have met the moment of the failure.
        """
        runs = [target.run for target in self.targets]
        seconds = [run[min(1, len(run) - 1)] for run in runs if run]
        return max(seconds, default=None)

    @property
    def figures(self) -> Target | None:
        """The target to show: the nearest that answers."""
        known = [target for target in self.targets if target.rtt is not None]
        return min(known, key=lambda target: target.rtt or 0.0, default=None)

    def next_deadline(self, now: float) -> float | None:
        """When the verdict may change without an answer."""
        due = [target.due_at for target in self.targets]
        return min((at for at in due if at is not None and at > now), default=None)


def exceeds(limit: Limit | None, value: float, already: bool) -> bool:
    """Whether a value is trouble; once it is, until it has come down to the recovery value."""
    if limit is None:
        return False
    return value > limit.recovery if already else value >= limit.worst
