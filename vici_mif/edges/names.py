# SPDX-License-Identifier: Apache-2.0
"""Names: the system's resolver, asked without waiting for it for ever."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address

from vici_mif.core.model import IPAddress

LOOKUP_DELAY = 10.0


class NameFailed(Exception):  # noqa: N818 - named for what happened
    """A name has no address now; the text names it and says why."""


async def resolve(name: str, within: float = LOOKUP_DELAY) -> tuple[IPAddress, ...]:
    """All addresses of `name`, in the resolver's order. Raises NameFailed."""
    try:
        async with asyncio.timeout(within):
            return await _asked(name)
    except TimeoutError as error:
        raise NameFailed(f"{name}: no answer within {within:g} s") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: an empty or too long label
        raise NameFailed(f"{name}: {getattr(error, 'strerror', None) or error}") from error


def _asked(name: str) -> asyncio.Future[tuple[IPAddress, ...]]:
    """In a thread that nobody waits for: getaddrinfo() cannot be cancelled, we can."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[IPAddress, ...]] = loop.create_future()

    def deliver(found: tuple[IPAddress, ...] | Exception) -> None:
        if answer.done():
            return
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def look() -> None:
        try:
            found: tuple[IPAddress, ...] | Exception = _lookup(name)
        except (OSError, UnicodeError) as error:
            found = error
        with suppress(RuntimeError):  # the loop is over: nobody wants it any more
            loop.call_soon_threadsafe(deliver, found)

    threading.Thread(target=look, name=f"resolve {name}", daemon=True).start()
    return answer


def _lookup(name: str) -> tuple[IPAddress, ...]:
    entries = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    texts = (str(entry[4][0]).partition("%")[0] for entry in entries)
    return tuple(dict.fromkeys(ip_address(text) for text in texts))
