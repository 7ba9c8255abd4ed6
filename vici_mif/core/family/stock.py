# SPDX-License-Identifier: Apache-2.0
"""A charon without the series: it is asked to bring its connection up; moving is its own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from vici_mif.core.actions import Initiate
from vici_mif.core.model import ChildTemplate
from vici_mif.core.turn import Turn

INITIATE_DELAY = 30.0
"""Seconds after which a stock charon is asked again to bring its tunnel up."""


def bring_up(turn: Turn, peer: str, templates: Iterable[ChildTemplate]) -> None:
    """Once, unless something of it is there."""
    alive = any(not sa.closing for sa in turn.world.named(peer))
    for template in templates:
        key = ("initiate", peer, template.name)
        if alive:
            turn.book.forgive(key)
        else:
            turn.ask(key, partial(Initiate, connection=peer, child=template.name))
