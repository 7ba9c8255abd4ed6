# SPDX-License-Identifier: Apache-2.0
"""Tests paths on which no tunnel is and none belongs: is there a place to go?

One at a time, by the tunnel that would miss its window least. A path that failed is tried again
after the book's back-off, so that an address of the gateway that comes back is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from vici_mif.core.actions import Probe
from vici_mif.core.family.family import Tunnel
from vici_mif.core.paths.path import PathFact, PathState
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import Path, quality
from vici_mif.core.turn import Turn

IDLE_DELAY = 5.0
"""Seconds to leave a new path alone: the family is being built, and may take it."""

READY_DELAY = 60.0
"""Seconds between two tests of a path that works."""

TRIES = 3
"""Transmissions, one a second."""


class Scouting:
    """Tests of one peer's empty paths."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def step(
        self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths, *, prove: bool = False
    ) -> None:
        """`prove`: also of paths on which tunnels were adopted it must be known."""
        if prove:
            self._prove(turn, tunnels, paths)
        used = {t.current for t in tunnels} | {t.home for t in tunnels}
        for path in paths.usable():
            if path.name not in used and self._is_due(turn, paths, path):
                self._test(turn, tunnels, paths, path)

    def _prove(self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths) -> None:
        """Tunnels that were adopted where they stand: does anything answer there?"""
        for tunnel in tunnels:
            path = paths.get(tunnel.current)
            if path is not None and paths.tested_at(path.name) is None and tunnel.movable:
                self._ask(turn, tunnel, paths, path)

    def _is_due(self, turn: Turn, paths: Paths, path: Path) -> bool:
        due_at = self._due_at(paths, path)
        if due_at is not None:
            turn.wake(due_at)
        return due_at is not None and turn.now >= due_at

    @staticmethod
    def _due_at(paths: Paths, path: Path) -> float | None:
        since_at = paths.life(path.name).since_at
        match paths.state(path.name):
            case PathState.IDLE:
                return since_at + IDLE_DELAY
            case PathState.READY:
                return (paths.tested_at(path.name) or since_at) + READY_DELAY
            case PathState.FAILED:
                return since_at
        return None

    def _test(self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths, path: Path) -> None:
        scout = self._scout(turn, tunnels, paths)
        if scout is not None:
            self._ask(turn, scout, paths, path)

    def _ask(self, turn: Turn, scout: Tunnel, paths: Paths, path: Path) -> None:
        pair = path.pair
        if pair is None or self._testing(turn):
            return
        make = partial(Probe, ike_id=scout.ike_id, pair=pair, tries=TRIES)
        if turn.ask(("test", self._peer, path.name), make, TRIES + 3.0):
            paths.fact(path.name, PathFact.TEST_BEGUN, turn.now)

    def _testing(self, turn: Turn) -> bool:
        return any(request.key[1] == self._peer for request in turn.book.about("test"))

    def _scout(self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths) -> Tunnel | None:
        """A spare, else one that carries nothing, else the oldest."""
        able = [t for t in tunnels if t.movable and self._stands(turn, t, paths)]
        able.sort(key=lambda t: (t.home is not None, t.carries, t.ike_id))
        return next(iter(able), None)

    def _stands(self, turn: Turn, tunnel: Tunnel, paths: Paths) -> bool:
        moving = turn.book.under_way(("move", self._peer, tunnel.ike_id)) is not None
        current = tunnel.current
        return not moving and current is not None and quality(paths.state(current)) < 2
