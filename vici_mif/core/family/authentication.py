# SPDX-License-Identifier: Apache-2.0
"""The first authentication: pairs in rank order, never two at once.

A pair that does not answer IKE_SA_INIT within two seconds gives way to the next one. As soon as
the peer answers, the pair is settled: dropping it later could mean a second authentication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vici_mif.core.actions import CreateIke, ReadSa
from vici_mif.core.family.closing import Closing
from vici_mif.core.model import IPAddress, Pair, PathName
from vici_mif.core.paths.path import PathFact
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import Path, quality
from vici_mif.core.requests import Request
from vici_mif.core.turn import Turn

NEXT_PAIR_DELAY = 2.0
"""Seconds for an answer to IKE_SA_INIT while another pair can be tried."""

LAST_PAIR_DELAY = 10.0
"""Seconds for it where there is no other pair."""

LOOK_DELAY = 1.0
"""Seconds for charon to say whether an answer came."""

AUTH_DELAY = 30.0
"""Seconds from IKE_SA_INIT to an authenticated IKE_SA: EAP may need people and servers."""

CHILDLESS_DELAY = 3600.0
"""Seconds after which a peer that wanted a child in IKE_AUTH is asked without one again: it may be
mended, or another one answers. Where it still wants one, nothing but IKE_SA_INIT was sent."""

PATH_REASONS = frozenset({"timeout", "no-route"})
"""Failures that speak about the path and not about the peer or the credentials."""

ADVICE: Mapping[str, str] = {
    "peer-refused": "peer-refused: identities or credentials do not fit; "
    "charon's log at both ends says which",
    "no-proposal": "no-proposal: the `proposals` of both ends have none in common",
}
"""What is said of failures for which charon has no words of its own."""


@dataclass(frozen=True, slots=True)
class How:
    """What to ask for."""

    connection: str
    vips: tuple[IPAddress, ...] = ()
    child: str | None = None
    """Opened in IKE_AUTH; None: childless."""
    beside: bool = False
    """Another family works: what happens here says nothing about paths."""
    only: PathName | None = None
    """This path and no other."""


@dataclass(slots=True)
class Trial:
    """One pair under way."""

    path: PathName
    pair: Pair
    ike_id: int | None = None
    looked_at: float | None = None
    beside: bool = False


class Authentication:
    """Pair trials of one peer."""

    def __init__(self, peer: str, closing: Closing) -> None:
        self._closing = closing
        self._key = ("auth", peer)
        self._look = ("look", peer)
        self._trial: Trial | None = None
        self._tried: set[PathName] = set()
        self._only: PathName | None = None
        self.count = 0
        """Authentications that succeeded since the start."""
        self.why = ""
        """Why there is none, in plain words."""
        self.childless = True
        """False: the peer wants a child in IKE_AUTH (no RFC 6023)."""
        self._refused_at = 0.0
        self._served = False
        """It authenticated with one since."""

    @property
    def trying(self) -> PathName | None:
        return self._trial.path if self._trial else None

    def how(
        self,
        vips: tuple[IPAddress, ...],
        child: str | None,
        per_path: bool,
        waits: bool,
        beside: bool,
    ) -> How:
        """Childless where each tunnel gets a child of its own, or must wait for it (`waits`), and
        the peer can that."""
        asked = vips if self.childless and per_path else ()
        opened = None if self.childless and (per_path or waits) else child
        return How(str(self._key[1]), asked, opened, beside)

    def look(self, turn: Turn, *, alone: bool) -> None:
        """A refusal of childless IKE_SAs is not for good. `alone`: no family is there; one that was
        lost may be so because the peer is another one now."""
        if self.childless:
            return
        due_at = self._refused_at + CHILDLESS_DELAY
        turn.wake(due_at)
        self.childless = turn.now >= due_at or (alone and self._served)

    def step(self, turn: Turn, paths: Paths, how: How) -> None:
        self._only = how.only
        request = turn.book.under_way(self._key)
        if request is None or self._trial is None:
            self._begin(turn, paths, how)
        elif self._given_up(turn, paths, request, self._trial):
            self._drop(turn, paths, self._trial)
            self._begin(turn, paths, how)

    def _begin(self, turn: Turn, paths: Paths, how: How) -> None:
        if not turn.book.free(self._key, turn.now):
            return
        untried = self._untried(paths)
        if untried:
            self._try(turn, paths, untried[0], how)
        elif self._tried:
            self._tried.clear()
            turn.book.fail(self._key, turn.now, "timeout", self.why)
        else:
            self.why = "no link with a usable address and an address of the peer for it"

    def _untried(self, paths: Paths) -> list[Path]:
        """After a failure another link and another remote first: either may have been at fault."""
        found = [path for path in paths.best() if path.name not in self._tried]
        found = [path for path in found if self._only in {None, path.name}]
        return sorted(found, key=lambda path: (quality(paths.state(path.name)), self._doubt(path)))

    def _doubt(self, path: Path) -> int:
        """How often its link or its remote was part of a pair that failed in this round."""
        return sum(
            (tried.link == path.name.link) + (tried.remote == path.name.remote)
            for tried in self._tried
        )

    def _try(self, turn: Turn, paths: Paths, path: Path, how: How) -> None:
        pair = path.pair
        assert pair is not None
        make: Callable[[str], CreateIke] = lambda tag: CreateIke(  # noqa: E731
            tag, how.connection, pair, how.vips, how.child is None, how.child
        )
        if turn.ask(self._key, make, AUTH_DELAY + LAST_PAIR_DELAY):
            self._trial = Trial(path.name, pair, beside=how.beside)
            if not how.beside:
                paths.fact(path.name, PathFact.TEST_BEGUN, turn.now)
            turn.wake(turn.now + self._patience(paths))

    def _patience(self, paths: Paths) -> float:
        others = [p for p in self._untried(paths) if p.name != self.trying]
        return NEXT_PAIR_DELAY if others else LAST_PAIR_DELAY

    def _given_up(self, turn: Turn, paths: Paths, request: Request, trial: Trial) -> bool:
        sa = (turn.world.sas or {}).get(trial.ike_id or 0)
        if sa is not None and sa.answered:
            turn.wake(request.asked_at + AUTH_DELAY)
            return turn.now >= request.asked_at + AUTH_DELAY
        due_at = request.asked_at + self._patience(paths)
        if turn.now < due_at:
            turn.wake(due_at)
            return False
        return self._looked(turn, trial)

    def _looked(self, turn: Turn, trial: Trial) -> bool:
        """No event tells of an answered IKE_SA_INIT: look before giving up."""
        if trial.looked_at is None:
            trial.looked_at = turn.now
            if trial.ike_id is not None:
                ike_id = trial.ike_id
                turn.ask(self._look, lambda tag: ReadSa(tag, ike_id), LOOK_DELAY)
        looking = turn.book.under_way(self._look) is not None or trial.ike_id is None
        turn.wake(trial.looked_at + LOOK_DELAY)
        return not looking or turn.now >= trial.looked_at + LOOK_DELAY

    def _drop(self, turn: Turn, paths: Paths, trial: Trial) -> None:
        self.why = f"{trial.path}: the peer did not answer"
        turn.book.drop(self._key)
        if trial.ike_id is not None:
            self._closing.terminate_one(turn, trial.ike_id, force=True)
        self._path_failed(turn, paths, "no answer to IKE_SA_INIT")

    def _path_failed(self, turn: Turn, paths: Paths, why: str) -> None:
        """Others leave this path alone for a while, too."""
        if self._trial is not None and not self._trial.beside:
            turn.book.fail(("test", self._key[1], self.trying), turn.now, "timeout", why)
        self._end(paths, PathFact.TEST_FAILED, turn.now, why)

    def _end(self, paths: Paths, fact: PathFact, now: float, why: str = "") -> None:
        if self._trial is not None:
            if not self._trial.beside or fact is PathFact.TEST_PASSED:
                paths.fact(self._trial.path, fact, now, why)
            self._tried.add(self._trial.path)
        self._trial = None

    def taken(self, ike_id: int | None) -> None:
        if self._trial is not None:
            self._trial.ike_id = ike_id

    def done(self, paths: Paths, now: float) -> None:
        self.count += 1
        self.why = ""
        self._served = True
        self._end(paths, PathFact.TEST_PASSED, now)
        self._tried.clear()

    def failed(self, turn: Turn, paths: Paths, reason: str, text: str) -> None:
        """`childless` refused: once more with a child. A word about the path: the next pair."""
        path = self.trying
        self.why = f"{path}: {text or ADVICE.get(reason, reason)}"
        if reason == "not-negotiated" and self.childless:
            self.childless, self._served, self._refused_at = False, False, turn.now
            self._end(paths, PathFact.TEST_PASSED, turn.now)
            self._tried.clear()
        elif reason in PATH_REASONS:
            self._path_failed(turn, paths, text or reason)
        else:
            self._end(paths, PathFact.TEST_VOID, turn.now)
            self._tried.clear()
            turn.book.fail(self._key, turn.now, reason, text)

    def reset(self) -> None:
        """charon is gone, or the peer was taken down: nothing is under way."""
        self._trial = None
        self._tried.clear()
        self.childless = True
