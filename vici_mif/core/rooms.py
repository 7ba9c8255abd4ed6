# SPDX-License-Identifier: Apache-2.0
"""All that decides: the planner, and the gateway's room beside it. One step of both is one line
of the journal."""

from __future__ import annotations

from vici_mif.core import events as e
from vici_mif.core.actions import Action
from vici_mif.core.gateway.gateway import Gateway
from vici_mif.core.planner import Planner
from vici_mif.core.wish.config import Config


class Rooms:
    """Facts in, actions out, as with each of them."""

    def __init__(self, config: Config, base: str = "") -> None:
        """`base`: the directory of the configuration, for files named relative to it."""
        self.planner = Planner(config, base)
        self.gateway = Gateway(config)

    def handle(self, event: e.Event, now: float) -> list[Action]:
        """The gateway takes what is its own; the planner hears of the rest."""
        left, wanted = self.gateway.handle(event, now)
        return wanted if left is None else [*wanted, *self.planner.handle(left, now)]

    def next_deadline(self) -> float | None:
        """When Ticked is due at the latest."""
        wanted = (self.planner.next_deadline(), self.gateway.next_deadline())
        return min((at for at in wanted if at is not None), default=None)

    @property
    def stopped(self) -> bool:
        """After Stopping: nothing is left to do, or it takes too long."""
        return self.planner.stopped and self.gateway.stopped
