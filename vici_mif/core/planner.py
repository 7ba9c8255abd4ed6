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
from vici_mif.core.actions import (
    Action,
    Guard,
    KeepFootprints,
    ReadAll,
    Steer,
    StoreOrders,
    Watch,
)
from vici_mif.core.byhand import progress
from vici_mif.core.changes import Changes
from vici_mif.core.ground import dataplane
from vici_mif.core.model import Footprint, GuardWish, Order, OrderKind, ProbeWish, Steering
from vici_mif.core.peers.peer import Peer
from vici_mif.core.peers.retired import Retired
from vici_mif.core.peers.rivalry import Rivalry
from vici_mif.core.requests import Book, Request
from vici_mif.core.status import Clock, Status
from vici_mif.core.turn import Turn
from vici_mif.core.wish import budget
from vici_mif.core.wish.config import Config, ConnectionConfig
from vici_mif.core.wish.numbers import Numbers
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
        self._base = base
        self._numbers = Numbers(config.daemon.tables, config.daemon.rules)
        self.peers: dict[str, Peer] = {}
        self._places = budget.Places(config.daemon.tables)
        for name, wish in config.connections.items():
            self._add(name, wish)
        self._rivalry = Rivalry(self.peers)
        self._retired = Retired()
        self._changes = Changes()
        self._steering: Steering | None = None
        self._guard: GuardWish | None = None
        self._guarded = False
        self._watched: tuple[ProbeWish, ...] = ()
        self._stored: tuple[Order, ...] = ()
        self._footprints: tuple[Footprint, ...] = ()
        self._said: dict[str, str] = {}
        self._now = 0.0
        self._wakes: list[float] = []
        self._stop_at: float | None = None

    def _add(self, name: str, wish: ConnectionConfig) -> bool:
        """False where no routing tables are free for it."""
        first = self._places.take(name, self.config.most_tunnels[name])
        if first is not None:
            numbers = self._numbers.of(first)
            self.peers[name] = Peer(name, wish, self.config.rank(name), numbers, self._base)
        return first is not None

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
        said = [peer.refuses(event) for peer in asked]
        return "" if "" in said else next(iter(said), "")

    @property
    def kept(self) -> bool:
        """What was ordered is written."""
        return self.world.orders.kept == self._stored

    def status(self, now: float, utc: datetime, config: str = "", since: str = "") -> Status:
        """How it stands; `config` and `since` are the shell's and come back in it."""
        clock = Clock(now, utc)
        daemon = report.daemon(self.world, self._book, config, since or clock.rfc3339(now))
        return report.status(daemon, self.peers.values(), self.world, self._book, clock)

    @property
    def said(self) -> str:
        """The state of each peer in a sentence, as it was logged last."""
        return "; ".join(self._said.values())

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
        self._footprints = footprints
        for footprint in footprints:
            if footprint.peer in self.peers:
                self.peers[footprint.peer].recall(footprint)

    def _configure(self, turn: Turn, event: e.ConfigRead) -> None:
        """Peers keep what they know; who is not in it any more is closed first."""
        self.config, before = event.config, dict(self.peers)
        self.world.parts = event.config.parts
        self.peers.clear()
        for name, wish in event.config.connections.items():
            peer = before.pop(name, None)
            if peer is not None:
                self.peers[name] = peer
                peer.configure(turn, wish, event.config.rank(name))
                if name in event.renewed:
                    peer.loading.renew(turn)
            elif not self._add(name, wish):
                turn.say(f"{name}: no routing tables are free for it until a restart", "error")
        for peer in before.values():
            peer.retired = True
        self.peers.update(before)
        self._retired.keep(turn, self.peers, event.given)

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
                self._configure(turn, event)
            case _:
                assert_never(event)

    def _each_peer(self, event: e.Event) -> list[e.Event]:
        """An order for all is one for each, so that one of them can be taken back."""
        if not isinstance(event, e.OrderGiven) or event.kind is OrderKind.REVOKE_IDENTITY:
            return [event]
        asked = [p for name, p in self.peers.items() if event.peer in {"", name}]
        return [p.addressed(self.world, event) for p in asked if not p.refuses(event)]

    def _sa_changed(self, turn: Turn, event: e.SaRekeyed | e.SaClosed) -> None:
        if isinstance(event, e.SaRekeyed):
            self._book.rename(event.old_id, event.new.unique_id)
            for peer in self.peers.values():
                peer.rekeyed(event.old_id, event.new.unique_id)
            return
        name = self.world.peer_of(event.sa.name)
        if name in self.peers and not self.world.orders.revokes_sa(name, event.sa):
            self.peers[name].closing.closed(event.sa, turn.now, event.given)

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
        self._retired.charon_gone()
        for peer in self.peers.values():
            peer.charon_gone(turn.now)

    def _orders_changed(self, event: e.OrderGiven | e.OrderCleared | e.OrdersRead) -> None:
        """Who asked by hand does not wait."""
        if isinstance(event, e.OrdersRead):
            self._stored = event.orders
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
        match request.action:
            case Steer(_, wish):
                self._steering = wish
                self._book.forgive(request.key)
            case Guard(_, wish):
                self._guard, self._guarded = wish, True
                self._book.forgive(request.key)
            case Watch(_, watched):
                self._watched = watched
                self._book.forgive(request.key)
            case StoreOrders(_, orders):
                self._stored = orders
                self._book.forgive(request.key)
            case KeepFootprints(_, footprints):
                self._footprints = footprints
                self._book.forgive(request.key)
            case _ if peer := self._peer(request):
                outcome.done(peer, turn, request, event)
            case _:
                self._book.forgive(request.key)
                self._retired.ended(turn, request)

    def _failed(self, turn: Turn, event: e.ActionFailed) -> None:
        request = self._book.end(event.tag)
        if request is None:
            return
        if not self._book.failures(request.key):
            kind = type(request.action).__name__
            turn.say(f"{kind} failed: {event.text or event.reason}", "warning")
        peer = self._peer(request)
        if peer is not None:
            outcome.failed(peer, turn, request, event.reason, event.text)
        else:
            self._book.fail(request.key, turn.now, event.reason, event.text)
            self._retired.ended(turn, request)

    # --- one step --------------------------------------------------------------

    def _step(self, turn: Turn) -> None:
        if self._stop_at is not None:
            turn.wake(self._stop_at)
        self._store(turn)
        if not self.world.known:
            self._ground_without_charon(turn)
            self._watch(turn)
            self._tell(turn)
            return
        for peer in self.peers.values():
            peer.stopping = self._stop_at is not None
            peer.observe(turn)
        self._rivalry.give_roles(turn)
        self._ground(turn)
        for peer in self.peers.values():
            peer.act(turn, self._steady)
        self._forget(turn)
        self._retired.step(turn, self.peers)
        self._watch(turn)
        self._store(turn)
        self._tell(turn)

    def _forget(self, turn: Turn) -> None:
        """Peers that were taken out of the configuration, once nothing of them is left."""
        for name in [name for name, peer in self.peers.items() if peer.is_over(turn)]:
            del self.peers[name]
            self.world.orders = self.world.orders.readmit([name])
            self._said.pop(name, None)
            self._book.drop_peer(name)
            self._places.leave(name)
            turn.say(f"{name}: no longer configured, and nothing of it is left")

    def _store(self, turn: Turn) -> None:
        """Before what follows from an order is begun, and until it is written."""
        orders = self.world.orders.kept
        if orders != self._stored:
            turn.ask(("orders", ""), lambda tag: StoreOrders(tag, orders))

    def _watch(self, turn: Turn) -> None:
        """After the moves: a tunnel that is under way is not measured."""
        wish = tuple(
            wish
            for peer in self.peers.values()
            for wish in peer.probing.wish(turn, peer.shape, peer.tunnels, peer.paths, peer.moves)
        )
        if wish != self._watched:
            turn.ask(("watch", ""), lambda tag: Watch(tag, wish))

    def _ground_without_charon(self, turn: Turn) -> None:
        """It went: inner sources stay refused, and the host's own traffic must live."""
        if self.world.charon is None and self._steering is not None and self.world.links:
            self._ground(turn)

    def _ground(self, turn: Turn) -> None:
        """The kernel first: rules for a link before anything leaves by it.

        Also an empty wish is said once: a killed predecessor may have left something.
        """
        order = self._rivalry.order(turn)
        wish = dataplane.join([peer.steering(turn) for peer in order])
        if wish != self._steering:
            turn.ask(("steer", ""), lambda tag: Steer(tag, wish))
        guard = dataplane.join_guards(peer.guard(turn) for peer in order)
        if guard != self._guard or not self._guarded:
            turn.ask(("guard", ""), lambda tag: Guard(tag, guard))
        left = tuple(f for peer in self.peers.values() if (f := peer.footprint(turn)))
        if left != self._footprints:
            turn.ask(("footprints", ""), lambda tag: KeepFootprints(tag, left))

    @property
    def _steady(self) -> bool:
        """Nothing of the kernel is under way. A failed attempt holds nobody up."""
        return not self._book.about("steer") and not self._book.about("guard")

    def _unfinished(self) -> bool:
        """Something that stopping has to wait for."""
        kinds = ("unpin", "terminate", "steer", "guard", "orders")
        if any(self._book.about(kind) for kind in kinds):
            return True
        closing = [p for p in self.peers.values() if p.config.on_stop == "close"]
        alive = any(self.world.named(p.name) for p in closing)
        return alive or bool(closing and self._steering not in (None, Steering()))

    def _tell(self, turn: Turn) -> None:
        """Say each change of state once, in the words of `status`."""
        self._changes.step(turn, self.peers.values())
        if not self.world.known and not self.world.charon_why:
            return
        for name, peer in self.peers.items():
            it = report.standing(peer, self.world, self._book)
            said = f"{name}: {it.state}" + (f": {it.why}" if it.why else "")
            if self._said.get(name) != said:
                self._said[name] = said
                turn.say(said, "warning" if it.is_trouble else "info")
