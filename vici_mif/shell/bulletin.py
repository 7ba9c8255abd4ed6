# SPDX-License-Identifier: Apache-2.0
"""The last things that happened, kept in memory for those who ask, and for those who wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable

from vici_mif.core.actions import Action
from vici_mif.core.events import Event
from vici_mif.core.notice import Notice
from vici_mif.core.teller import Teller
from vici_mif.edges.control import Answer, Question, refusal
from vici_mif.shell import clock

MOST = 1000
WAIT_DELAY = 5.0
"""Seconds after which who waits is answered with nothing, and asks again."""


class Bulletin:
    """Numbered from the controller's start; the oldest go."""

    def __init__(self, peers: Collection[str]) -> None:
        self._teller = Teller(peers)
        self._kept: deque[Notice] = deque(maxlen=MOST)
        self._number = 0
        self._run = clock.moment(clock.monotonic()).wall
        self._news = asyncio.Event()

    def step(self, event: Event, actions: Iterable[Action]) -> None:
        """One step."""
        self._add(self._teller.step(event, actions))

    def refused(self, what: str, why: str, peer: str = "") -> None:
        """What an operator asked for and did not get."""
        said = Notice(kind="refusal", peer=peer, level="warning", reason=why, text=f"{what}: {why}")
        self._add([said])

    def _add(self, notices: list[Notice]) -> None:
        for notice in notices:
            self._number += 1
            update = {"number": self._number, "at": clock.stamp()}
            self._kept.append(notice.model_copy(update=update))
        if notices:
            self._news.set()
            self._news = asyncio.Event()

    async def asked(self, question: Question) -> Answer:
        """The last ones, or all `after` a number of this `run`: soon, or when there is one."""
        peer, after, last = question.get("peer", ""), question.get("after"), question.get("last", 0)
        if not isinstance(last, int) or not isinstance(after, int | None):
            return refusal("'after' and 'last' are numbers")
        if after is None or question.get("run") != self._run:
            found = self._of(peer, 0)[-last:] if last > 0 else []
            return self._answer(found, missed=0)
        if after >= self._number:
            await self._wait()
        first = self._number - len(self._kept)
        return self._answer(self._of(peer, after), missed=max(0, first - after))

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(WAIT_DELAY):
                await self._news.wait()
        except TimeoutError:
            pass

    def _of(self, peer: str, after: int) -> list[Notice]:
        """What is about no peer is everybody's."""
        return [x for x in self._kept if x.number > after and (not peer or x.peer in {"", peer})]

    def _answer(self, found: Iterable[Notice], missed: int) -> Answer:
        events = [x.model_dump(mode="json", by_alias=True) for x in found]
        place = {"run": self._run, "next": self._number, "missed": missed}
        return {"ok": True, "events": events, **place}
