# SPDX-License-Identifier: Apache-2.0
"""Comes by the connection: loads the inline one, waits for the operator's, resolves its names."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from vici_mif.core import swan
from vici_mif.core.actions import LoadConnection, LoadSecret, ReadAll, Resolve, Unload
from vici_mif.core.paths.remotes import is_name
from vici_mif.core.turn import Turn
from vici_mif.core.wish.inline import InlineConnection

WAIT_DELAY = 2.0
"""Seconds between two looks for a connection that charon does not have (no event tells)."""

RESOLVE_DELAY = 3600.0
"""Seconds after which a name is looked up again."""

TROUBLE_DELAY = 30.0
"""The same while the peer does not answer."""


class Loading:
    """One connection's way into charon."""

    def __init__(self, peer: str, inline: InlineConnection | None, base: str) -> None:
        self._peer = peer
        self._base = base
        self._loads = swan.loads(peer, inline, base) if inline is not None else ()
        self._loaded: set[int] = set()
        self._resolved_at: dict[str, float] = {}

    def step(self, turn: Turn) -> bool:
        """True once charon has all that is inline: secrets first, the connection last."""
        for part, load in enumerate(self._loads):
            if part not in self._loaded:
                turn.ask(("load", self._peer, part), self._make(load))
                return False
        return True

    def _make(self, load: swan.Load) -> partial[LoadSecret] | partial[LoadConnection]:
        if load.command == "load-conn":
            return partial(LoadConnection, name=self._peer, message=load.message)
        return partial(LoadSecret, command=load.command, message=load.message)

    def done(self, turn: Turn, what: str, part: int) -> None:
        if what == "unload":
            self._loaded.discard(part)
            return
        self._loaded.add(part)
        turn.ask(("read", self._peer), ReadAll)

    def configure(self, turn: Turn, inline: InlineConnection | None) -> None:
        """What differs is loaded again; SAs that are up keep what they were made with."""
        before, was = self._loads, self._loaded
        self._loads = swan.loads(self._peer, inline, self._base) if inline is not None else ()
        known = [before[i] for i in was]
        self._loaded = {i for i, load in enumerate(self._loads) if load in known}
        for part in range(len(before)):
            turn.book.drop(("load", self._peer, part))
            turn.book.forgive(("load", self._peer, part))

    def unload(self, turn: Turn) -> bool:
        """The peer is no longer configured: the connection first. True once all is done."""
        for part in sorted(self._loaded, reverse=True):
            load = self._loads[part]
            command, name = _undone(self._peer, load)
            if command:
                make = partial(Unload, command=command, name=name)
                turn.ask(("unload", self._peer, part), make)
                return False
            self._loaded.discard(part)
        return True

    def charon_gone(self) -> None:
        """Another charon has nothing of it."""
        self._loaded.clear()

    def look(self, turn: Turn) -> None:
        """Is it there now? Waiting is no error: `swanctl --load-all` may come later."""
        due_at = turn.world.connections_at + WAIT_DELAY
        if turn.now >= due_at:
            turn.ask(("read", self._peer), ReadAll)
        turn.wake(due_at)

    def resolve(self, turn: Turn, addresses: Iterable[str], trouble: bool) -> None:
        """Names at the start, each hour, and more often while the peer does not answer."""
        for name in addresses:
            if is_name(name):
                self._resolve(turn, name, TROUBLE_DELAY if trouble else RESOLVE_DELAY)

    def unresolved(self, name: object) -> None:
        """No answer: again after the back-off, not after the hour."""
        self._resolved_at.pop(str(name), None)

    def _resolve(self, turn: Turn, name: str, delay: float) -> None:
        due_at = self._resolved_at.get(name, turn.now - delay) + delay
        if turn.now >= due_at and turn.ask(
            ("resolve", self._peer, name), partial(Resolve, name=name)
        ):
            self._resolved_at[name] = turn.now
        turn.wake(due_at)


def _undone(peer: str, load: swan.Load) -> tuple[str, str]:
    """The request that takes a load back. Private keys have no name of ours and stay."""
    if load.command == "load-conn":
        return "unload-conn", peer
    if load.command == "load-shared":
        return "unload-shared", str(load.message["id"])
    return "", ""
