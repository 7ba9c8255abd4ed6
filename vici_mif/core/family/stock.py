# SPDX-License-Identifier: Apache-2.0
"""A charon without the series: it is asked to bring its connection up; moving is its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

from vici_mif.core.actions import Initiate
from vici_mif.core.turn import Turn

INITIATE_DELAY = 30.0
"""Seconds after which a stock charon is asked again to bring its tunnel up."""


def bring_up(turn: Turn, peer: str, parts: Iterable[str], wanted: Collection[str]) -> None:
    """Once each, unless something of it is there. `parts`: its connections, equal ones would
    be merged. `wanted`: names of children, none: all.

    One connection after the other: of two at once each says INITIAL_CONTACT (RFC 7296, 2.4), and
    the gateway closes the first.
    """
    for name in parts:
        known = (turn.world.connections or {}).get(name)
        children = [child.name for child in known.children] if known else []
        mine = [sa for sa in (turn.world.sas or {}).values() if sa.name == name and not sa.closing]
        for child in children:
            key = ("initiate", peer, name, child)
            if mine:
                turn.book.forgive(key)
            elif not wanted or child in wanted:
                turn.ask(key, partial(Initiate, connection=name, child=child))
        under_way = any(turn.book.under_way(("initiate", peer, name, c)) for c in children)
        if under_way or (mine and not any(sa.established for sa in mine)):
            return
