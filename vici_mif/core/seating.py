# SPDX-License-Identifier: Apache-2.0
"""Seats tunnels on paths. Pure.

A tunnel sits at home while home works; otherwise it is parked on the best path that works; it
goes home after the hold-down. A tunnel that works is moved only onto a path that was tested
since its link came back; one that carries nothing yet may be the test itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vici_mif.core.model import PathName
from vici_mif.core.path import WORKS, PathState
from vici_mif.core.paths import Paths
from vici_mif.core.ranking import Path, quality


@dataclass(frozen=True, slots=True)
class Seat:
    """What seating has to know of one tunnel."""

    ike_id: int
    home: PathName | None
    current: PathName | None
    carries: bool


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
            return self._park(seat)
        if seat.home in {None, seat.current}:
            return self._test_here(seat)
        return self._go_home(seat)

    def _broken(self, seat: Seat) -> bool:
        path = self.paths.get(seat.current)
        return path is None or path.pair is None or quality(self.paths.state(path.name)) >= 2

    def _park(self, seat: Seat) -> Move | None:
        for path in self.paths.best(seat.home):
            if path.name != seat.current and self._worth_trying(path):
                return Move(seat.ike_id, path.name, urgent=True)
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
        if home is None or home.pair is None:
            return None
        state = self.paths.state(home.name)
        if state is PathState.DRAINED:
            return None
        if not seat.carries and not self.paths.hold(home.name).breaks:
            return Move(seat.ike_id, home.name, False) if self._worth_trying(home) else None
        return self._return(seat, home, state)

    def _return(self, seat: Seat, home: Path, state: PathState) -> Decision | None:
        due_at = self.paths.hold(home.name).due_at(self.hold_down)
        if due_at is not None and self.now < due_at:
            return self._hold(seat, home, state, due_at)
        if due_at is not None and state in WORKS:
            return Move(seat.ike_id, home.name, urgent=False)
        return self._test(seat, home, state)

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
