# SPDX-License-Identifier: Apache-2.0
"""The daemon: one queue of facts, one place that decides, one task for each edge.

The loop is four steps: wait for a fact or for the planner's deadline, feed the planner,
begin what it wants, and again. Nothing else touches the planner.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vici_mif.core import events
from vici_mif.core.gateway import told
from vici_mif.core.gateway.sieve import Sieve
from vici_mif.core.model import Footprint, Link
from vici_mif.core.rooms import Rooms
from vici_mif.core.status import Clock, Status
from vici_mif.core.wish.config import Config, ConfigError
from vici_mif.edges import footprints, links, orders
from vici_mif.edges.charon import Charon
from vici_mif.edges.control import Answer, ControlServer, Question, refusal
from vici_mif.edges.files import FileError
from vici_mif.edges.guard import Guard, GuardError
from vici_mif.edges.journal import JournalFile
from vici_mif.edges.netlink import KernelError
from vici_mif.edges.prober import Prober
from vici_mif.edges.sources import Sources
from vici_mif.edges.steering import Range, Steerer
from vici_mif.shell import clock, questions, tasks, words
from vici_mif.shell.bulletin import Bulletin
from vici_mif.shell.configured import Configured
from vici_mif.shell.executor import Executor
from vici_mif.shell.exits import CONFIG
from vici_mif.shell.journal import Journal
from vici_mif.shell.log import Log
from vici_mif.shell.metrics import Metrics
from vici_mif.shell.notify import Health, Service
from vici_mif.shell.refresh import Refresh

STOP_DELAY = 10.0  # for the last actions after SIGTERM
SETTLE_DELAY = 2.0
HARMLESS = ("status", "orders", "events")
RETRY_DELAY = 1.0
ANSWER_DELAY = 60.0  # charon is asked every few seconds, and each question has an end


@dataclass(frozen=True)
class Settings:
    """Where this daemon finds its things."""

    config: Config
    config_path: str
    vici: str
    run_dir: Path
    state_dir: Path


class Daemon:
    """One controller in one network namespace."""

    def __init__(self, settings: Settings, log: Log) -> None:
        own = settings.config.daemon
        self._settings = settings
        self._log = log
        self._queue: asyncio.Queue[events.Event] = asyncio.Queue()
        base = str(Path(settings.config_path).resolve().parent)
        self._rooms = Rooms(settings.config, base)
        self._planner = self._rooms.planner
        self._sieve = Sieve(settings.config)
        kept = JournalFile(Path(own.journal)) if own.journal != "off" else None
        self._journal = Journal(kept, base, log)
        self._bulletin = Bulletin(settings.config.connections)
        self._charon = Charon(settings.vici, self._emit)
        self._steerer = Steerer(Range(own.tables, own.rules))
        self._guard = Guard()
        self._sources = Sources(self._emit)
        self._prober = Prober(self._emit)
        self._executor = Executor(
            self._charon,
            self._steerer,
            self._guard,
            self._sources,
            self._prober,
            settings.state_dir,
            self._emit,
            log,
        )
        self._configured = Configured(settings.config, settings.config_path)
        self._executor.hook.command = own.hooks.on_path_change or ()
        self._since = clock.stamp()
        self._sleep = clock.Sleep()
        self._stop_at: float | None = None
        self._mistake: BaseException | None = None
        self._fresh = Refresh(self._charon.refresh)
        self._day = clock.utc().date()
        self._noted: dict[str, str] = {}
        self._service = Service()
        self._metrics = own.metrics and Metrics(own.metrics, self._prober, self._scraped)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT and the planner's last actions."""
        server = ControlServer(
            self._settings.run_dir, self._settings.config.daemon.group, self.asked, HARMLESS
        )
        if warning := await server.start():
            self._log.say(warning, "warning")
        self._catch_signals()
        self._emit(events.OrdersRead(orders.read(self._settings.state_dir)))
        self._emit(events.FootprintsRead(self._footprints()))
        edges = [
            self._edge(self._charon.run()),
            self._edge(self._forever(lambda: links.watch(self._links))),
            self._edge(self._forever(self._steerer.watch)),
            self._edge(self._forever(self._guard.watch)),
            self._edge(self._forever(self._sources.watch)),
        ]
        if self._metrics:
            edges += [
                self._edge(self._metrics.watch_the_loop()),
                self._edge(self._forever(self._metrics.serve)),
            ]
        try:
            await self._loop()
        finally:
            self._service.stopping()
            await self._executor.settle(SETTLE_DELAY)
            await self._executor.hook.close()
            self._prober.close()
            await tasks.end(edges)
            await server.close()
            self._journal.close()

    def _footprints(self) -> tuple[Footprint, ...]:
        """Only a cache: what cannot be read is written anew."""
        try:
            return footprints.read(self._settings.state_dir)
        except (footprints.FootprintsError, FileError) as error:
            self._log.say(str(error), "warning")
            return ()

    def _emit(self, event: events.Event) -> None:
        if isinstance(event, events.SaClosed):
            event = replace(event, given=clock.stamp())
        self._queue.put_nowait(event)

    async def _links(self, found: tuple[Link, ...]) -> None:
        self._emit(events.LinksSeen(found))

    def _edge(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._edge_ended)
        return task

    def _edge_ended(self, task: asyncio.Task[None]) -> None:
        """An edge runs for ever: another end than ours is a mistake of ours."""
        if not task.cancelled():
            self._mistake = task.exception() or RuntimeError(f"{task} ended")
            self._emit(events.Ticked())  # the loop ends before it takes this in

    async def _forever(self, watch: Callable[[], Awaitable[None]]) -> None:
        """A watcher that the world ended is begun again."""
        said = ""
        while True:
            try:
                await watch()
            except (OSError, GuardError, KernelError) as error:
                if str(error) != said:
                    self._log.say(str(error), "warning")
                said = str(error)
            await asyncio.sleep(RETRY_DELAY)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._emit, events.Stopping())
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    # --- the loop --------------------------------------------------------------

    async def _loop(self) -> None:
        while not self._is_over():
            event = await self._next()
            if self._failure:
                break
            if (slept := self._sleep.noticed()) is not None:
                self._feed(events.Woke(slept))
            self._feed(event)
            self._look_at_the_day()
            self._service.round(clock.monotonic(), self._health())
            await asyncio.sleep(0)  # however many facts wait, who asks has his turn
        if self._failure:
            raise self._failure

    def _health(self) -> Health:
        """What systemd is told: a loop that goes round while an edge is stuck is not enough."""
        world, heard_at = self._planner.world, self._charon.heard_at
        explained = world.charon is None and bool(world.charon_why)
        heard = heard_at is not None and clock.monotonic() - heard_at < ANSWER_DELAY
        return Health(
            ready=world.known or (world.links is not None and explained),
            alive=explained or heard,
            status=self._said() or "waiting for charon and the links",
        )

    def _said(self) -> str:
        """How it stands, in one line."""
        gateway = told.sentence(self._rooms.gateway) if self._planner.world.known else ""
        return "; ".join(filter(None, [self._planner.said, gateway]))

    def _look_at_the_day(self) -> None:
        """What was counted until midnight belongs to the day before."""
        today = clock.utc().date()
        if today != self._day:
            self._day = today
            self._prober.report()
            self._emit(events.DayBegan(today.isoformat()))

    async def _next(self) -> events.Event:
        """The next fact, or that the deadline has come."""
        deadline = self._deadline()
        delay = None if deadline is None else max(0.0, deadline - clock.monotonic())
        try:
            async with asyncio.timeout(delay):
                return await self._queue.get()
        except TimeoutError:
            return events.Ticked()

    def _deadline(self) -> float | None:
        wanted = (self._rooms.next_deadline(), self._stop_at, self._service.next_deadline())
        return min([at for at in wanted if at is not None], default=None)

    def _feed(self, event: events.Event) -> None:
        try:
            self._decide(event)
        except Exception as error:
            self._mistake = error  # what was half done is not gone on with
            self._emit(events.Ticked())
            raise

    def _decide(self, event: events.Event) -> None:
        if isinstance(event, events.Stopping) and self._stop_at is None:
            self._stop_at = clock.monotonic() + STOP_DELAY
        now = clock.monotonic()
        for fact in self._sieve.facts(event, now):
            self._note(fact)
            wanted = self._journal.handle(self._rooms, fact, now)
            self._bulletin.step(fact, wanted)
            self._executor.begin(wanted)
        if self._metrics:
            self._metrics.step(event, self._planner.peers, self._planner.world, now)

    def _note(self, event: events.Event) -> None:
        """Each fact once: a look that found what was known is none."""
        if not self._log.verbose:
            return  # there may be thousands of IKE SAs in it
        said = words.event(event)
        if not isinstance(event, events.Ticked) and self._is_news(event, said):
            self._log.say(f"< {said}", "debug")

    def _is_news(self, event: events.Event, said: str) -> bool:
        """A fact that is told again and again counts when it says something else."""
        match event:
            case events.SasSeen():
                about = ""
            case events.PathHealth(wish):
                about = f"{wish.peer} {wish.path}"
            case _:
                return True
        before, self._noted[about] = self._noted.get(about), said
        return before != said

    @property
    def _failure(self) -> BaseException | None:
        """A mistake of ours: nothing follows from any fact after it."""
        return self._mistake or self._executor.failure

    def _is_over(self) -> bool:
        if self._failure:
            return True
        if self._stop_at is None:
            return False
        return self._rooms.stopped or clock.monotonic() >= self._stop_at

    # --- questions ---------------------------------------------------------------

    async def asked(self, question: Question) -> Answer:
        """What the control sockets were asked."""
        peer = question.get("peer", "")
        if not isinstance(peer, str):
            return refusal("'peer' is not a name")
        if self._failure:
            return refusal("the controller ends after a mistake of its own: see its log")
        if peer and peer not in self._planner.names:
            known = ", ".join(self._planner.names)
            return refusal(f"no peer '{peer}' in {self._settings.config_path}; known: {known}")
        match question["ask"]:
            case "status":
                await self._refresh()
                return self._status(peer)
            case "orders":
                return self._status(peer)
            case "events":
                return await self._bulletin.asked(question)
            case "reload":
                return self._reload()
            case _:
                return await self._ordered(question)

    async def _ordered(self, question: Question) -> Answer:
        """Taken in, and written down, before it is answered."""
        try:
            event = questions.order(question, clock.stamp())
        except ValueError as error:
            return refusal(str(error))
        if said := self._planner.refuses(event):
            self._bulletin.refused(question["ask"], said, event.peer)
            return refusal(said)
        self._feed_now(event)
        await asyncio.sleep(0)  # begun last, StoreOrders is carried out in the loop's next round
        self._take_in()
        return {"ok": True, "kept": self._planner.kept}

    def _reload(self) -> Answer:
        """Read the files again. Without a difference nothing at all follows."""
        self._service.reloading(clock.monotonic())
        try:
            up = [name for name, peer in self._planner.peers.items() if peer.tunnels]
            changed = self._configured.read(up)
            if changed:
                hooks = self._configured.config.daemon.hooks
                self._executor.hook.command = hooks.on_path_change or ()
                found = self._configured
                read = events.ConfigRead(found.config, clock.stamp(), found.renewed)
                self._feed_now(read)
            self._log.say("configuration read again: " + ("changed" if changed else "the same"))
            return {"ok": True, "changed": changed}
        except (ConfigError, FileError) as error:
            self._log.say(f"the configuration stays as it was:\n{error}", "error")
            self._bulletin.refused("reload", str(error))
            return refusal(str(error)) | {"exit": CONFIG}
        finally:
            self._service.reloaded()

    def _feed_now(self, event: events.Event) -> None:
        """Beside the loop, which then asks for the deadline anew."""
        self._feed(event)
        self._emit(events.Ticked())

    def _take_in(self) -> None:
        """All that was told so far."""
        while not self._queue.empty() and not self._failure:
            self._feed(self._queue.get_nowait())

    async def _refresh(self) -> None:
        """Fresh counters, and everything told so far taken into account."""
        await self._fresh.ask()
        self._prober.report()
        self._take_in()

    async def _scraped(self) -> Status:
        """For a scrape."""
        await self._refresh()
        return self._whole()

    def _status(self, peer: str) -> Answer:
        status = self._whole()
        return {"ok": True, "status": status.model_dump(mode="json", by_alias=True), "peer": peer}

    def _whole(self) -> Status:
        status = self._planner.status(
            clock.monotonic(), clock.utc(), self._settings.config_path, self._since
        ).restored(self._steerer.restored, self._guard.restored + self._sources.restored)
        at = Clock(clock.monotonic(), clock.utc())
        more = {
            "daemon": self._configured.shown(status.daemon),
            "gateway": told.gateway(self._rooms.gateway, self._sieve.counts, at),
        }
        return status.model_copy(update=more)
