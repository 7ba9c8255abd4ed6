# SPDX-License-Identifier: Apache-2.0
"""Which paths and peers have another state than was told last."""

from __future__ import annotations

from collections.abc import Iterable

from vici_mif.core.actions import PathsChanged
from vici_mif.core.paths.path import PathState
from vici_mif.core.paths.ranking import Path
from vici_mif.core.peers.peer import Peer
from vici_mif.core.standing import standing
from vici_mif.core.status import PathChange
from vici_mif.core.turn import Turn

GONE = "gone"
"""The path is not configured any more, or the peer no longer has the address."""


class Changes:
    """Of paths, for programs. A test under way is no state to tell."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], PathChange] = {}

    def step(self, turn: Turn, peers: Iterable[Peer]) -> None:
        """One action for all that changed in this turn."""
        before, self._told = self._told, {}
        changed = []
        for now in (_now(peer, path) for peer in peers for path in peer.paths.all()):
            key = (now.peer, now.path)
            old = before.pop(key, None)
            if old is not None and now.state in {old.state, PathState.TESTING.value}:
                self._told[key] = old
            else:
                self._told[key] = now
                changed.append(now.model_copy(update={"before": old.state if old else ""}))
        gone = {"state": GONE, "why": ""}
        changed += [o.model_copy(update={"before": o.state, **gone}) for o in before.values()]
        if changed:
            turn.actions.append(PathsChanged(turn.book.tag(), tuple(changed)))


def _now(peer: Peer, path: Path) -> PathChange:
    life = peer.paths.life(path.name)
    return PathChange(
        peer=peer.name,
        path=str(path.name),
        link=path.name.link,
        local=str(path.pair.local) if path.pair else None,
        remote=str(path.remote),
        state=life.state.value,
        why=life.why,
    )


class Said:
    """Of peers, for people: each change once, in the words of `status`."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    @property
    def all(self) -> str:
        """The state of each peer in a sentence."""
        return "; ".join(self._said.values())

    def step(self, turn: Turn, peers: Iterable[Peer]) -> None:
        """Not before charon was looked for: it may be there."""
        if not turn.world.known and not turn.world.charon_why:
            return
        before, self._said = self._said, {}
        for peer in peers:
            it = standing(peer, turn.world, turn.book)
            said = f"{peer.name}: {it.state}" + (f": {it.why}" if it.why else "")
            self._said[peer.name] = said
            if before.get(peer.name) != said:
                turn.say(said, "warning" if it.is_trouble else "info")
