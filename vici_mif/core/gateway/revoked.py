# SPDX-License-Identifier: Apache-2.0
"""Identities an operator revoked: what they have is closed, and what they make again too.

It holds until it is taken back. Who still has a secret or a certificate that the gateway accepts
authenticates, and is closed as soon as it is seen.
"""

from __future__ import annotations

from functools import partial

from vici_mif.core.actions import Terminate
from vici_mif.core.gateway.families import Families, Family
from vici_mif.core.model import OrderKind
from vici_mif.core.requests import Key
from vici_mif.core.turn import Turn


class Revoked:
    """Looks only at what is new, unless the orders changed."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._fresh: dict[int, None] = {}
        """In the order in which they came."""
        self._all = True

    def look_at(self, unique_id: int) -> None:
        """It was made, or changed."""
        self._fresh[unique_id] = None

    def forget(self) -> None:
        """Look at everything again."""
        self._all = True

    def act(self, turn: Turn, families: Families) -> None:
        """Close without waiting for an answer: the peer may be hostile."""
        kept = turn.world.orders.kept
        names = frozenset(o.identity for o in kept if o.kind is OrderKind.REVOKE_IDENTITY)
        everybody = self._all or names != self._names
        self._names, self._all = names, False
        fresh, self._fresh = self._fresh, {}
        if not names:
            return
        found = families.all() if everybody else map(families.of, fresh)
        for family in [f for f in found if f is not None and any(map(f.is_called, names))]:
            self._close(turn, family)

    def _close(self, turn: Turn, family: Family) -> None:
        for ike_id in family.members:
            key: Key = ("revoked", ike_id)
            turn.ask(key, partial(Terminate, ike_id=ike_id, force=True))
            self._fresh[ike_id] = None  # until it is gone
