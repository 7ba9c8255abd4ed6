# SPDX-License-Identifier: Apache-2.0
"""How long a path that broke must work again before a tunnel goes home.

Counted from the moment it works again without a break: its link is back, or a test passed after
a silent failure. Each break within a calm time doubles it, up to a bound (the penalty of route
flap damping, RFC 2439, with its decay made a single step). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

LONGEST = 16
"""At most so many times the configured hold-down."""

CALM_DELAY = 300.0
"""Seconds without a break after which earlier ones are forgotten."""


@dataclass(frozen=True, slots=True)
class HoldDown:
    """One path's breaks. Times are monotonic seconds."""

    works_at: float | None = None
    """Since when it works without a break; None while it does not."""
    proven: bool = False
    """Something was answered on it since then."""
    breaks: int = 0
    """Breaks that count."""

    def works(self, now: float, *, proven: bool) -> HoldDown:
        """Its link is back, or (`proven`) an answer came on it."""
        if self.works_at is None:
            return replace(self, works_at=now, proven=proven)
        return replace(self, proven=True) if proven and not self.proven else self

    def link_lost(self, now: float) -> HoldDown:
        """A break in any case, also of a path that nobody tested."""
        return self._broken(now) if self.works_at is not None else self

    def failed(self, now: float) -> HoldDown:
        """Nothing is answered. A path that never worked since its link came back did not break."""
        return self._broken(now) if self.proven else replace(self, works_at=None)

    def _broken(self, now: float) -> HoldDown:
        calm = self.works_at is not None and now >= self.works_at + CALM_DELAY
        return HoldDown(breaks=1 if calm else self.breaks + 1)

    def delay(self, hold_down: float) -> float:
        """Seconds of working that are asked for; `hold_down`: after the first break."""
        doublings = min(max(self.breaks - 1, 0), LONGEST.bit_length() - 1)
        return hold_down * (1 << doublings)

    def due_at(self, hold_down: float) -> float | None:
        """When a tunnel may go home; None while the path does not work."""
        return None if self.works_at is None else self.works_at + self.delay(hold_down)
