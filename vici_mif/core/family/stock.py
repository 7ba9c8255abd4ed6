# SPDX-License-Identifier: Apache-2.0
"""A charon without the series: it is asked to bring its connection up; moving is its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial

from vici_mif.core.actions import Initiate, ReadSa
from vici_mif.core.family.authentication import AUTH_DELAY
from vici_mif.core.model import Sa
from vici_mif.core.requests import Key
from vici_mif.core.turn import Turn

INITIATE_DELAY = 30.0
"""Seconds after which a stock charon is asked again to bring its tunnel up."""

ANSWER_DELAY = 5.0
"""Seconds for the first answer of a peer before the next connection begins."""

NO_ANSWER = "no answer"
"""Why one is asked for again; not that charon did not take it."""


def bring_up(turn: Turn, peer: str, parts: Iterable[str], wanted: Collection[str]) -> None:
    """Once each, unless something of it is there. `parts`: its connections, equal ones would
    be merged. `wanted`: names of children, none: all.

    One connection after the other: of two at once each says INITIAL_CONTACT (RFC 7296, 2.4), and
    the gateway closes the first. One that nobody answers is not waited for, nor for ever one that
    does not come to its end.
    """
    for name in parts:
        known = (turn.world.connections or {}).get(name)
        children = [child.name for child in known.children] if known else []
        mine = [sa for sa in (turn.world.sas or {}).values() if sa.name == name and not sa.closing]
        keys: list[Key] = [("initiate", peer, name, child) for child in children]
        for key, child in zip(keys, children, strict=True):
            if not mine and (not wanted or child in wanted):
                turn.ask(key, partial(Initiate, connection=name, child=child))
        if mine and not any(sa.established for sa in mine):
            _look(turn, peer, name, mine)
        if _waits(turn, keys, mine):
            return


def _look(turn: Turn, peer: str, name: str, mine: Iterable[Sa]) -> None:
    """Of one that was never established charon tells no end."""
    key: Key = ("stale", peer, name)
    if turn.book.free(key, turn.now):
        turn.wake(turn.book.fail(key, turn.now, NO_ANSWER, delay=INITIATE_DELAY).retry_at)
        for sa in mine:
            turn.ask(("look", peer, sa.unique_id), partial(ReadSa, ike_id=sa.unique_id))


def _waits(turn: Turn, keys: Sequence[Key], mine: Sequence[Sa]) -> bool:
    """It is being authenticated, or was asked for so lately that it may still be answered."""
    if any(sa.established for sa in mine):
        for key in keys:
            turn.book.forgive(key)
        return False
    if any(map(turn.book.under_way, keys)):
        return True
    failures = (turn.book.failure(key) for key in keys)
    times = [f.retry_at - INITIATE_DELAY for f in failures if f and f.reason == NO_ANSWER]
    patience = AUTH_DELAY if any(sa.answered for sa in mine) else ANSWER_DELAY
    due_at = max(times, default=turn.now - patience) + patience
    turn.wake(due_at)
    return turn.now < due_at


def asked(turn: Turn, key: Key) -> None:
    """charon took it; what becomes of it the SAs tell."""
    turn.book.fail(key, turn.now, NO_ANSWER, delay=INITIATE_DELAY)
