# SPDX-License-Identifier: Apache-2.0
"""The gateway's room: its part of the facts in, what is to be done about its peers out.

It stands beside the planner, with a book of its own: facts about thousands of families are none of
the planner's business. What peers do with their IKE_SAs is theirs: nothing here moves, clones or
opens one.
"""

from __future__ import annotations

from typing import Final

from vici_mif.core import events as e
from vici_mif.core.actions import Action, ReadAll
from vici_mif.core.gateway.checking import Checking
from vici_mif.core.gateway.families import Families
from vici_mif.core.gateway.orphans import Orphans
from vici_mif.core.gateway.revoked import Revoked
from vici_mif.core.requests import Book, Request
from vici_mif.core.turn import Turn
from vici_mif.core.wish.config import Config
from vici_mif.core.world import World

PREFIX: Final = "gate"
"""Of the tags of what is asked for here."""

CLOSE_DELAY = 5.0
"""Seconds in which an IKE_SA is gone after charon was asked to close it."""


class Gateway:
    """Facts in, actions out, as with the planner."""

    def __init__(self, config: Config) -> None:
        self.config = config.gateway
        self.families = Families(self.config.connections if self.config else ())
        self.checking = Checking(self.config.source_check if self.config else "off")
        self.orphans = Orphans()
        self.revoked = Revoked()
        self._world = World()
        self._book = Book(PREFIX)
        self._now = 0.0
        self._wakes: list[float] = []
        self._stopping = False

    # --- questions ------------------------------------------------------------------

    def handle(self, event: e.Event, now: float) -> tuple[e.Event | None, list[Action]]:
        """What is left of a fact for the planner, and what follows from the gateway's part."""
        self._now = now
        turn = Turn(self._world, self._book, now)
        left = self._learn(turn, event)
        for tag in self._book.expired(now):
            self._failed(turn, e.ActionFailed(tag, "timeout", "no answer in time"))
        self._act(turn)
        self._wakes = turn.wakes
        return left, turn.actions

    def next_deadline(self) -> float | None:
        """When Ticked is due at the latest."""
        book = self._book.next_deadline(self._now)
        wakes = [at for at in self._wakes if at > self._now]
        return min([*wakes, *([book] if book is not None else [])], default=None)

    @property
    def stopped(self) -> bool:
        """After Stopping: the kernel has nothing of the gateway's any more."""
        return not self._book.about("sources")

    # --- facts ----------------------------------------------------------------------

    def _learn(self, turn: Turn, event: e.Event) -> e.Event | None:
        """Take what is the gateway's; the planner hears of everything else."""
        match event:
            case e.MembersSeen():
                self._learn_members(turn, event)
            case e.NewcomersSeen():
                self.checking.learn(event, turn.now)
            case e.CloneRefused(unique_id) if family := self.families.of(unique_id):
                turn.say(f"gateway: a clone for {family.identity} was refused: {event.reason}")
            case e.ActionTaken() | e.ActionDone() | e.ActionFailed() if _is_ours(event.tag):
                self._ended(turn, event)
            case _:
                self._learn_world(turn, event)
                return event
        return None

    def _learn_members(self, turn: Turn, fact: e.MembersSeen) -> None:
        """A rekeyed one is placed before the old one goes: the family is the same."""
        for old_id, new_id in fact.rekeyed:
            turn.book.rename(old_id, new_id)
        for sa in fact.seen:
            self.families.see(sa, turn.now)
            self.revoked.look_at(sa.unique_id)
        for unique_id in (*(old_id for old_id, _ in fact.rekeyed), *fact.gone):
            self.families.gone(unique_id)
        if fact.quiet is not None:
            self.orphans.looked(fact.quiet, turn.now)
            self.revoked.forget()

    def _learn_world(self, turn: Turn, event: e.Event) -> None:
        """Facts that concern everybody."""
        if not isinstance(event, e.SasSeen | e.SaSeen):
            self._world.learn(event, turn.now)
        match event:
            case e.CharonConnected() | e.CharonGone():
                self._book.drop_charon()
                self.families.clear()
                self.orphans.forget()
                self.revoked.forget()
            case e.ConfigRead(config):
                self._configure(turn, config)
            case e.Stopping():
                self._stopping = True
            case _:
                pass

    def _configure(self, turn: Turn, config: Config) -> None:
        """Families are found again by reading everything, where other connections are meant."""
        self.config = config.gateway
        self.checking.mode = self.config.source_check if self.config else "off"
        names = frozenset(self.config.connections if self.config else ())
        if names != self.families.connections:
            self.families.clear()
            self.families.connections = names
            self.revoked.forget()
            turn.ask(("read",), ReadAll)

    # --- ends of requests -------------------------------------------------------------

    def _ended(self, turn: Turn, event: e.ActionTaken | e.ActionDone | e.ActionFailed) -> None:
        if isinstance(event, e.ActionFailed):
            self._failed(turn, event)
        elif isinstance(event, e.ActionDone) and (request := self._book.end(event.tag)):
            self._done(turn, request)

    def _done(self, turn: Turn, request: Request) -> None:
        self._book.forgive(request.key)
        match request.key:
            case ("revoked", *_):  # taken; what is still there after a while is asked anew
                self._book.fail(request.key, turn.now, "closing", delay=CLOSE_DELAY)
            case ("sources",):
                self.checking.applied()
            case ("newcomer", int(ike_id)):
                self.checking.answered(turn, ike_id)
            case ("confirm", int(ike_id)):
                self.checking.confirmed(self.families, ike_id, turn.now)
            case ("mute", int(ike_id)):
                self.orphans.answered(ike_id)
            case _:
                pass

    def _failed(self, turn: Turn, event: e.ActionFailed) -> None:
        request = self._book.end(event.tag)
        if request is None:
            return
        failure = self._book.fail(request.key, turn.now, event.reason, event.text)
        match request.key:
            case ("sources",):
                self.checking.broken(turn, event.text, first=failure.count == 1)
            case _:
                pass

    # --- what follows ---------------------------------------------------------------

    def _act(self, turn: Turn) -> None:
        if self._world.charon is not None and not self._stopping:
            self.revoked.act(turn, self.families)
            self.orphans.act(turn, self.families)
        self.checking.act(turn, self.families, stopping=self._stopping)


def _is_ours(tag: str) -> bool:
    return tag.startswith(f"{PREFIX}-")
