# SPDX-License-Identifier: Apache-2.0
"""Comes by the connection: loads the inline one, waits for the operator's, resolves its names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from vici_mif.core import swan
from vici_mif.core.actions import LoadConnection, LoadSecret, ReadAll, Resolve, Unload
from vici_mif.core.paths.remotes import is_name
from vici_mif.core.requests import Key
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

Undoing = tuple[str, str]
"""The request that takes a load back: its command, and the name of what was loaded."""


def load_key(peer: str, part: int) -> Key:
    """Of the request for one part. As text: a number would be taken for an IKE_SA's."""
    return ("load", peer, str(part))


class Loading:
    """One connection's way into charon."""

    def __init__(self, peer: str, inline: InlineConnection | None, base: str) -> None:
        self._peer = peer
        self._base = base
        self._loads = swan.loads(peer, inline, base) if inline is not None else ()
        self._loaded: set[int] = set()
        self._doubted: set[int] = set()
        """Of those, what charon may have no more."""
        self._loaded_at = 0.0
        """When the last part was."""
        self._brought: set[Undoing] = set()
        """What is ours in charon, wanted or not; private keys are in the world's."""
        self._keys: dict[int, str] = {}
        """Private keys that are ours in charon, by part."""
        self._resolved_at: dict[str, float] = {}

    def step(self, turn: Turn) -> bool:
        """True once charon has all that is inline: secrets first, the connection last."""
        if self._is_missed(turn.world):
            self._load_again(turn)
        for part in range(len(self._loads)):
            if part not in self._loaded:
                self._load(turn, part)
                return False
        for part in sorted(self._doubted):
            self._load(turn, part)
        return True

    def _load(self, turn: Turn, part: int) -> None:
        turn.ask(load_key(self._peer, part), self._make(self._loads[part]))

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

    def done(self, turn: Turn, part: int, key_id: str = "", new: bool = False) -> None:
        """A part was loaded. `key_id`: of a private key; `new`: charon did not have it."""
        self._loaded.add(part)
        self._doubted.discard(part)
        self._loaded_at = turn.now
        self._brought |= self._undoings([self._loads[part]])
        self._keys.pop(part, None)
        if key_id and (new or key_id in turn.world.keys):
            turn.world.keys.setdefault(key_id, set()).add(self._peer)
            self._keys[part] = key_id
        self._withdraw(turn)
        turn.ask(("read", self._peer), ReadAll)

    def undone(self, turn: Turn, command: str, name: str) -> None:
        """charon has it no more."""
        self._brought.discard((command, name))
        if command == "unload-key":
            turn.world.keys.pop(name, None)

    def renew(self, turn: Turn) -> None:
        """A file or variable has another content, or charon has it no more: all is loaded again."""
        self._count_as_unloaded()
        self._forget(turn, len(self._loads))

    def doubt(self, turn: Turn) -> None:
        """Nothing tells of secrets that somebody unloaded. They are loaded again, and nothing waits
        for it: what their files had is perhaps in charon alone by now."""
        if not self._doubted and len(self._loaded) == len(self._loads):
            self._doubted = set(self._loaded)
            self._forget(turn, len(self._loads))

    def _count_as_unloaded(self) -> None:
        self._loaded.clear()
        self._doubted.clear()

    def configure(self, turn: Turn, inline: InlineConnection | None) -> None:
        """What differs is loaded again; SAs that are up keep what they were made with."""
        before, was = self._loads, self._loaded
        self._brought |= self._undoings(self._coming(turn))
        self._loads = swan.loads(self._peer, inline, self._base) if inline is not None else ()
        known = [before[i] for i in was]
        keys = [(before[i], key) for i, key in self._keys.items()]
        self._keys = {i: k for i, load in enumerate(self._loads) for old, k in keys if old == load}
        self._loaded = {i for i, load in enumerate(self._loads) if load in known}
        self._doubted.clear()
        self._forget(turn, len(before))
        if not self._loads:  # the one of this name is the operator's from now on
            self._brought.discard(("unload-conn", self._peer))
        self._withdraw(turn)

    def _forget(self, turn: Turn, parts: int) -> None:
        for part in range(parts):
            turn.book.drop(load_key(self._peer, part))
            turn.book.forgive(load_key(self._peer, part))

    def unload(self, turn: Turn) -> bool:
        """The peer is no longer configured: the connection first. True once all is done."""
        self._count_as_unloaded()
        self._keys.clear()
        self._leave_keys(turn.world)
        if held := self._held(turn.world):
            self._take_back(turn, held[0])
        return not held and not self._coming(turn)

    def undo(self, turn: Turn) -> list[str]:
        """The same as it is kept: commands with names."""
        return [f"{command} {name}" for command, name in self._held(turn.world)]

    def _withdraw(self, turn: Turn) -> None:
        """A secret that was taken out, or a key with another one in its place, is of no use to
        anybody from now on."""
        wanted = self._undoings(self._loads)
        wanted |= {("unload-key", key_id) for key_id in self._keys.values()}
        for undoing in self._held(turn.world):
            if undoing not in wanted:
                self._take_back(turn, undoing)
        self._leave_keys(turn.world)

    def _leave_keys(self, world: World) -> None:
        """Those that only other peers need now."""
        for key_id, peers in world.keys.items():
            if key_id not in self._keys.values() and len(peers) > 1:
                peers.discard(self._peer)

    def _held(self, world: World) -> list[Undoing]:
        """What takes back all that is ours, the connection first. A private key that charon had
        before, or that another peer needs, stays."""
        keys = [("unload-key", key_id) for key_id, of in world.keys.items() if of == {self._peer}]
        return [*sorted(self._brought), *keys]

    def _coming(self, turn: Turn) -> list[swan.Load]:
        """What charon was told to load, and did not answer yet."""
        parts = enumerate(self._loads)
        return [load for i, load in parts if turn.book.under_way(load_key(self._peer, i))]

    def _undoings(self, loads: Sequence[swan.Load]) -> set[Undoing]:
        """None of a private key: charon says what it is called."""
        shared = {("unload-shared", str(x.message["id"])) for x in loads if "id" in x.message}
        conn = {("unload-conn", self._peer) for x in loads if x.command == "load-conn"}
        return shared | conn

    def _take_back(self, turn: Turn, undoing: Undoing) -> None:
        command, name = undoing
        make = partial(Unload, command=command, name=name)
        turn.ask(("unload", self._peer, command, name), make)

    def charon_gone(self) -> None:
        """Another charon has nothing of it."""
        self._count_as_unloaded()
        self._keys.clear()
        self._brought.clear()

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
