# SPDX-License-Identifier: Apache-2.0
"""charon: carries out orders over VICI and tells what happened as facts.

Three roles, each with connections of its own: events (always drained: charon keeps what
a slow reader does not take), reading, and orders. Events are subscribed before the first
snapshot, so nothing falls between. An event only names an SA; that one is then read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from vici_mif.core import actions, events, swan
from vici_mif.edges import requests, vici
from vici_mif.edges.ordering import Ordering
from vici_mif.edges.reading import Reader
from vici_mif.edges.requests import Happening
from vici_mif.edges.vici import Connection

HINT = "; is charon running, and is this the socket of its vici plugin (daemon.vici)?"

Emit = Callable[[events.Event], None]

STOCK_EVENTS = ("ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey")
SERIES_EVENTS = ("ike-clone", "ike-migrate", "ike-probe")
READ_ALL_DELAY = 300.0
BACKLOG = 2000  # events; beyond that everything is read instead
FIRST_RETRY_DELAY, LAST_RETRY_DELAY = 0.1, 3.0


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
        return self._session.reader.heard_at if self._session else None

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


class _Session:
    """From one connect to the loss of any of its connections."""

    def __init__(self, path: str, emit: Emit) -> None:
        self._path = path
        self._emit = emit
        self._all: list[Connection] = []
        self._orders = Ordering(path, emit)
        self._queue: asyncio.Queue[Happening] = asyncio.Queue()
        self._must_look = False
        self._named: Counter[int] = Counter()
        """How many events that wait name an IKE SA."""
        self.understood = False
        """The first snapshot came whole."""

    async def open(self) -> None:
        """Connect, find out whom we talk to, subscribe."""
        self.reader = Reader(await self._connect(), self._emit)
        self._events = await self._connect()
        version = await self.reader.connection.request("version")
        stats = await self.reader.connection.request("stats")
        self.patched = await self._orders.supported()
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
        found: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._drain())
                group.create_task(self._work())
                group.create_task(self.reader.watch_connections())
        except* (vici.ViciError, swan.SwanError) as errors:
            found += errors.exceptions  # Python 3.11.2 makes a group of what is raised here
        if found:
            raise found[0]

    def close(self) -> None:
        for connection in self._all:
            connection.close()
        self._orders.close()

    async def _connect(self) -> Connection:
        connection = await Connection.open(self._path)
        self._all.append(connection)
        return connection

    # --- events --------------------------------------------------------------

    async def _drain(self) -> None:
        count = 0
        async for name, message in self._events.events():
            count += 1
            if count % vici.AT_A_TIME == 0:
                await asyncio.sleep(0)  # a storm is read without a pause
            if self._queue.qsize() > BACKLOG and not self._orders.is_ours(message):
                self._must_look = True  # a final event is never left out
            else:
                happening = Happening.of(name, message)
                self._named.update(happening.to_read)
                self._queue.put_nowait(happening)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        await self.reader.read_all()
        self.understood = True
        look_at = loop.time() + READ_ALL_DELAY
        while True:
            try:
                async with asyncio.timeout_at(look_at):
                    happening = await self._queue.get()
            except TimeoutError:
                self._must_look = True
            else:
                await self._happened(happening)
            if self._must_look and self._queue.empty():
                self._must_look = False
                await self.reader.read_all()
                look_at = loop.time() + READ_ALL_DELAY

    async def _happened(self, happening: Happening) -> None:
        """Facts first, then the end of the order that led to them.

        The sections inside events lack the CHILD_SAs, so the SAs are read.
        """
        name, message, inside = happening.name, happening.message, happening.inside
        self._forget_named(happening)
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
                    if self._orders.is_ours(message) or not self._named[sa.unique_id]:
                        await self.reader.read_sa(sa.unique_id)
        self._orders.final(name, message)

    def _forget_named(self, happening: Happening) -> None:
        """It waits no more. One by one: thousands may be named."""
        for ike_id in happening.to_read:
            self._named[ike_id] -= 1
            if self._named[ike_id] <= 0:
                del self._named[ike_id]

    async def _rekeyed(self, message: requests.Message) -> None:
        fact = requests.rekeyed(message)
        if fact is None:
            return
        whole = await self.reader.sa(fact.new.unique_id)
        self._emit(replace(fact, new=whole[0]) if whole else fact)

    # --- what is asked for ---------------------------------------------------

    async def refresh(self) -> None:
        try:
            await self.reader.read_sas()
        except (vici.ViciError, swan.SwanError):
            self.close()  # CharonGone says the rest

    async def execute(self, action: actions.CharonAction) -> None:
        try:
            await self._execute(action)
        except (vici.Disconnected, swan.SwanError):
            self.close()  # CharonGone says the rest
        except vici.ViciError as error:
            self._orders.broke(action, error)

    async def _execute(self, action: actions.CharonAction) -> None:
        match action:
            case actions.ReadSa():
                await self.reader.read_sa(action.ike_id)
                self._emit(events.ActionDone(action.tag, ike_id=action.ike_id))
            case actions.ReadAll():
                await self.reader.read_all()
                self._emit(events.ActionDone(action.tag))
            case _:
                await self._orders.carry_out(action)
