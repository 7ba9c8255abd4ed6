# SPDX-License-Identifier: Apache-2.0
"""What was asked for and has not ended, and what failed and waits.

The one place with back-off: who wants something asks for it again at every step, and the book
lets it through once it is neither under way nor waiting after a failure. The key says what is
wanted (`("clone", "hq")`), the tag names one attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vici_mif.core.actions import Action, CharonAction

Key = tuple[object, ...]

BACKOFF_DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds to wait after the first, second ... failure in a row."""

FORGET_DELAY = 600.0
"""Seconds after which a failure that was not tried again is forgotten."""

LIMIT_DELAY = 30.0
"""Seconds after which an action without an end counts as failed."""


@dataclass(frozen=True, slots=True)
class Request:
    """One action under way."""

    key: Key
    action: Action
    asked_at: float
    limit_at: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something is not tried right now."""

    count: int
    retry_at: float
    reason: str
    text: str


class Book:
    """Requests by tag, failures by key."""

    def __init__(self, prefix: str = "mif") -> None:
        """`prefix`: of the tags, where there is another book."""
        self._prefix = prefix
        self._serial = 0
        self._requests: dict[str, Request] = {}
        self._failures: dict[Key, Failure] = {}

    def tag(self) -> str:
        self._serial += 1
        return f"{self._prefix}-{self._serial}"

    def ask(
        self, key: Key, make: Callable[[str], Action], now: float, limit_delay: float = LIMIT_DELAY
    ) -> Action | None:
        """The action to carry out, or None where it must not be begun now."""
        if not self.free(key, now):
            return None
        tag = self.tag()
        action = make(tag)
        self._requests[tag] = Request(key, action, now, now + limit_delay)
        return action

    def free(self, key: Key, now: float) -> bool:
        """Neither under way nor waiting."""
        failure = self._failures.get(key)
        return not self.under_way(key) and (failure is None or failure.retry_at <= now)

    def under_way(self, key: Key) -> Request | None:
        return next((r for r in self._requests.values() if r.key == key), None)

    def about(self, kind: str) -> tuple[Request, ...]:
        """All requests under way whose key begins with `kind`."""
        return tuple(r for r in self._requests.values() if r.key[0] == kind)

    def request(self, tag: str) -> Request | None:
        return self._requests.get(tag)

    def end(self, tag: str) -> Request | None:
        """It has its end; None where nobody waits for it any more."""
        return self._requests.pop(tag, None)

    def expired(self, now: float) -> list[str]:
        """Tags whose limit has passed."""
        return [tag for tag, r in self._requests.items() if r.limit_at <= now]

    def drop(self, key: Key) -> None:
        """Nobody is interested in its end any more."""
        self._requests = {t: r for t, r in self._requests.items() if r.key != key}

    def drop_peer(self, name: str) -> None:
        """It is not driven any more."""
        self._requests = {t: r for t, r in self._requests.items() if r.key[1] != name}
        self._failures = {key: f for key, f in self._failures.items() if key[1] != name}

    def drop_charon(self) -> None:
        """charon is gone: nothing of it will be answered, and nothing waits for the old one."""
        charons = CharonAction.__args__
        self._requests = {
            t: r for t, r in self._requests.items() if not isinstance(r.action, charons)
        }
        self._failures.clear()

    def fail(
        self, key: Key, now: float, reason: str, text: str = "", delay: float | None = None
    ) -> Failure:
        """Count a failure; the next attempt waits longer each time."""
        count = self.failures(key) + 1
        step = BACKOFF_DELAYS[min(count, len(BACKOFF_DELAYS)) - 1]
        failure = Failure(count, now + (step if delay is None else delay), reason, text)
        self._failures[key] = failure
        self._forget_old(now)
        return failure

    def _forget_old(self, now: float) -> None:
        """Numbers of IKE_SAs do not come back: what nobody asked for any more is dropped."""
        self._failures = {
            k: f for k, f in self._failures.items() if f.retry_at + FORGET_DELAY > now
        }

    def failure(self, key: Key) -> Failure | None:
        return self._failures.get(key)

    def failures(self, key: Key) -> int:
        failure = self._failures.get(key)
        return failure.count if failure else 0

    def forgive(self, key: Key) -> None:
        """It worked, or the world changed: the next attempt need not wait."""
        self._failures.pop(key, None)

    def rename(self, old_id: int, new_id: int) -> None:
        """An IKE_SA was rekeyed: what is kept under its number follows."""

        def renamed(key: Key) -> Key:
            return tuple(new_id if part == old_id and i else part for i, part in enumerate(key))

        self._requests = {
            t: Request(renamed(r.key), r.action, r.asked_at, r.limit_at)
            for t, r in self._requests.items()
        }
        self._failures = {renamed(key): f for key, f in self._failures.items()}

    def next_deadline(self, now: float) -> float | None:
        """When an attempt is given up or may be repeated."""
        limits = [r.limit_at for r in self._requests.values()]
        retries = [f.retry_at for f in self._failures.values()]
        return min((at for at in (*limits, *retries) if at > now), default=None)
