# SPDX-License-Identifier: Apache-2.0
"""What is done where nothing can be cloned: an authentication per path, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vici_mif.core.family.authentication import Authentication, How
from vici_mif.core.family.closing import Closing
from vici_mif.core.family.family import Tunnel
from vici_mif.core.family.lines import Line
from vici_mif.core.paths.paths import Paths
from vici_mif.core.turn import Turn

REFUSED_DELAY = 300.0
"""Seconds after which a peer that could not clone is asked again (`without_clone: refuse`)."""


@dataclass(frozen=True, slots=True)
class Without:
    """One peer without cloning."""

    peer: str
    closing: Closing

    def more(
        self, turn: Turn, line: Line, paths: Paths, authentication: Authentication, how: How
    ) -> None:
        """One more authentication, on the best path that has no tunnel. Virtual IPs are the
        connection's own: each IKE SA is given its own."""
        homes = {tunnel.home for tunnel in line.tunnels}
        free = [path.name for path in paths.best() if path.name not in homes]
        wanted = free and len(line.tunnels) < line.shape.limit
        if wanted or turn.book.under_way(("auth", self.peer)) is not None:
            only = authentication.trying or free[0]
            authentication.step(turn, paths, replace(how, vips=(), beside=True, only=only))

    def refuse(self, turn: Turn, tunnels: Sequence[Tunnel], why: str) -> None:
        """Only what carries nothing is closed: a tunnel that works is not given up."""
        if not turn.book.free(("refuse", self.peer), turn.now):
            return
        if tunnels and not any(t.carries for t in tunnels):
            self.closing.terminate(turn, [t.sa for t in tunnels])
            turn.book.fail(("auth", self.peer), turn.now, "refused", why, REFUSED_DELAY)
