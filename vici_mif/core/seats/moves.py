# SPDX-License-Identifier: Apache-2.0
"""Turns decisions about seats into `migrate` and `probe`, and their ends into facts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from vici_mif.core.actions import Action, Migrate, Probe, ReadSa
from vici_mif.core.family.family import Tunnel
from vici_mif.core.family.pins import PIN_DELAY, Pins
from vici_mif.core.model import PathName
from vici_mif.core.paths.path import PathFact, PathState
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import quality
from vici_mif.core.requests import Key
from vici_mif.core.seats.seating import Move, Seat, Seating, Test, Wait
from vici_mif.core.turn import Turn

MOVE_DELAY = 6.0
"""Seconds for an answer on the new pair; then another path is better, if charon says the same."""

MOVE_LIMIT_DELAY = 60.0
"""Seconds after which a move has failed of which charon does not speak at all."""

UPDATE = "IKE_MOBIKE"
"""charon's task for UPDATE_SA_ADDRESSES; gone once that was answered."""

PROBE_TRIES = 3
"""Transmissions, one a second."""

PROBE_BYTES = {4: 112, 6: 132}
"""Of one empty INFORMATIONAL on the link, at most: IP, UDP, non-ESP marker, IKE header (RFC 7296,
3.1) and an SK payload of AES-CBC with HMAC-SHA2-256-128."""

READY_DELAY = 30.0
"""Seconds between two tests of a path that is kept ready."""

VOID = frozenset({"superseded", "busy", "temporary", "rate", "sa-gone", "disabled", "failed"})
"""Ends that say nothing about the path."""

BUSY = frozenset({"busy", "temporary"})
"""An exchange is outstanding; `temporary`: the IKE_SA itself is being rekeyed."""

BUSY_LIMIT = 3
"""Tests in a row, with the book's delays between them, that found an exchange outstanding."""

DENIED_DELAY = 60.0
"""Seconds after which a pair the peer refused is tried again."""


class Moves:
    """Moves and tests of one peer."""

    def __init__(self, peer: str, pins: Pins) -> None:
        self._peer = peer
        self._pins = pins
        self._targets: dict[int, PathName] = {}
        self._origins: dict[int, PathName] = {}
        """Where a tunnel worked that has not arrived elsewhere."""

    def step(
        self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths, hold_down: float, steady: bool
    ) -> None:
        """`steady`: the kernel has the rules for all links; only what is urgent goes before."""
        self._give_up(turn, paths)
        self._doubt(turn)
        self._keep_ready(turn, tunnels, paths)
        still = [t for t in tunnels if t.movable and not self.moving(turn, t.ike_id)]
        seats = [Seat(t.ike_id, t.home, t.current, t.carries, t.fresh) for t in still]
        may_try = lambda path: turn.book.free(self._test(path), turn.now)  # noqa: E731
        for seat, decision in Seating(paths, hold_down, may_try, turn.now).decide(seats):
            match decision:
                case Move() if steady or decision.urgent:
                    self._move(turn, paths, decision, seat.current)
                case Test():
                    self._probe(turn, paths, decision)
                case Wait(until_at):
                    turn.wake(until_at)
                case _:
                    pass

    def _keep_ready(self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths) -> None:
        """Mode one: a path whose tunnel waits for its turn is measured from time to time."""
        for tunnel in tunnels:
            path = tunnel.current
            if tunnel.carries or path is None or path != tunnel.home or not tunnel.movable:
                continue
            if paths.state(path) is PathState.READY and not self.moving(turn, tunnel.ike_id):
                due_at = (paths.tested_at(path) or turn.now) + READY_DELAY
                turn.wake(due_at)
                if turn.now >= due_at:
                    self._probe(turn, paths, Test(tunnel.ike_id, path))

    def moving(self, turn: Turn, ike_id: int) -> bool:
        return turn.book.under_way(self._key(ike_id)) is not None

    def target(self, ike_id: int) -> PathName | None:
        return self._targets.get(ike_id)

    def _key(self, ike_id: int) -> Key:
        return ("move", self._peer, ike_id)

    def _test(self, path: PathName) -> Key:
        return ("test", self._peer, path)

    def _give_up(self, turn: Turn, paths: Paths) -> None:
        """A move to a path that is gone: a newer one takes its place (`superseded`)."""
        for ike_id, path in list(self._targets.items()):
            there = paths.get(path)
            if there is None or there.pair is None or quality(paths.state(path)) >= 2:
                turn.book.drop(self._key(ike_id))
                del self._targets[ike_id]

    def _doubt(self, turn: Turn) -> None:
        """No end after a while: ask charon. On a busy host the answer's event may only be late."""
        for ike_id in self._targets:
            request = turn.book.under_way(self._key(ike_id))
            if request is None:
                continue
            turn.wake(request.asked_at + MOVE_DELAY)
            if turn.now >= request.asked_at + MOVE_DELAY:
                turn.ask(("doubt", self._peer, ike_id), partial(ReadSa, ike_id=ike_id))

    def looked(self, turn: Turn, paths: Paths, ike_id: int, tells: bool) -> bool | None:
        """Charon has told how the move stands: what it still repeats was not answered.

        `tells`: as in `not_moved`.

        Returns whether it was; None where no move is under way any more.
        """
        turn.book.forgive(("doubt", self._peer, ike_id))
        target = paths.get(self._targets.get(ike_id))
        sa = (turn.world.sas or {}).get(ike_id)
        if target is None or sa is None or turn.book.under_way(self._key(ike_id)) is None:
            return None
        turn.book.drop(self._key(ike_id))
        if UPDATE not in (*sa.tasks_active, *sa.tasks_queued) and target.holds(sa.pair):
            self.moved(turn, paths, ike_id)
            return True
        self.not_moved(turn, paths, ike_id, "timeout", "no answer on the new pair in time", tells)
        return False

    def _move(self, turn: Turn, paths: Paths, move: Move, origin: PathName | None) -> None:
        path = paths.get(move.path)
        assert path is not None
        pair = path.pair
        assert pair is not None
        make = partial(Migrate, ike_id=move.ike_id, pair=pair, pin_delay=PIN_DELAY)
        if turn.ask(self._key(move.ike_id), make, MOVE_LIMIT_DELAY):
            self._targets[move.ike_id] = move.path
            if origin is not None:
                self._origins.setdefault(move.ike_id, origin)
            paths.fact(move.path, PathFact.TEST_BEGUN, turn.now)

    def test(self, turn: Turn, paths: Paths, ike_id: int, path: PathName) -> None:
        """Find out whether a path works, also one that carries."""
        self._probe(turn, paths, Test(ike_id, path))

    def _probe(self, turn: Turn, paths: Paths, test: Test) -> None:
        path = paths.get(test.path)
        assert path is not None
        pair = path.pair
        assert pair is not None
        make = partial(Probe, ike_id=test.ike_id, pair=pair, tries=PROBE_TRIES)
        if turn.ask(self._test(test.path), make, PROBE_TRIES + 3.0):
            paths.fact(test.path, PathFact.TEST_BEGUN, turn.now)
            paths.spend(test.path, PROBE_BYTES[pair.local.version])

    # --- how they ended ------------------------------------------------------

    def moved(self, turn: Turn, paths: Paths, ike_id: int) -> None:
        path = self._targets.pop(ike_id, None)
        self._origins.pop(ike_id, None)
        self._pins.renewed(ike_id, turn.now)
        if path is not None:
            turn.book.forgive(self._test(path))
            paths.fact(path, PathFact.TEST_PASSED, turn.now)

    def not_moved(
        self, turn: Turn, paths: Paths, ike_id: int, reason: str, text: str, tells: bool = True
    ) -> None:
        """`tells`: False where the IKE SA is no witness against a path: it leaves, or may be
        forgotten."""
        path = self._targets.pop(ike_id, None)
        if path is None:
            return
        reason = reason if tells else "sa-gone"
        if reason in VOID or reason == "no-mobike":
            turn.book.fail(self._key(ike_id), turn.now, reason, text)
        self._failed(turn, paths, path, reason, text)

    def tested(self, turn: Turn, paths: Paths, path: PathName, rtt_delay: float | None) -> None:
        turn.book.forgive(self._test(path))
        paths.fact(path, PathFact.TEST_PASSED, turn.now)
        paths.measured(path, rtt_delay)

    def not_tested(
        self,
        turn: Turn,
        paths: Paths,
        path: PathName,
        probe: Action,
        reason: str,
        text: str,
        tells: bool = True,
    ) -> bool:
        """A window that stays full where the IKE_SA stands: what fills it is not answered there.

        Returns whether an answer was missing, be it to the test or to what was in its way.
        """
        assert isinstance(probe, Probe)
        before = turn.book.failure(self._test(path))
        again = before is not None and before.reason in BUSY and before.count + 1 >= BUSY_LIMIT
        sa = (turn.world.sas or {}).get(probe.ike_id)
        if reason in BUSY and again and sa is not None and sa.pair == probe.pair:
            reason, text = "timeout", "an exchange of its own is not answered"
        self._failed(turn, paths, path, reason if tells else "sa-gone", text)
        return reason == "timeout"

    def silent(self, turn: Turn, paths: Paths, path: PathName, why: str) -> None:
        """Inside the tunnel nothing comes back on this path."""
        self._failed(turn, paths, path, "silent", why)

    def _failed(self, turn: Turn, paths: Paths, path: PathName, reason: str, text: str) -> None:
        why = text or reason
        if reason == "unacceptable-addresses":
            turn.book.fail(self._test(path), turn.now, reason, why, DENIED_DELAY)
            paths.fact(path, PathFact.REFUSED, turn.now, why)
            return
        turn.book.fail(self._test(path), turn.now, reason, why)
        void = reason in VOID or reason == "no-mobike"
        paths.fact(path, PathFact.TEST_VOID if void else PathFact.TEST_FAILED, turn.now, why)

    # --- what follows from where tunnels are ----------------------------------

    def seat(self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths) -> None:
        """A path with a working tunnel on it is active; one without any is not."""
        carrying = {
            t.current
            for t in tunnels
            if t.carries and t.current is not None and not self.moving(turn, t.ike_id)
        }
        for path in paths.all():
            state = paths.state(path.name)
            if path.name in carrying and quality(state) < 2:
                paths.fact(path.name, PathFact.SEATED, turn.now)
            elif state is PathState.ACTIVE and path.name not in carrying:
                paths.fact(path.name, PathFact.LEFT, turn.now)

    @property
    def origins(self) -> set[PathName]:
        """Where tunnels worked that have not arrived elsewhere."""
        return set(self._origins.values())

    def occupied(self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths) -> set[PathName]:
        """Paths on which a tunnel is, or to which it may have to return."""
        here = {t.ike_id: t.current for t in tunnels}
        self._origins = {
            i: path
            for i, path in self._origins.items()
            if i in here and (here[i] != path or self.moving(turn, i))
        }
        back = {p for p in self._origins.values() if p in paths and quality(paths.state(p)) < 2}
        return back | {path for path in here.values() if path is not None}

    def link_returned(self, turn: Turn, path: PathName) -> None:
        turn.book.forgive(self._test(path))

    def rename(self, old_id: int, new_id: int) -> None:
        if old_id in self._targets:
            self._targets[new_id] = self._targets.pop(old_id)
        if old_id in self._origins:
            self._origins[new_id] = self._origins.pop(old_id)

    def reset(self) -> None:
        self._targets.clear()
        self._origins.clear()


def answer_bytes(paths: Paths, path: PathName, rtt_delay: float | None) -> int:
    """What the answer to a probe cost, and one more request where the first was lost."""
    there = paths.get(path)
    messages = 1 if rtt_delay is not None else 2
    return messages * PROBE_BYTES[there.remote.version] if there is not None else 0
