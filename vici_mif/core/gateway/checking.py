# SPDX-License-Identifier: Apache-2.0
"""The outer source check: whose ESP comes from where, and who is refused.

An SPI from a new address passes. The peer is then asked where it is known to be; only if it
answers from there, and nothing made the new address known within the grace, it is refused for a
while. Forged packets can make us ask, never stop a peer that moves: what is not certain passes.
"""

from __future__ import annotations

from dataclasses import dataclass

from vici_mif.core.actions import AskPeer, CheckSources, ReadSa
from vici_mif.core.events import NewcomersSeen
from vici_mif.core.gateway.families import Families
from vici_mif.core.model import Source, SourceChange, SourceCheck
from vici_mif.core.requests import Key
from vici_mif.core.turn import Turn

GRACE = 2.0
"""Seconds in which a move to a new address may become known."""

REFUSE_DELAY = 30.0
"""Seconds for which an address is refused."""

RENEW_DELAY = 20.0
"""Seconds after which it is looked at again, if it still sends."""

MOST_ASKED = 16
"""Peers that are asked at a time: forged packets must not make us flood."""

MOST_REFUSED = 1024

JUDGE_DELAY = 0.5
"""Seconds between two judgements: there may be thousands of newcomers."""


@dataclass(slots=True)
class Newcomer:
    """An address that is new for an SPI, and sends."""

    since_at: float
    answered_at: float | None = None
    """When the peer answered from where it is known to be, after this one was seen."""


class Checking:
    """Holds what was seen, what is refused, and what the kernel has."""

    def __init__(self, mode: SourceCheck) -> None:
        self.mode = mode
        self.why = ""
        """Why it is not in force."""
        self._newcomers: dict[Source, Newcomer] = {}
        self._refused: dict[Source, float] = {}
        """Until when."""
        self._turned = 0
        """Changes with who is refused."""
        self._judge_at = 0.0
        self._applied: tuple[object, ...] = (False,)
        self._asked: tuple[object, ...] = (False,)
        self._laid: frozenset[Source] | None = None
        """The sources that the kernel was told; None: it has to be told all."""

    @property
    def refused(self) -> int:
        """Addresses that are refused now."""
        return len(self._refused)

    # --- facts --------------------------------------------------------------------

    def learn(self, seen: NewcomersSeen, now: float) -> None:
        """The kernel's memory is bounded, and so is this one."""
        for source in seen.ceased:
            self._newcomers.pop(source, None)
        for source, age in seen.began:
            self._newcomers[source] = Newcomer(now - age)

    def answered(self, turn: Turn, ike_id: int) -> None:
        """Before that counts, look where charon has the peer: it may just have moved."""
        turn.ask(("confirm", ike_id), lambda tag: ReadSa(tag, ike_id))

    def confirmed(self, families: Families, ike_id: int, now: float) -> None:
        """The peer answered from where it is known to be."""
        for source in self._newcomers:
            if _member(families, source) == ike_id:
                self._newcomers[source].answered_at = now

    def applied(self) -> None:
        self._applied, self.why = self._asked, ""

    def broken(self, turn: Turn, text: str, *, first: bool) -> None:
        self.why, self._laid = text, None
        if first:
            turn.say(f"gateway: sources are not checked: {text}", "error")

    # --- what follows ---------------------------------------------------------------

    def act(self, turn: Turn, families: Families, *, stopping: bool) -> None:
        on = self.mode != "off" and bool(families.connections) and not stopping
        if on and turn.world.charon is not None:
            self._judge(turn, families)
        self._apply(turn, families, on=on)

    def _judge(self, turn: Turn, families: Families) -> None:
        if not self._newcomers and not self._refused:
            return
        if turn.now >= self._judge_at:
            self._judge_at = turn.now + JUDGE_DELAY
            self._pardon(turn, families)
            for source, newcomer in self._newcomers.items():
                if _strange(families, source):
                    self._judge_one(turn, families, source, newcomer)
        turn.wake(self._judge_at)

    def _pardon(self, turn: Turn, families: Families) -> None:
        """Its time is over, or the peer is there now."""
        over = [s for s, at in self._refused.items() if at <= turn.now or not _strange(families, s)]
        for source in over:
            del self._refused[source]
        self._turned += bool(over)

    def _judge_one(
        self, turn: Turn, families: Families, source: Source, newcomer: Newcomer
    ) -> None:
        until = self._refused.get(source)
        if until is not None and until - turn.now > REFUSE_DELAY - RENEW_DELAY:
            return
        asked_for = max(newcomer.since_at, until - REFUSE_DELAY + RENEW_DELAY if until else 0.0)
        if newcomer.answered_at is None or newcomer.answered_at < asked_for:
            self._ask(turn, families, source)
        elif newcomer.since_at + GRACE <= turn.now:
            self._refuse(turn, families, source)

    def _ask(self, turn: Turn, families: Families, source: Source) -> None:
        ike_id = _member(families, source)
        sa = families.sa(ike_id) if ike_id is not None else None
        if sa is None or not turn.world.patched or len(turn.book.about("newcomer")) >= MOST_ASKED:
            return
        key: Key = ("newcomer", sa.unique_id)
        turn.ask(key, lambda tag: AskPeer(tag, sa.unique_id, sa.local, tries=2))

    def _refuse(self, turn: Turn, families: Families, source: Source) -> None:
        if source not in self._refused:
            if len(self._refused) >= MOST_REFUSED:
                return
            ike_id = _member(families, source)
            family = families.of(ike_id) if ike_id is not None else None
            name = family.identity if family else ""
            act = "dropped" if self.mode == "drop" else "counted"
            turn.say(
                f"gateway: ESP of {name}, {source}, is {act}: the peer is elsewhere", "warning"
            )
        self._turned += 1  # also where it is renewed: the kernel forgets it
        self._refused[source] = turn.now + REFUSE_DELAY

    def _apply(self, turn: Turn, families: Families, *, on: bool) -> None:
        if on and turn.world.charon is None:
            return  # what is known of the charon that went stands until there is another
        state = (on, self.mode, families.version, self._turned) if on else (False,)
        if state == self._applied:
            return
        if turn.ask(("sources",), lambda tag: CheckSources(tag, self._change(families, on))):
            self._asked = state

    def _change(self, families: Families, on: bool) -> SourceChange | None:
        """From what the kernel was told last."""
        before, self._laid = self._laid, frozenset(families.sources) if on else None
        if self._laid is None:
            return None
        return SourceChange(
            drop=self.mode == "drop",
            ports=families.ports,
            refused=frozenset(self._refused) - self._laid,
            more=self._laid - (before or frozenset()),
            fewer=(before or frozenset()) - self._laid,
            whole=before is None,
        )


def _member(families: Families, source: Source) -> int | None:
    """The IKE_SA an SPI belongs to."""
    return families.spis.get(source.spi)


def _strange(families: Families, source: Source) -> bool:
    """Not where the family is, was lately, or said it could be."""
    ike_id = _member(families, source)
    family = families.of(ike_id) if ike_id is not None else None
    return family is not None and source.address not in family.addresses
