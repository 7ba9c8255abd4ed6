# SPDX-License-Identifier: Apache-2.0
"""What charon is told to do, on connections of their own, each order to its end.

An order of the series has two answers: that it was taken, and an event with its tag when it has
ended. Others have one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from vici_mif.core import actions, events
from vici_mif.edges import requests, vici
from vici_mif.edges.vici import Connection, Tree

SUPPORT = "ike-clone"  # docs/vici.md: registering for it shows the series
LANES = 3  # connections for orders; what concerns one SA stays on one and in order
FINAL_DELAY = 600.0  # no exchange of charon's lasts longer, with its default retransmission


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


class Ordering:
    """The orders of one session that are open."""

    def __init__(self, path: str, emit: Callable[[events.Event], None]) -> None:
        self._emit = emit
        # Late events of a session before ours, perhaps of a killed controller, carry its mark.
        self._mark = secrets.token_hex(4)
        self._lanes = [_Lane(path) for _ in range(LANES)]
        self._waiting: dict[str, asyncio.TimerHandle] = {}

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()
        for timer in self._waiting.values():
            timer.cancel()

    async def supported(self) -> bool:
        """On a connection of the kind that carries orders, and given up at once."""
        return await self._lanes[0].has_event(SUPPORT)

    async def carry_out(self, action: requests.Order) -> None:
        """Raises ViciError where charon did not answer: `broke` says what that means."""
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

    def broke(self, action: actions.CharonAction, error: vici.ViciError) -> None:
        """There is no answer to this one."""
        if self._ended(action.tag) or not isinstance(action, requests.SERIES):
            reason = "timeout" if isinstance(error, vici.RequestTimeout) else "failed"
            self._emit(events.ActionFailed(action.tag, reason, str(error)))

    def is_ours(self, message: requests.Message) -> bool:
        """It ends an order of this session; others may put tags on theirs."""
        return str(message.get("tag", "")).startswith(f"{self._mark}/")

    def final(self, name: str, message: requests.Message) -> None:
        """The event that ends an order of ours, where it is one."""
        tag = str(message.get("tag", "")).partition("/")[2]
        if not self.is_ours(message) or not self._ended(tag):
            return
        if requests.ended_well(message):
            self._emit(requests.done(tag, name, message))
        else:
            self._emit(requests.failed(tag, message))
