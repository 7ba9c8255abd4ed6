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
from vici_mif.core.world import World

WAIT_DELAY = 2.0
"""Seconds between two looks for a connection that charon does not have (no event tells)."""

AGAIN_DELAY = 10.0
"""Seconds that lie between two times all is loaded because somebody unloaded it: he may go on."""

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
        self._loaded_at = 0.0
        """When the last part was."""
        self._keys: dict[int, str] = {}
        """Private keys that are ours in charon, by part."""
        self._resolved_at: dict[str, float] = {}

    def step(self, turn: Turn) -> bool:
        """True once charon has all that is inline: secrets first, the connection last."""
        if self._is_missed(turn.world):
            self._load_again(turn)
        for part, load in enumerate(self._loads):
            if part not in self._loaded:
                turn.ask(("load", self._peer, part), self._make(load))
                return False
        return True

    def _is_missed(self, world: World) -> bool:
        """It was loaded, and a look after that does not find it."""
        whole = 0 < len(self._loads) == len(self._loaded)
        looked = world.connections is not None and world.connections_at > self._loaded_at
        return whole and looked and self._peer not in (world.connections or {})

    def _load_again(self, turn: Turn) -> None:
        """`swanctl --load-all` unloads what its files have not; before a connection, all secrets
        and keys."""
        due_at = self._loaded_at + AGAIN_DELAY
        turn.wake(due_at)
        if turn.now >= due_at:
            turn.say(f"{self._peer}: somebody unloaded the connection; loading it again", "warning")
            self.renew(turn)

    def _make(self, load: swan.Load) -> partial[LoadSecret] | partial[LoadConnection]:
        if load.command == "load-conn":
            return partial(LoadConnection, name=self._peer, message=load.message)
        return partial(LoadSecret, command=load.command, message=load.message)

    def done(self, turn: Turn, what: str, part: int, key_id: str = "", new: bool = False) -> None:
        """`key_id`: of a private key; `new`: charon did not have it."""
        if what == "unload":
            self._loaded.discard(part)
            turn.world.keys.pop(self._keys.pop(part, ""), None)
            return
        self._loaded.add(part)
        self._loaded_at = turn.now
        self._take_key(turn, part, key_id, new)
        turn.ask(("read", self._peer), ReadAll)

    def _take_key(self, turn: Turn, part: int, key_id: str, new: bool) -> None:
        """The one it takes the place of is of no use any more."""
        command, old = self._undone(turn, part)
        if command == "unload-key" and old != key_id:
            turn.ask(("old key", self._peer, old), partial(Unload, command=command, name=old))
            turn.world.keys.pop(old)
        if key_id and (new or key_id in turn.world.keys):
            turn.world.keys.setdefault(key_id, set()).add(self._peer)
            self._keys[part] = key_id

    def renew(self, turn: Turn) -> None:
        """A file or variable has another content, or charon has it no more: all is loaded again."""
        self._loaded.clear()
        self._forget(turn, len(self._loads))

    def configure(self, turn: Turn, inline: InlineConnection | None) -> None:
        """What differs is loaded again; SAs that are up keep what they were made with."""
        before, was = self._loads, self._loaded
        self._loads = swan.loads(self._peer, inline, self._base) if inline is not None else ()
        known = [before[i] for i in was]
        keys = [(before[i], key) for i, key in self._keys.items()]
        self._keys = {i: k for i, load in enumerate(self._loads) for old, k in keys if old == load}
        self._loaded = {i for i, load in enumerate(self._loads) if load in known}
        self._forget(turn, len(before))

    def _forget(self, turn: Turn, parts: int) -> None:
        for part in range(parts):
            turn.book.drop(("load", self._peer, part))
            turn.book.forgive(("load", self._peer, part))

    def unload(self, turn: Turn) -> bool:
        """The peer is no longer configured: the connection first. True once all is done."""
        for part in sorted(self._loaded, reverse=True):
            command, name = self._undone(turn, part)
            if command:
                make = partial(Unload, command=command, name=name)
                turn.ask(("unload", self._peer, part), make)
                return False
            self._loaded.discard(part)
            turn.world.keys.get(self._keys.pop(part, ""), set()).discard(self._peer)
        return True

    def undo(self, turn: Turn) -> list[str]:
        """The same as it is kept: commands with names."""
        parts = [self._undone(turn, part) for part in sorted(self._loaded, reverse=True)]
        return [f"{command} {name}" for command, name in parts if command]

    def _undone(self, turn: Turn, part: int) -> tuple[str, str]:
        """The request that takes a load back. A private key that charon had before, or that
        another peer needs, stays."""
        load = self._loads[part]
        if load.command == "load-conn":
            return "unload-conn", self._peer
        if load.command == "load-shared":
            return "unload-shared", str(load.message["id"])
        key_id = self._keys.get(part, "")
        only = turn.world.keys.get(key_id) == {self._peer}
        return ("unload-key", key_id) if only else ("", "")

    def charon_gone(self) -> None:
        """Another charon has nothing of it."""
        self._loaded.clear()
        self._keys.clear()

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
