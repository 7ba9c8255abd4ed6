# SPDX-License-Identifier: Apache-2.0
"""What is done where nothing can be cloned and `without_clone: refuse` says no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vici_mif.core.closing import Closing
from vici_mif.core.family import Tunnel
from vici_mif.core.turn import Turn

REFUSED_DELAY = 300.0
"""Seconds after which a peer that could not clone is asked again (`without_clone: refuse`)."""


@dataclass(frozen=True, slots=True)
class Without:
    """One peer without cloning."""

    peer: str
    closing: Closing

    def refuse(self, turn: Turn, tunnels: Sequence[Tunnel], why: str) -> None:
        """Only what carries nothing is closed: a tunnel that works is not given up."""
        if not turn.book.free(("refuse", self.peer), turn.now):
            return
        if tunnels and not any(t.carries for t in tunnels):
            self.closing.terminate(turn, [t.sa for t in tunnels])
            turn.book.fail(("auth", self.peer), turn.now, "refused", why, REFUSED_DELAY)
