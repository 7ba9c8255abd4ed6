# SPDX-License-Identifier: Apache-2.0
"""One turn of the planner: what may be looked at, what was asked for, when to look again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vici_mif.core.actions import Action, Say
from vici_mif.core.requests import LIMIT_DELAY, Book, Key
from vici_mif.core.world import World


@dataclass(slots=True)
class Turn:
    """Lives for one event."""

    world: World
    book: Book
    now: float
    actions: list[Action] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)

    def ask(
        self, key: Key, make: Callable[[str], Action], limit_delay: float = LIMIT_DELAY
    ) -> bool:
        """Ask for something unless it is under way or waits after a failure."""
        action = self.book.ask(key, make, self.now, limit_delay)
        if action is not None:
            self.actions.append(action)
        return action is not None

    def say(self, text: str, level: str = "info") -> None:
        self.actions.append(Say(self.book.tag(), text, level))

    def wake(self, at: float) -> None:
        """Look again at this moment at the latest."""
        if at > self.now:
            self.wakes.append(at)
