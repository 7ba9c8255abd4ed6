# SPDX-License-Identifier: Apache-2.0
"""Runs the operator's commands beside the loop: one at a time, with the newest state.

A hook may be slow, fail, hang or fork: it is ended after a while with all of its process group,
what happened meanwhile is told as one change per path, and its failure is said once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterable
from contextlib import suppress

from vici_mif.core.status import PathChange
from vici_mif.shell import clock
from vici_mif.shell.log import Log

HOOK_DELAY = 10.0
"""Seconds one run may take."""

KEPT = ("PATH", "LANG", "LC_ALL", "TZ")
"""Of our own environment; secrets of inline connections may stand in it."""


class Hook:
    """`daemon.hooks.on_path_change`."""

    def __init__(self, log: Log, within: float = HOOK_DELAY) -> None:
        self.command: tuple[str, ...] = ()
        self._log = log
        self._within = within
        self._waiting: dict[tuple[str, str], PathChange] = {}
        self._task: asyncio.Task[None] | None = None
        self._said = False

    @property
    def runs(self) -> bool:
        return self._task is not None

    @property
    def waiting(self) -> int:
        """Changes that are still to be told."""
        return len(self._waiting)

    def tell(self, changes: Iterable[PathChange]) -> None:
        """Take note; never waits. Several changes of one path become one, or none."""
        for change in changes:
            key = (change.peer, change.path)
            earlier = self._waiting.pop(key, None)
            before = change.before if earlier is None else earlier.before
            if before != change.state:
                update = {"before": before, "at": clock.stamp()}
                self._waiting[key] = change.model_copy(update=update)
        if self._waiting and self._task is None:
            self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """End what runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        try:
            while self._waiting:
                change = self._waiting.pop(next(iter(self._waiting)))
                if self.command:
                    self._judge(await self._run(change))
        finally:
            self._task = None

    async def _run(self, change: PathChange) -> str:
        """What went wrong; empty where nothing did."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=PIPE,
                stdout=DEVNULL,
                env=environment(change),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return str(error)
        try:
            async with asyncio.timeout(self._within):
                await process.communicate(change.to_json().encode())
        except TimeoutError:
            return f"not finished within {self._within:g} s, ended"
        finally:
            await _end(process)
        return f"exit status {process.returncode}" if process.returncode else ""

    def _judge(self, fault: str) -> None:
        if fault and not self._said:
            # the program alone: its arguments may be passwords
            said = f"hook {self.command[0]}: {fault} (not said again until it works)"
            self._log.say(said, "warning")
        self._said = bool(fault)


def environment(change: PathChange) -> dict[str, str]:
    """VICI_MIF_PEER, _PATH, _STATE ...: the keys of the JSON, and of our own what is harmless."""
    values = change.model_dump(exclude={"schema_"})
    told = {f"VICI_MIF_{key.upper()}": str(value or "") for key, value in values.items()}
    return {key: os.environ[key] for key in KEPT if key in os.environ} | told


async def _end(process: Process) -> None:
    """The hook and what it has begun."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        await process.wait()
