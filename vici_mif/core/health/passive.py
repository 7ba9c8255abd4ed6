# SPDX-License-Identifier: Apache-2.0
"""Tunnels that no target tells about: while their counters grow they work, else IKE is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from vici_mif.core.actions import ReadAll
from vici_mif.core.family.family import Tunnel
from vici_mif.core.health.mapping import Mapping
from vici_mif.core.model import PathName
from vici_mif.core.paths.paths import Paths
from vici_mif.core.seats.moves import Moves
from vici_mif.core.turn import Turn

FIRST_DELAY = 6.0
"""Seconds before the first look at least: whoever has just started does not begin with tests."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the counters said."""

    path: PathName
    packets_in: int
    packets_out: int
    due_at: float
    """The next look."""
    is_still: bool = False
    """Nothing came in since the look before."""
    is_idle: bool = False
    """Nor was anything sent."""


class Passive:
    """Looks at counters, and asks by IKE about those that stand still."""

    def __init__(self, peer: str, mapping: Mapping) -> None:
        self._peer = peer
        self._mapping = mapping
        self._looks: dict[int, Look] = {}

    def rename(self, old_id: int, new_id: int) -> None:
        if old_id in self._looks:
            self._looks[new_id] = self._looks.pop(old_id)

    def step(
        self,
        turn: Turn,
        tunnels: Iterable[Tunnel],
        paths: Paths,
        moves: Moves,
        delay: Callable[[PathName], float],
    ) -> None:
        """`delay`: seconds between two looks on a path."""
        before, self._looks = self._looks, {}
        for tunnel in tunnels:
            path = paths.get(tunnel.current)
            if path is not None and path.pair is not None and not moves.moving(turn, tunnel.ike_id):
                look = self._look(turn, tunnel, path.name, before.get(tunnel.ike_id), delay)
                self._looks[tunnel.ike_id] = _after_test(look, paths, delay(path.name))
        self._ask(turn)

    @staticmethod
    def _look(
        turn: Turn,
        tunnel: Tunnel,
        path: PathName,
        before: Look | None,
        delay: Callable[[PathName], float],
    ) -> Look:
        if before is not None and before.path == path:
            return before
        return Look(path, *_packets(tunnel), turn.now + max(FIRST_DELAY, delay(path)))

    def _ask(self, turn: Turn) -> None:
        """One look for all whose time has come."""
        due_at = min((look.due_at for look in self._looks.values()), default=None)
        if due_at is None:
            return
        turn.wake(due_at)
        if turn.now >= due_at:
            turn.ask(("glance", self._peer), ReadAll)

    def looked(
        self,
        turn: Turn,
        tunnels: Sequence[Tunnel],
        paths: Paths,
        moves: Moves,
        delay: Callable[[PathName], float],
    ) -> None:
        """The counters are fresh: what came in since the last look came over this path."""
        for tunnel in tunnels:
            look = self._looks.get(tunnel.ike_id)
            if look is None or tunnel.current != look.path:
                continue
            pause = delay(look.path)
            if turn.now < look.due_at - pause / 2:
                continue  # what is due soon is looked at now, so that one look serves all
            self._looks[tunnel.ike_id] = _after_look(look, tunnel, turn.now + pause)
            if self._looks[tunnel.ike_id].is_still:
                moves.test(turn, paths, tunnel.ike_id, look.path)
            else:
                self._mapping.heard(turn, tunnel.ike_id)

    def tested(self, turn: Turn, path: PathName) -> None:
        """IKE was answered on a path."""
        still = {i: look for i, look in self._looks.items() if look.path == path and look.is_still}
        for ike_id, look in still.items():
            self._mapping.still(turn, [ike_id], idle=look.is_idle)


def _after_look(before: Look, tunnel: Tunnel, due_at: float) -> Look:
    packets_in, packets_out = _packets(tunnel)
    is_still = packets_in == before.packets_in
    is_idle = packets_out == before.packets_out
    return Look(before.path, packets_in, packets_out, due_at, is_still, is_idle)


def _after_test(look: Look, paths: Paths, delay: float) -> Look:
    """A path that was just tested needs no look."""
    tested_at = paths.tested_at(look.path)
    if tested_at is None or tested_at + delay <= look.due_at:
        return look
    return replace(look, due_at=tested_at + delay)


def _packets(tunnel: Tunnel) -> tuple[int, int]:
    """In and out."""
    children = tunnel.sa.children
    return sum(c.packets_in for c in children), sum(c.packets_out for c in children)
