# SPDX-License-Identifier: Apache-2.0
"""All watched tunnels together: what to send when, and whose fault a silence is. Pure.

The targets are judged as well: where they answer nobody any more, no path is to blame yet, and
IKE has to decide. A tunnel whose targets never answered on this path has failed only if they
answered it before, elsewhere, and answer others now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from vici_mif.core.events import PathHealth
from vici_mif.core.health.health import Health, Target
from vici_mif.core.health.tally import Tally
from vici_mif.core.model import IPAddress, PathKey, ProbeWish, Verdict

TOGETHER_DELAY = 0.002
"""Seconds: what is due so soon goes out with what is due now."""


MOST_TALLIES = 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One echo request to send now."""

    wish: ProbeWish
    target: int
    """Index in the wish's echoes."""
    sequence: int


class Watching:
    """Carries out `actions.Watch` but for the sockets."""

    def __init__(self) -> None:
        self._healths: dict[ProbeWish, Health] = {}
        self._next_at: dict[ProbeWish, float] = {}
        self._said: dict[ProbeWish, tuple[Verdict, bool]] = {}
        self._answered_before: set[tuple[str, IPAddress]] = set()
        self._sequence = count(1)
        self.tallies: dict[PathKey, Tally] = {}
        """What was sent and answered since the start, by peer and path."""

    def set(self, wishes: Iterable[ProbeWish], now: float) -> list[PathHealth]:
        """Watch exactly these; what is watched already goes on.

        Returns a last word of what ends, for what it cost.
        """
        wanted = dict.fromkeys(wishes)
        ended = [report for report in self.reports(now) if report.wish not in wanted]
        for report in ended:
            self._drop(report.wish, now)
        for wish in wanted:
            if wish not in self._healths:
                self._healths[wish] = Health(wish, self._tally(wish))
                self._next_at[wish] = now
                self._said[wish] = (Verdict.NEW, False)
        return ended

    def _tally(self, wish: ProbeWish) -> Tally:
        """Paths that are gone for good make room: their names may come from a pattern."""
        if len(self.tallies) >= MOST_TALLIES:
            watched = {(known.peer, str(known.path)) for known in self._healths}
            self.tallies = {key: self.tallies[key] for key in self.tallies.keys() & watched}
        return self.tallies.setdefault((wish.peer, str(wish.path)), Tally())

    def _drop(self, wish: ProbeWish, now: float) -> None:
        health = self._healths.pop(wish)
        for target in health.targets:
            target.end(now)
            if target.heard is not None:
                self._answered_before.add((wish.peer, target.echo.source))
        del self._next_at[wish], self._said[wish]

    # --- sending and receiving -----------------------------------------------

    def due(self, now: float) -> list[Request]:
        """What goes out now; it counts as sent."""
        wanted: list[Request] = []
        for wish, at in self._next_at.items():
            if at <= now + TOGETHER_DELAY:
                wanted += self._send(wish, now)
                self._next_at[wish] = self._after(wish.interval_delay, now)
        return wanted

    def _send(self, wish: ProbeWish, now: float) -> list[Request]:
        sent = [Request(wish, i, next(self._sequence)) for i in range(len(wish.echoes))]
        for request in sent:
            self._healths[wish].sent(request.sequence, request.target, now)
        return sent

    @staticmethod
    def _after(interval: float, now: float) -> float:
        """On a common beat, so that many tunnels wake us once."""
        beat = (now + TOGETHER_DELAY) // interval + 1
        return beat * interval

    def answered(
        self, wish: ProbeWish, target: int, sequence: int, now: float
    ) -> PathHealth | None:
        """An answer came; what changed with it."""
        health = self._healths.get(wish)
        if health is None or not health.answered(sequence, target, now):
            return None
        good = self._said[wish][0] is Verdict.GOOD
        return None if good else self._change(health, now)

    # --- judging ---------------------------------------------------------------

    def changes(self, now: float) -> list[PathHealth]:
        """The verdicts that are others than before."""
        found = [self._change(health, now) for health in self._healths.values()]
        return [change for change in found if change is not None]

    def reports(self, now: float) -> list[PathHealth]:
        """All watched tunnels as they are."""
        return [
            self._report(health, *self._judge(health, now)) for health in self._healths.values()
        ]

    def next_deadline(self, now: float) -> float | None:
        """When something is to be sent, or a verdict may change."""
        due = (health.next_deadline(now) for health in self._healths.values())
        return min([*self._next_at.values(), *(at for at in due if at is not None)], default=None)

    def _change(self, health: Health, now: float) -> PathHealth | None:
        judged = self._judge(health, now)
        if judged == self._said[health.wish]:
            return None
        self._said[health.wish] = judged
        return self._report(health, *judged)

    def _judge(self, health: Health, now: float) -> tuple[Verdict, bool]:
        """The verdict, and whether the targets answer through another path."""
        verdict = health.verdict(now)
        if verdict not in {Verdict.SILENT, Verdict.UNSURE}:
            return verdict, False
        if health.recovers(now):
            return self._said[health.wish]
        since = health.unanswered_since
        if since is None:
            return verdict, False
        witnesses = self._witnesses(health)
        if any(target.hears(since) for other, target in witnesses if not other.silent):
            return (Verdict.SILENT, True) if self._answered(health) else (Verdict.UNSURE, False)
        if any(target.missed(since, now) for _, target in witnesses):
            return Verdict.UNSURE, False
        return verdict, False

    def _witnesses(self, health: Health) -> list[tuple[Health, Target]]:
        """The same targets, asked by the same peer's tunnels on other paths."""
        mine = {echo.target for echo in health.wish.echoes}
        return [
            (other, target)
            for other in self._healths.values()
            if other.wish.peer == health.wish.peer and other.wish.path != health.wish.path
            for target in other.targets
            if target.echo.target in mine
        ]

    def _answered(self, health: Health) -> bool:
        """A target ever answered this tunnel, here or where it was before."""
        return any(
            target.heard is not None
            or (health.wish.peer, target.echo.source) in self._answered_before
            for target in health.targets
        )

    @staticmethod
    def _report(health: Health, verdict: Verdict, proof: bool) -> PathHealth:
        shown = health.figures
        return PathHealth(
            health.wish,
            verdict,
            proof,
            shown.rtt if shown else None,
            shown.jitter if shown else None,
            shown.loss if shown else None,
            health.outer_bytes,
        )
