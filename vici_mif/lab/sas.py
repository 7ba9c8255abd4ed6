# SPDX-License-Identifier: Apache-2.0
"""What a charon of the lab says itself: its IKE SAs, and each change of their addresses."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from vici_mif.core import swan
from vici_mif.core.model import Sa
from vici_mif.edges.vici import Connection, Disconnected, Tree, ViciError
from vici_mif.lab.errors import LabError

_RETRY = 0.1
_QUIET = 0.3
"""Seconds without an event after which none is on its way: charon tells of a move after it, and
on a busy machine that takes a moment."""


def read(path: Path) -> list[Sa]:
    """All IKE SAs by their number; none where no charon answers."""
    try:
        return asyncio.run(_read(path))
    except Disconnected:
        return []


def agreed(near: Path, far: Path) -> bool:
    """The far charon has every IKE SA of the near one where that has it; no NAT is between them.

    It follows a move once it knows that the peer is there (RFC 4555, 3.7), a moment later; until
    then it has an exchange outstanding, and tells nobody when it shuts down.
    """
    here = {(sa.spi_in, sa.spi_responder): (sa.local, sa.remote) for sa in read(near)}
    there = {(sa.spi_in, sa.spi_responder): (sa.remote, sa.local) for sa in read(far)}
    return bool(here) and here.items() <= there.items()


def settle(near: Path, far: Path, within: float) -> None:
    """Until both have the same IKE SAs: none is being rekeyed. Raises LabError after `within` s."""
    until = time.monotonic() + within
    while not (agreed(near, far) and agreed(far, near)):
        if time.monotonic() > until:
            raise LabError(f"the two ends do not agree on their IKE SAs within {within:g} s")
        time.sleep(_RETRY)


def ask(path: Path, command: str, message: Mapping[str, str]) -> None:
    """One command for a charon of the lab. Raises LabError when it says no."""
    try:
        answer = asyncio.run(_ask(path, command, message))
    except ViciError as error:
        raise LabError(f"{command}: {error}") from error
    if answer.get("success") == "no":
        raise LabError(f"{command}: {answer.get('reason')}, {answer.get('errmsg')}")


async def _ask(path: Path, command: str, message: Mapping[str, str]) -> Tree:
    connection = await Connection.open(str(path))
    try:
        return await connection.request(command, message)
    finally:
        connection.close()


async def _read(path: Path) -> list[Sa]:
    connection = await Connection.open(str(path))
    try:
        items = await connection.stream("list-sas", "list-sa")
    finally:
        connection.close()
    return sorted((sa for item in items for sa in swan.sas(item)), key=lambda sa: sa.unique_id)


class Moves:
    """Counts the moves of a charon's IKE SAs, by its event `ike-update`, until it is closed."""

    def __init__(self, path: Path, patience: float = 10.0) -> None:
        """Waits at most so many seconds until it listens."""
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._number = 0
        self._heard_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="moves", daemon=True)
        self._thread.start()
        self._ready.wait(patience)

    def count(self, patience: float = 5.0) -> int:
        """How many until now. Waits until none is on its way, at most so many seconds."""
        until = time.monotonic() + patience
        asked_at = time.monotonic()
        while time.monotonic() < min(until, max(asked_at, self._heard_at) + _QUIET):
            time.sleep(_QUIET / 10)
        return self._number

    def close(self) -> None:
        """Count no more."""
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)

    def _run(self) -> None:
        self._task = self._loop.create_task(self._watch())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    async def _watch(self) -> None:
        while True:
            try:
                await self._listen()
            except ViciError:
                # that charon died; the next one is listened to
                await asyncio.sleep(_RETRY)

    async def _listen(self) -> None:
        connection = await Connection.open(str(self._path))
        try:
            await connection.register("ike-update")
            self._ready.set()
            async for _ in connection.events():
                self._heard_at = time.monotonic()
                self._number += 1
        finally:
            connection.close()
