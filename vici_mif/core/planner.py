# SPDX-License-Identifier: Apache-2.0
"""Three questions: what follows from this fact, when to look again, how does it stand.

Nothing else touches the planner's state. It reads no clock and does no IO: `now` is monotonic
seconds and comes with every fact.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from vici_mif.core import events as e
from vici_mif.core import outcome, report
from vici_mif.core.actions import Action, ReadAll
from vici_mif.core.byhand import progress
from vici_mif.core.changes import Changes, Said
from vici_mif.core.model import Footprint, OrderKind
from vici_mif.core.peers.peer import Peer
from vici_mif.core.peers.rivalry import Rivalry
from vici_mif.core.peers.roster import Roster
from vici_mif.core.peers.upkeep import Upkeep
from vici_mif.core.requests import Book, Request
from vici_mif.core.status import Clock, Status
from vici_mif.core.turn import Turn
from vici_mif.core.wish.config import Config
from vici_mif.core.world import World

STOP_DELAY = 5.0
"""Seconds for the last actions after Stopping."""

Outside = e.FootprintsRead | e.Woke | e.Stopping | e.ConfigRead
"""Facts of this host and its operator, not of charon."""


class Planner:
    """Facts in, actions out."""

    def __init__(self, config: Config, base: str = "") -> None:
        """`base`: the directory of the configuration, for files named relative to it."""
        self.config = config
        self.world = World(parts=config.parts)
        self._book = Book()
        self._roster = Roster(config, base)
        self._rivalry = Rivalry(self.peers)
        self._upkeep = Upkeep()
        self._changes = Changes()
        self._said = Said()
        self._now = 0.0
        self._wakes: list[float] = []
        self._stop_at: float | None = None

    @property
    def peers(self) -> dict[str, Peer]:
        """Those of the configuration, and those that are being closed."""
        return self._roster.peers

    @property
    def names(self) -> list[str]:
        """Of the peers, and of those that wait for routing tables."""
        return [*self.peers, *self._roster.waiting]

    # --- the three questions -------------------------------------------------

    def handle(self, event: e.Event, now: float) -> list[Action]:
        """What follows from a fact, in the order in which it must be begun."""
        self._now = now
        turn = Turn(self.world, self._book, now)
        self._take_in(turn, event)
        for tag in self._book.expired(now):
            self._failed(turn, e.ActionFailed(tag, "timeout", "no answer in time"))
        self._step(turn)
        self._wakes = turn.wakes
        return turn.actions

    def next_deadline(self) -> float | None:
        """When Ticked is due at the latest."""
        wakes = [at for at in self._wakes if at > self._now]
        book = self._book.next_deadline(self._now)
        return min([*wakes, *([book] if book is not None else [])], default=None)

    def refuses(self, event: e.OrderGiven | e.OrderCleared) -> str:
        """Why an order cannot be taken, for people; empty where it can."""
        if isinstance(event, e.OrderCleared):
            return progress.not_there(event, self.world.orders)
        if event.kind is OrderKind.REVOKE_IDENTITY:
            return "" if self.config.gateway else "the configuration has no gateway"
        asked = [p for name, p in self.peers.items() if event.peer in {"", name}]
        said = [peer.refuses(event) for peer in asked] or [self._roster.refuses(event)]
        return "" if "" in said else next(iter(said), "")

    @property
    def kept(self) -> bool:
        """What was ordered is written."""
        return self._upkeep.has("orders", self.world.orders.kept)

    def status(self, now: float, utc: datetime, config: str = "", since: str = "") -> Status:
        """How it stands; `config` and `since` are the shell's and come back in it."""
        clock = Clock(now, utc)
        daemon = report.daemon(self.world, self._book, config, since or clock.rfc3339(now))
        waiting = self._roster.waiting
        return report.status(daemon, self.peers.values(), waiting, self.world, self._book, clock)

    @property
    def said(self) -> str:
        """The state of each peer in a sentence, as it was logged last."""
        return self._said.all

    @property
    def stopped(self) -> bool:
        """After Stopping: nothing is left to do, or it takes too long."""
        if self._stop_at is None:
            return False
        return self._now >= self._stop_at or not self._unfinished()

    # --- taking in -----------------------------------------------------------

    def _take_in(self, turn: Turn, event: e.Event) -> None:
        for fact in self._each_peer(event):
            self.world.learn(fact, turn.now)
        match event:
            case e.CharonConnected() | e.CharonGone():
                self._charon_changed(turn)
            case e.SaRekeyed() | e.SaClosed():
                self._sa_changed(turn, event)
            case e.OrderGiven() | e.OrderCleared() | e.OrdersRead():
                self._orders_changed(event)
            case e.ActionTaken() | e.ActionDone() | e.ActionFailed():
                self._take_end(turn, event)
            case e.FootprintsRead() | e.Woke() | e.Stopping() | e.ConfigRead():
                self._from_outside(turn, event)
            case e.PathHealth() | e.DayBegan():
                self._health_told(turn, event)
            case (
                e.ConnectionsSeen() | e.SasSeen() | e.SaSeen() | e.SaGone() | e.LinksSeen()
                | e.NameResolved() | e.Ticked() | e.CloneRefused() | e.SourcesSeen()
                | e.MembersSeen() | e.NewcomersSeen()
            ):  # fmt: skip
                pass  # the step compares what was learned
            case _:
                assert_never(event)

    def _health_told(self, turn: Turn, event: e.PathHealth | e.DayBegan) -> None:
        for name, peer in self.peers.items():
            if isinstance(event, e.DayBegan):
                peer.paths.day_began()
            elif event.wish.peer == name:
                peer.probing.heard(turn, peer.paths, peer.moves, event)

    def _recall(self, footprints: tuple[Footprint, ...]) -> None:
        self._upkeep.footprints_are(footprints)
        for footprint in footprints:
            if footprint.peer in self.peers:
                self.peers[footprint.peer].recall(footprint)

    def _from_outside(self, turn: Turn, event: Outside) -> None:
        match event:
            case e.FootprintsRead(footprints):
                self._recall(footprints)
            case e.Woke():
                if self.world.charon is not None:
                    turn.ask(("read", ""), ReadAll)
            case e.Stopping():
                self._stop_at = self._stop_at or turn.now + STOP_DELAY
            case e.ConfigRead():
                self.config, self.world.parts = event.config, event.config.parts
                self._roster.configure(turn, event)
            case _:
                assert_never(event)

    def _each_peer(self, event: e.Event) -> list[e.Event]:
        """An order for all is one for each, so that one of them can be taken back."""
        if not isinstance(event, e.OrderGiven) or event.kind is OrderKind.REVOKE_IDENTITY:
            return [event]
        asked = [p for name, p in self.peers.items() if event.peer in {"", name}]
        waiting = self._roster.addressed(event)
        return [*(p.addressed(self.world, event) for p in asked if not p.refuses(event)), *waiting]

    def _sa_changed(self, turn: Turn, event: e.SaRekeyed | e.SaClosed) -> None:
        if isinstance(event, e.SaRekeyed):
            self._book.rename(event.old_id, event.new.unique_id)
            for peer in self.peers.values():
                peer.rekeyed(event.old_id, event.new.unique_id)
            return
        name = self.world.peer_of(event.sa.name)
        if name in self.peers and not self.world.orders.revokes_sa(name, event.sa):
            self.peers[name].closed(event.sa, turn.now, event.given)

    def _take_end(self, turn: Turn, event: e.ActionTaken | e.ActionDone | e.ActionFailed) -> None:
        match event:
            case e.ActionTaken():
                request = self._book.request(event.tag)
                if request is not None and (peer := self._peer(request)):
                    outcome.taken(peer, request, event)
            case e.ActionDone():
                self._done(turn, event)
            case e.ActionFailed():
                self._failed(turn, event)
            case _:
                assert_never(event)

    def _charon_changed(self, turn: Turn) -> None:
        self._book.drop_charon()
        self._roster.charon_gone(turn.now)

    def _orders_changed(self, event: e.OrderGiven | e.OrderCleared | e.OrdersRead) -> None:
        """Who asked by hand does not wait."""
        if isinstance(event, e.OrdersRead):
            self._upkeep.orders_are(event.orders)
            self.world.orders = self.world.orders.readmit(self.config.connections.keys())
        self._book.forgive(("orders", ""))
        for peer in self.peers:
            self._book.forgive(("auth", peer))

    def _peer(self, request: Request) -> Peer | None:
        return self.peers.get(str(request.key[1]))

    def _done(self, turn: Turn, event: e.ActionDone) -> None:
        request = self._book.end(event.tag)
        if request is None:
            return
        peer = self._peer(request)
        if self._upkeep.done(request):
            self._book.forgive(request.key)
        elif peer is not None:
            outcome.done(peer, turn, request, event)
        else:
            self._book.forgive(request.key)
            self._roster.ended(turn, request)

    def _failed(self, turn: Turn, event: e.ActionFailed) -> None:
        request = self._book.end(event.tag)
        if request is None:
            return
        peer = self._peer(request)
        if not self._book.failures(request.key):
            what = f"{type(request.action).__name__} failed: {event.text or event.reason}"
            turn.say(f"{outcome.about(peer, request.action)}: {what}" if peer else what, "warning")
        if peer is not None:
            outcome.failed(peer, turn, request, event.reason, event.text)
        else:
            self._book.fail(request.key, turn.now, event.reason, event.text)
            self._upkeep.failed(request)
            self._roster.ended(turn, request)

    # --- one step --------------------------------------------------------------

    def _step(self, turn: Turn) -> None:
        if self._stop_at is not None:
            turn.wake(self._stop_at)
        self._upkeep.store(turn)
        if self.world.known:
            self._step_peers(turn)
        elif self.world.charon is None and self.world.links and self._upkeep.begun:
            # inner sources stay refused, and the host's own traffic must live
            self._upkeep.ground(turn, self.peers, self._rivalry.order(turn))
        self._upkeep.watch(turn, self.peers.values())
        self._upkeep.store(turn)
        self._changes.step(turn, self.peers.values())
        self._said.step(turn, self.peers.values())

    def _step_peers(self, turn: Turn) -> None:
        for peer in self.peers.values():
            peer.stopping = self._stop_at is not None
            peer.observe(turn)
        self._rivalry.give_roles(turn)
        self._upkeep.ground(turn, self.peers, self._rivalry.order(turn))
        for peer in self.peers.values():
            peer.act(turn, self._upkeep.steady(self._book))
        self._roster.step(turn, self.config)

    def _unfinished(self) -> bool:
        """Something that stopping has to wait for."""
        kinds = ("unpin", "terminate", "steer", "guard", "orders")
        if any(self._book.about(kind) for kind in kinds):
            return True
        closing = [p for p in self.peers.values() if p.config.on_stop == "close"]
        alive = any(self.world.named(p.name) for p in closing)
        return alive or bool(closing and self._upkeep.steers)
