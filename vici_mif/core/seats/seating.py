# SPDX-License-Identifier: Apache-2.0
"""Seats tunnels on paths. Pure.

A tunnel sits at home while home works; otherwise it is parked on the best path that works; it
goes home after the hold-down. A tunnel that works is moved only onto a path that was tested
since its link came back; one that carries nothing yet, and a spare, may be the test itself. A
path that is to be drained is left in the same way, and only then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vici_mif.core.model import PathName
from vici_mif.core.paths.path import WORKS, PathState
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import Path, quality

FRESH_DELAY = 10.0
"""Seconds for which the result of a test is good enough for a move that was ordered."""


POOR_DELAY = 3.0
"""Seconds on a poor path before it is left: what is poor everywhere shows itself everywhere."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What seating has to know of one tunnel."""

    ike_id: int
    home: PathName | None
    current: PathName | None
    carries: bool
    fresh: bool = False
    """A spare that was given this home and was never there: the move is the test."""


@dataclass(frozen=True, slots=True)
class Move:
    """Put this tunnel on that path."""

    ike_id: int
    path: PathName
    urgent: bool
    """Where it is, it does not work."""


@dataclass(frozen=True, slots=True)
class Test:
    """Find out by this tunnel's IKE_SA whether that path works."""

    __test__ = False  # not for pytest
    ike_id: int
    path: PathName


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing before that moment."""

    until_at: float


Decision = Move | Test | Wait
MayTry = Callable[[PathName], bool]
"""False while a path that failed is left in peace (the back-off is the book's)."""


@dataclass(frozen=True, slots=True)
class Seating:
    """The rules with what they depend on."""

    paths: Paths
    hold_down: float
    may_try: MayTry
    now: float

    def decide(self, seats: Iterable[Seat]) -> list[tuple[Seat, Decision]]:
        decided = [(seat, self.seat(seat)) for seat in seats]
        return [(seat, decision) for seat, decision in decided if decision is not None]

    def seat(self, seat: Seat) -> Decision | None:
        if self._broken(seat):
            return self._park(seat) or self._test_failed(seat)
        if seat.current in self.paths.leaving:
            return self._leave(seat)
        if seat.carries and seat.current is not None and self.paths.trouble(seat.current):
            return self._leave_poor(seat, seat.current)
        if seat.home in {None, seat.current}:
            return self._test_here(seat)
        return self._go_home(seat)

    def _broken(self, seat: Seat) -> bool:
        path = self.paths.get(seat.current)
        return path is None or path.pair is None or quality(self.paths.state(path.name)) >= 2

    def _park(self, seat: Seat) -> Move | None:
        for path in self.paths.refuge(seat.home):
            if path.name != seat.current and self._worth_trying(path):
                return Move(seat.ike_id, path.name, urgent=True)
        return None

    def _leave(self, seat: Seat) -> Move | Test | None:
        """To the first that passes a test, asked for one after the other."""
        for path in self.paths.best(seat.home):
            if self._fresh(path.name) or (not seat.carries and self._worth_trying(path)):
                return Move(seat.ike_id, path.name, urgent=False)
            if self.may_try(path.name):
                return Test(seat.ike_id, path.name)
            if quality(self.paths.state(path.name)) < 2:
                return None
        return None

    def _fresh(self, path: PathName) -> bool:
        """It works, and that was seen a moment ago: nobody hurries who orders a move."""
        tested_at = self.paths.tested_at(path)
        recent = tested_at is not None and tested_at + FRESH_DELAY >= self.now
        return recent and self.paths.state(path) in WORKS

    def _test_failed(self, seat: Seat) -> Test | None:
        """Nowhere to go: does it work again where it is?"""
        path = self.paths.get(seat.current)
        if path is None or path.pair is None or not self.may_try(path.name):
            return None
        failed = self.paths.state(path.name) is PathState.FAILED
        return Test(seat.ike_id, path.name) if failed else None

    def _leave_poor(self, seat: Seat, current: PathName) -> Decision | None:
        """It works, so nothing hurries: onto what is known to work, and well, a moment later."""
        due_at = self.paths.poor_at(current) + POOR_DELAY
        if self.now < due_at:
            return Wait(due_at)
        for path in self.paths.best(seat.home):
            works = self.paths.state(path.name) in WORKS and not self.paths.trouble(path.name)
            if works and path.name != current:
                return Move(seat.ike_id, path.name, urgent=False)
        return None

    def _worth_trying(self, path: Path) -> bool:
        return quality(self.paths.state(path.name)) < 2 or self.may_try(path.name)

    def _test_here(self, seat: Seat) -> Test | None:
        """An empty tunnel adopted where it stands: is it ready?"""
        if seat.current is None or seat.carries:
            return None
        idle = self.paths.state(seat.current) is PathState.IDLE
        return Test(seat.ike_id, seat.current) if idle and self.may_try(seat.current) else None

    def _go_home(self, seat: Seat) -> Decision | None:
        home = self.paths.get(seat.home)
        if home is None or home.pair is None or self._unwanted(seat, home.name):
            return self._park_better(seat)
        unused = seat.fresh or not seat.carries
        if unused and not self.paths.hold(home.name).breaks:
            return Move(seat.ike_id, home.name, False) if self._worth_trying(home) else None
        return self._return(seat, home)

    def _unwanted(self, seat: Seat, home: PathName) -> bool:
        """Taken out of use by hand, or poor: where it is, the tunnel works well."""
        return self.paths.is_drained(home) or (seat.carries and bool(self.paths.trouble(home)))

    def _park_better(self, seat: Seat) -> Decision | None:
        """What is parked goes to the path that was preferred by hand."""
        ordered = [
            p
            for p in self.paths.best()
            if self.paths.preferred_at(p.name) is not None and not self.paths.trouble(p.name)
        ]
        if not ordered or not seat.carries or seat.current in [p.name for p in ordered]:
            return None
        return self._return(seat, ordered[0])

    def _return(self, seat: Seat, home: Path) -> Decision | None:
        state, due_at = self.paths.state(home.name), self._due_at(home.name)
        if due_at is not None and self.now < due_at:
            return self._hold(seat, home, state, due_at)
        ordered = self.paths.preferred_at(home.name) is not None
        tested = state in WORKS and (not ordered or self._fresh(home.name))
        if due_at is not None and tested:
            return Move(seat.ike_id, home.name, urgent=False)
        return self._test(seat, home, state)

    def _due_at(self, home: PathName) -> float | None:
        """After the hold-down; who prefers a path by hand has seen that it works."""
        hold, preferred_at = self.paths.hold(home), self.paths.preferred_at(home)
        if hold.works_at is None or preferred_at is None or preferred_at < hold.works_at:
            return hold.due_at(self.hold_down)
        return hold.works_at

    def _hold(self, seat: Seat, home: Path, state: PathState, due_at: float) -> Decision | None:
        """What was tested is tested again: it has to work without a break."""
        tested_at = self.paths.tested_at(home.name)
        if state is not PathState.READY or tested_at is None:
            return Wait(due_at)
        if self.now >= tested_at + self.hold_down:
            return self._test(seat, home, state)
        return Wait(min(due_at, tested_at + self.hold_down))

    def _test(self, seat: Seat, home: Path, state: PathState) -> Test | None:
        if state is PathState.TESTING or not self.may_try(home.name):
            return None
        return Test(seat.ike_id, home.name)
