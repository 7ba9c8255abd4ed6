# SPDX-License-Identifier: Apache-2.0
"""Who is there: the peers of the configuration, and those that are taken out of it."""

from __future__ import annotations

from dataclasses import replace

from vici_mif.core.events import ConfigRead, Event, OrderGiven
from vici_mif.core.model import OrderKind
from vici_mif.core.peers.peer import Peer
from vici_mif.core.peers.retired import Retired
from vici_mif.core.requests import Request
from vici_mif.core.turn import Turn
from vici_mif.core.wish import budget
from vici_mif.core.wish.config import Config
from vici_mif.core.wish.numbers import Numbers

SOON = "no routing tables are free for it until a peer that was taken out is closed"
NEVER = "no routing tables are free for it until a restart"

ADMIT_DELAY = 0.01
"""Seconds until a peer that has got its tables takes its first look."""


class Roster:
    """Of one controller."""

    def __init__(self, config: Config, base: str) -> None:
        """`base`: the directory of the configuration, for files named relative to it."""
        self.peers: dict[str, Peer] = {}
        self._base = base
        self._numbers = Numbers(config.daemon.tables, config.daemon.rules)
        self._places = budget.Places(config.daemon.tables)
        self._retired = Retired()
        self.waiting: dict[str, str] = {}
        """Peers of the configuration for which no routing tables are free, and until when."""
        for name in config.connections:
            self._add(name, config)

    def _add(self, name: str, config: Config) -> bool:
        """False where no routing tables are free for it."""
        first = self._places.take(name, config.most_tunnels[name])
        if first is not None:
            wish, numbers = config.connections[name], self._numbers.of(first)
            self.peers[name] = Peer(name, wish, config.rank(name), numbers, self._base)
        return first is not None

    def configure(self, turn: Turn, event: ConfigRead) -> None:
        """Peers keep what they know; who is not in it any more is closed first."""
        before = dict(self.peers)
        self.peers.clear()
        for name in event.config.connections:
            if name in before:
                self.peers[name] = before.pop(name)
                self._reconfigure(turn, self.peers[name], event)
            else:
                self._add(name, event.config)
        for peer in before.values():
            peer.retired = True
        self.peers.update(before)
        self._retired.keep(turn, self.peers, event.given)
        self._wait(turn, event.config)

    def _wait(self, turn: Turn, config: Config) -> None:
        closing = any(peer.retired for peer in self.peers.values())
        missing = [name for name in config.connections if name not in self.peers]
        before, self.waiting = self.waiting, dict.fromkeys(missing, SOON if closing else NEVER)
        for name, why in self.waiting.items():
            if before.get(name) != why:
                turn.say(f"{name}: {why}", "info" if closing else "error")

    @staticmethod
    def _reconfigure(turn: Turn, peer: Peer, event: ConfigRead) -> None:
        name, config = peer.name, event.config
        peer.configure(turn, config.connections[name], config.rank(name))
        if name in event.renewed:
            peer.loading.renew(turn)

    def step(self, turn: Turn, config: Config) -> None:
        """Forget who was taken out, once nothing of him is left."""
        over = [name for name, peer in self.peers.items() if peer.is_over(turn)]
        for name in over:
            del self.peers[name]
            turn.world.orders = turn.world.orders.readmit([name])
            turn.book.drop_peer(name)
            self._places.leave(name)
            turn.say(f"{name}: no longer configured, and nothing of it is left")
        if over:
            self._admit(turn, config)
        self._retired.step(turn, self.peers)

    def _admit(self, turn: Turn, config: Config) -> None:
        """Who waited for the tables of those that are gone."""
        admitted = [name for name in self.waiting if self._add(name, config)]
        turn.world.orders = turn.world.orders.readmit(admitted)
        if admitted:
            turn.wake(turn.now + ADMIT_DELAY)
        self._wait(turn, config)

    def refuses(self, event: OrderGiven) -> str:
        """Why an order to a peer that waits cannot be taken; empty where it can."""
        why = "" if event.kind is OrderKind.DOWN else self.waiting.get(event.peer, "")
        return f"{event.peer} waits: {why}" if why else ""

    def addressed(self, event: OrderGiven) -> list[Event]:
        """The order for each of the peers that wait: they come up some day."""
        if event.kind is not OrderKind.DOWN:
            return []
        return [replace(event, peer=name) for name in self.waiting if event.peer in {"", name}]

    def ended(self, turn: Turn, request: Request) -> None:
        """A request that is none of a peer's who is there."""
        self._retired.ended(turn, request)

    def charon_gone(self, now: float) -> None:
        """And with it what was under way."""
        self._retired.charon_gone()
        for peer in self.peers.values():
            peer.charon_gone(now)
