# SPDX-License-Identifier: Apache-2.0
"""Carries out the planner's actions: each is handed to its edge, and its end becomes a fact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from vici_mif.core import actions, events
from vici_mif.core.actions import Action
from vici_mif.edges import files, footprints, names, orders
from vici_mif.edges.charon import Charon
from vici_mif.edges.guard import Guard, GuardError
from vici_mif.edges.netlink import KernelError
from vici_mif.edges.prober import Prober
from vici_mif.edges.sources import Sources
from vici_mif.edges.steering import Steerer
from vici_mif.shell import material, words
from vici_mif.shell.hooks import Hook
from vici_mif.shell.log import Log

Emit = Callable[[events.Event], None]
InKernel = actions.Steer | actions.Guard | actions.CheckSources | actions.Watch

FAULTS = (KernelError, GuardError, files.FileError, names.NameFailed, OSError)
"""What the world may do to us; anything else is our own mistake and ends the process."""


class Executor:
    """One task for each action under way."""

    def __init__(
        self,
        charon: Charon,
        steerer: Steerer,
        guard: Guard,
        sources: Sources,
        prober: Prober,
        state_dir: Path,
        emit: Emit,
        log: Log,
    ) -> None:
        self.hook = Hook(log)
        self._charon = charon
        self._steerer = steerer
        self._guard = guard
        self._sources = sources
        self._prober = prober
        self._state_dir = state_dir
        self._emit = emit
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, wanted: Iterable[Action]) -> None:
        """Begin all in their order. What concerns one SA, or the kernel, also ends in it."""
        for action in wanted:
            if isinstance(action, actions.Say):
                self._log.say(action.text, action.level)
                continue
            for line in words.action(action) if self._log.verbose else ():
                self._log.say(f"> {line}", "debug")
            if isinstance(action, actions.PathsChanged):
                self.hook.tell(action.changes)
                continue
            self._start(self._run(action))

    @property
    def failure(self) -> BaseException | None:
        """A mistake of ours in one of the tasks."""
        return self._mistake

    _mistake: BaseException | None = None

    async def settle(self, within: float) -> None:
        """Wait for what is under way."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=within)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._mistake = task.exception()
            self._emit(events.Ticked())  # who waits for facts looks at the failure

    async def _run(self, action: Action) -> None:
        try:
            await self._carry_out(action)
        except FAULTS as error:
            self._emit(events.ActionFailed(action.tag, "failed", str(error)))

    async def _carry_out(self, action: Action) -> None:
        match action:
            case actions.LoadConnection():
                await self._charon.execute(material.connection(action))
            case actions.LoadSecret():
                await self._charon.execute(material.secret(action))
            case actions.Steer() | actions.Guard() | actions.CheckSources() | actions.Watch():
                await self._in_kernel(action)
                self._done(action)
            case actions.Resolve():
                await self._resolve(action)
            case actions.StoreOrders():
                orders.write(self._state_dir, action.orders)
                self._done(action)
            case actions.KeepFootprints():
                footprints.write(self._state_dir, action.footprints)
                self._done(action)
            case actions.Say() | actions.PathsChanged():
                pass
            case _:
                await self._charon.execute(action)

    async def _in_kernel(self, action: InKernel) -> None:
        match action:
            case actions.Steer():
                for sentence in await self._steerer.apply(action.wish):
                    self._log.say(f"waiting: {sentence}", "debug")
            case actions.Guard():
                await self._guard.apply(action.wish)
            case actions.CheckSources():
                await self._sources.change(action.change)
            case actions.Watch():
                self._prober.apply(action.wish)

    def _done(self, action: Action) -> None:
        self._emit(events.ActionDone(action.tag))

    async def _resolve(self, action: actions.Resolve) -> None:
        self._emit(events.NameResolved(action.name, await names.resolve(action.name)))
        self._done(action)
