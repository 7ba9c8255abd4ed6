# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how we are (sd_notify), where it started us."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass

STATUS_LENGTH = 256


@dataclass(frozen=True)
class Health:
    """What a round of the daemon's loop found."""

    ready: bool
    """The first snapshot is in, or it is known why there is none."""
    alive: bool
    """charon was heard of lately, or it is known why not."""
    status: str


class Service:
    """Tells each thing once, and the watchdog in its rhythm: half of WATCHDOG_USEC."""

    def __init__(self) -> None:
        self._interval = watchdog_delay()
        self._beat_at: float | None = None
        self._ready = False
        self._status = ""

    def round(self, now: float, health: Health) -> None:
        """After a round of the loop: nobody but the loop itself may say that it goes round."""
        if health.status != self._status:
            self._status = health.status
            notify(f"STATUS={one_line(health.status)}")
        if health.ready and not self._ready:
            self._ready = True
            notify("READY=1")
        if self._interval is None or not (self._beat_at is None or now >= self._beat_at):
            return
        self._beat_at = now + self._interval
        if health.alive:
            notify("WATCHDOG=1")

    def next_deadline(self) -> float | None:
        """When the next round is due at the latest."""
        return self._beat_at

    def reloading(self, now: float) -> None:
        notify(f"RELOADING=1\nMONOTONIC_USEC={int(now * 1e6)}")

    def reloaded(self) -> None:
        if self._ready:
            notify("READY=1")

    def stopping(self) -> None:
        notify("STOPPING=1")


def watchdog_delay() -> float | None:
    """Seconds between two signs of life; None where nobody waits for them."""
    wanted = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(wanted) / 2e6 if wanted.isdecimal() and int(wanted) else None


def one_line(text: str) -> str:
    """Words of a peer may be in it: a line of its own would be an assignment of its own."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= STATUS_LENGTH else shown[: STATUS_LENGTH - 1] + "…"


def notify(state: str) -> None:
    """`READY=1`, `STOPPING=1`, `STATUS=...`; nothing outside of systemd."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract name
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), address)
