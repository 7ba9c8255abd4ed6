# SPDX-License-Identifier: Apache-2.0
"""What the netlink edges share: the kernel's hints that something changed, and its words.

A netlink message is only a hint to look again: whoever is woken dumps what concerns
him and compares. So a lost message costs nothing once we know that some were lost.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from ipaddress import ip_network
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vici_mif.core.model import IPNetwork

# rtnetlink multicast groups, as bits (linux/rtnetlink.h)
LINKS = 1 << 0
ADDRESSES = 1 << 4 | 1 << 8
ROUTES = 1 << 6 | 1 << 10
RULES = 1 << 7 | 1 << 18

ANY = {2: "0.0.0.0", 10: "::"}  # noqa: S104 - a default route, nothing is bound

RETRY_DELAY = 0.2  # after the socket was lost for another reason than overflow


class KernelError(Exception):
    """The kernel refused; the text says what, and errno why."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


def refused(what: str, error: NetlinkError) -> KernelError:
    """The kernel's error with what we wanted of it."""
    return KernelError(f"{what}: {errno.errorcode.get(error.code, error.code)}", error.code)


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Errors of the kernel as ours."""
    try:
        yield
    except NetlinkError as error:
        raise refused(what, error) from error


async def hints(groups: int) -> AsyncGenerator[None, None]:
    """Yields once at the start and then after every burst of changes in `groups`.

    The kernel drops messages when a reader is slow (ENOBUFS) and the socket is then of
    no use: a new one is opened, and the reader is told to look again.
    """
    while True:
        try:
            async with AsyncIPRoute() as socket:
                await socket.bind(groups=groups)
                async with aclosing(_bursts(socket)) as bursts:
                    async for _ in bursts:
                        yield
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                await asyncio.sleep(RETRY_DELAY)


async def _bursts(socket: Any) -> AsyncGenerator[None, None]:
    changed = asyncio.Event()
    changed.set()
    reader = asyncio.create_task(_read(socket, changed))
    try:
        while not reader.done():
            await changed.wait()
            changed.clear()
            yield
    finally:
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader  # its OSError, where it has one, goes to hints()


async def _read(socket: Any, changed: asyncio.Event) -> None:
    try:
        while True:  # the generator ends with each batch
            async for _ in socket.get():
                changed.set()
    finally:
        changed.set()


def network(address: str | None, length: int, family: int) -> IPNetwork:
    """A destination of the kernel's; a default route has no address."""
    return ip_network((address or ANY[family], length), strict=False)
