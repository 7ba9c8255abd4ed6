# SPDX-License-Identifier: Apache-2.0
"""charon: carries out orders over VICI and tells what happened as facts.

Three roles, each with connections of its own: events (always drained: charon keeps what
a slow reader does not take), reading, and orders. Events are subscribed before the first
snapshot, so nothing falls between. An event only names an SA; that one is then read.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from vici_mif.core import actions, events, swan
from vici_mif.core.model import Connection as ConnectionSeen
from vici_mif.core.model import Sa
from vici_mif.edges import requests, vici
from vici_mif.edges.vici import Connection, Tree

HINT = "; is charon running, and is this the socket of its vici plugin (daemon.vici)?"

Emit = Callable[[events.Event], None]

STOCK_EVENTS = ("ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey")
SERIES_EVENTS = ("ike-clone", "ike-migrate", "ike-probe")
SUPPORT = "ike-clone"  # docs/vici.md: registering for it shows the series
LANES = 3  # connections for orders; what concerns one SA stays on one and in order
READ_ALL_DELAY = 300.0
CONNECTIONS_DELAY = 5.0  # one local request, answered from charon's memory
BACKLOG = 2000  # events; beyond that everything is read instead
FIRST_RETRY_DELAY, LAST_RETRY_DELAY = 0.1, 3.0
FINAL_DELAY = 600.0  # no exchange of charon's lasts longer, with its default retransmission


class Charon:
    """One charon, reached again and again for ever."""

    def __init__(self, path: str, emit: Emit) -> None:
        self._path = path
        self._emit = emit
        self._session: _Session | None = None

    async def run(self) -> None:
        """Connect, follow, and connect again; says CharonGone once for each reason.

        Sooner again only after a session in which the whole snapshot was understood.
        """
        said, delay = "", FIRST_RETRY_DELAY
        while True:
            session = _Session(self._path, self._emit)
            try:
                await session.open()
                self._session = session
                await session.follow()
            except (vici.ViciError, swan.SwanError) as error:
                why = str(error) + ("" if self._session else HINT)
                if why != said or self._session:
                    self._emit(events.CharonGone(why))
                said = why
            finally:
                self._session = None
                session.close()
            if session.understood:
                said, delay = "", FIRST_RETRY_DELAY
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RETRY_DELAY)

    @property
    def heard_at(self) -> float | None:
        """When charon answered last, in the event loop's time; None while there is none."""
        return self._session.heard_at if self._session else None

    async def refresh(self) -> None:
        """Look at the SAs once more, for their counters: nothing tells when those change."""
        if self._session is not None:
            await self._session.refresh()

    async def execute(self, action: actions.CharonAction) -> None:
        """Carry out one order. Its end is an event, not an exception."""
        session = self._session
        if session is None:
            self._emit(events.ActionFailed(action.tag, "failed", "charon is not there"))
            return
        await session.execute(action)


class _Lane:
    """A connection for orders, one after the other; a lost one is opened again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None

    async def request(self, command: str, message: requests.Message) -> Tree:
        async with self._lock:
            return await (await self._open()).request(command, message)

    async def has_event(self, event: str) -> bool:
        """Registers and gives up at once: what is not read stays with charon for ever."""
        async with self._lock:
            connection = await self._open()
            try:
                await connection.register(event)
            except vici.EventUnknown:
                return False
            await connection.unregister(event)
            return True

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await Connection.open(self._path)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Session:
    """From one connect to the loss of any of its connections."""

    def __init__(self, path: str, emit: Emit) -> None:
        self._path = path
        self._emit = emit
        self._all: list[Connection] = []
        # Late events of a session before ours, perhaps of a killed controller, carry its mark.
        self._mark = secrets.token_hex(4)
        self._lanes = [_Lane(path) for _ in range(LANES)]
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._queue: asyncio.Queue[tuple[str, Tree]] = asyncio.Queue()
        self._must_look = False
        self._reading = asyncio.Lock()
        self._named: Counter[int] = Counter()
        """How many events that wait name an IKE SA."""
        self.understood = False
        """The first snapshot came whole."""
        self._loaded: tuple[ConnectionSeen, ...] | None = None
        self.heard_at = asyncio.get_running_loop().time()

    async def open(self) -> None:
        """Connect, find out whom we talk to, subscribe."""
        self._reader = await self._connect()
        self._events = await self._connect()
        version = await self._reader.request("version")
        stats = await self._reader.request("stats")
        self.patched = await self._supported()
        await self._events.register(*STOCK_EVENTS, *(SERIES_EVENTS if self.patched else ()))
        self._emit(
            events.CharonConnected(
                version=version.get("version", ""),
                patched=self.patched,
                plugins=frozenset(stats.get("plugins", ())),
            )
        )

    async def follow(self) -> None:
        """Snapshot, then events, until a connection is lost."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._drain())
                group.create_task(self._work())
                group.create_task(self._watch_connections())
        except* (vici.ViciError, swan.SwanError) as errors:
            raise errors.exceptions[0] from None

    def close(self) -> None:
        for connection in self._all:
            connection.close()
        for lane in self._lanes:
            lane.close()
        for timer in self._waiting.values():
            timer.cancel()

    async def _connect(self) -> Connection:
        connection = await Connection.open(self._path)
        self._all.append(connection)
        return connection

    async def _supported(self) -> bool:
        """On a connection of the kind that carries orders, and given up at once."""
        return await self._lanes[0].has_event(SUPPORT)

    # --- events --------------------------------------------------------------

    async def _drain(self) -> None:
        count = 0
        async for name, message in self._events.events():
            count += 1
            if count % vici.AT_A_TIME == 0:
                await asyncio.sleep(0)  # a storm is read without a pause
            if self._queue.qsize() > BACKLOG and not self._is_ours(message):
                self._must_look = True  # a final event is never left out
            else:
                self._named.update(_to_read(name, message))
                self._queue.put_nowait((name, message))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        await self.read_all()
        self.understood = True
        look_at = loop.time() + READ_ALL_DELAY
        while True:
            try:
                async with asyncio.timeout_at(look_at):
                    name, message = await self._queue.get()
            except TimeoutError:
                self._must_look = True
            else:
                await self._happened(name, message)
            if self._must_look and self._queue.empty():
                self._must_look = False
                await self.read_all()
                look_at = loop.time() + READ_ALL_DELAY

    async def _happened(self, name: str, message: Tree) -> None:
        """Facts first, then the end of the order that led to them.

        The sections inside events lack the CHILD_SAs, so the SAs are read.
        """
        inside = requests.sas_inside(message)
        self._named -= Counter(_to_read(name, message))  # drops what has come to nothing
        match name:
            case "ike-rekey":
                await self._rekeyed(message)
            case "ike-updown" if message.get("up") != "yes":
                for sa in inside:
                    self._emit(events.SaClosed(sa))
            case "ike-probe":
                pass
            case "ike-clone" if (fact := requests.refused(message)) is not None:
                self._emit(fact)
            case _:
                for sa in inside:
                    # what a later event names too is read then, unless somebody waits for it
                    if self._is_ours(message) or not self._named[sa.unique_id]:
                        await self.read_sa(sa.unique_id)
        self._final(name, message)

    async def _rekeyed(self, message: Tree) -> None:
        fact = requests.rekeyed(message)
        if fact is None:
            return
        whole = await self._list(fact.new.unique_id)
        self._emit(replace(fact, new=whole[0]) if whole else fact)

    def _is_ours(self, message: Tree) -> bool:
        """It ends an order of this session; others may put tags on theirs."""
        return str(message.get("tag", "")).startswith(f"{self._mark}/")

    def _final(self, name: str, message: Tree) -> None:
        """The event that ends an order of ours, where it is one."""
        tag = str(message.get("tag", "")).partition("/")[2]
        if not self._is_ours(message) or not self._ended(tag):
            return
        if requests.ended_well(message):
            self._emit(requests.done(tag, name, message))
        else:
            self._emit(requests.failed(tag, message))

    # --- reading -------------------------------------------------------------

    async def read_sa(self, ike_id: int) -> None:
        """list-sas of one: SaSeen or SaGone. Never told before an older look at all."""
        async with self._reading:
            found = await self._list(ike_id)
            for sa in found:
                self._emit(events.SaSeen(sa))
            if not found:
                self._emit(events.SaGone(ike_id))

    async def _list(self, ike_id: int) -> tuple[Sa, ...]:
        return _sas(await self._reader.stream("list-sas", "list-sa", {"ike-id": ike_id}))

    async def refresh(self) -> None:
        try:
            await self._read_sas()
        except (vici.ViciError, swan.SwanError):
            self.close()  # CharonGone says the rest

    async def _watch_connections(self) -> None:
        """`swanctl --load-all` raises no event: look, and tell what differs."""
        while True:
            await asyncio.sleep(CONNECTIONS_DELAY)
            await self._read_connections(only_changes=True)

    async def _read_connections(self, *, only_changes: bool) -> None:
        loaded = _connections(await self._reader.stream("list-conns", "list-conn"))
        self.heard_at = asyncio.get_running_loop().time()
        if loaded != self._loaded or not only_changes:
            self._loaded = loaded
            self._emit(events.ConnectionsSeen(loaded))

    async def read_all(self) -> None:
        """list-conns and list-sas."""
        await self._read_connections(only_changes=False)
        await self._read_sas()

    async def _read_sas(self) -> None:
        """All of them; the loop goes round meanwhile."""
        async with self._reading:
            found: list[Sa] = []
            for item in await self._reader.stream("list-sas", "list-sa"):
                found += swan.sas(item)
                if len(found) % vici.AT_A_TIME == 0:
                    await asyncio.sleep(0)
            self._emit(events.SasSeen(tuple(found)))

    # --- orders --------------------------------------------------------------

    async def execute(self, action: actions.CharonAction) -> None:
        try:
            await self._execute(action)
        except (vici.Disconnected, swan.SwanError):
            self.close()  # CharonGone says the rest
        except vici.ViciError as error:
            if self._ended(action.tag) or not isinstance(action, requests.SERIES):
                reason = "timeout" if isinstance(error, vici.RequestTimeout) else "failed"
                self._emit(events.ActionFailed(action.tag, reason, str(error)))

    async def _execute(self, action: actions.CharonAction) -> None:
        match action:
            case actions.ReadSa():
                await self.read_sa(action.ike_id)
                self._emit(events.ActionDone(action.tag, ike_id=action.ike_id))
            case actions.ReadAll():
                await self.read_all()
                self._emit(events.ActionDone(action.tag))
            case _:
                await self._order(action)

    async def _order(self, action: requests.Order) -> None:
        lane = self._lanes[getattr(action, "ike_id", 0) % LANES]
        awaited = isinstance(action, requests.SERIES)
        if awaited:
            self._await_final(action.tag)
        command, message = requests.request(action, self._mark)
        if command == "load-key":
            await self._load_key(action.tag, lane, message)
            return
        answer = await lane.request(command, message)
        if answer.get("success", "yes") != "yes":
            if not awaited or self._ended(action.tag):
                self._emit(requests.failed(action.tag, answer))
        elif not awaited:
            self._emit(events.ActionDone(action.tag))
        elif action.tag in self._waiting:  # else the final event was here first
            self._emit(events.ActionTaken(action.tag, requests.number(answer, "ike-id")))

    async def _load_key(self, tag: str, lane: _Lane, message: requests.Message) -> None:
        """A key that charon had before belongs to somebody else as well."""
        before = (await lane.request("get-keys", {})).get("keys", [])
        answer = await lane.request("load-key", message)
        if answer.get("success", "yes") != "yes":
            self._emit(requests.failed(tag, answer))
            return
        key_id = str(answer.get("id", ""))
        self._emit(events.ActionDone(tag, key_id=key_id, is_new=key_id not in before))

    def _await_final(self, tag: str) -> None:
        loop = asyncio.get_running_loop()
        self._waiting[tag] = loop.call_later(FINAL_DELAY, self._overdue, tag)

    def _ended(self, tag: str) -> bool:
        """Whether this order was still open; it is not from now on."""
        timer = self._waiting.pop(tag, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _overdue(self, tag: str) -> None:
        if self._ended(tag):
            self._emit(events.ActionFailed(tag, "timeout", "charon sent no final event"))


def _to_read(name: str, message: Tree) -> list[int]:
    """IKE SAs that an event tells to read anew."""
    closed = name == "ike-updown" and message.get("up") != "yes"
    if closed or name in {"ike-rekey", "ike-probe"} or requests.refused(message) is not None:
        return []
    return [sa.unique_id for sa in requests.sas_inside(message)]


def _sas(items: list[Tree]) -> tuple[Sa, ...]:
    return tuple(sa for item in items for sa in swan.sas(item))


def _connections(items: list[Tree]) -> tuple[ConnectionSeen, ...]:
    return tuple(found for item in items for found in swan.connections(item))
