# SPDX-License-Identifier: Apache-2.0
"""Answers Prometheus: `GET /metrics` over HTTP/1.1 (RFC 9112), on a TCP or a unix socket.

Whoever asks may be anybody: what is read has a bound and a time, and so has their number.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Awaitable, Callable
from http import HTTPStatus

HEAD_LIMIT = 8 * 1024
READ_DELAY = 5.0
MOST = 16
"""Questions at the same time; more are closed without an answer."""

Page = Callable[[], Awaitable[str]]


class Scrapes:
    """One listening socket."""

    def __init__(self, address: str, content_type: str, page: Page) -> None:
        """`address`: `HOST:PORT`, `[HOST]:PORT`, or the path of a unix socket."""
        self._address = address
        self._type = content_type
        self._page = page
        self._open = 0

    async def serve(self) -> None:
        """For ever. Raises OSError, which names the address, where it cannot be had."""
        server = await self._listen()
        async with server:
            await server.serve_forever()

    async def _listen(self) -> asyncio.Server:
        try:
            if self._address.startswith("/"):
                _clear(self._address)
                return await asyncio.start_unix_server(self._serve, self._address, limit=HEAD_LIMIT)
            host, _, port = self._address.rpartition(":")
            return await asyncio.start_server(
                self._serve, host.strip("[]"), int(port), limit=HEAD_LIMIT, reuse_address=True
            )
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name has
            raise OSError(f"daemon.metrics: {self._address}: {error}") from error

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > MOST:
                return
            async with asyncio.timeout(READ_DELAY):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._asked(head.partition(b"\r\n")[0].decode("latin-1"), writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # gone, silent, or more than a question
        finally:
            self._open -= 1
            writer.close()

    async def _asked(self, line: str, writer: asyncio.StreamWriter) -> None:
        method, _, rest = line.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1."):
            await self._answer(writer, HTTPStatus.BAD_REQUEST)
        elif method not in ("GET", "HEAD"):
            await self._answer(writer, HTTPStatus.METHOD_NOT_ALLOWED)
        elif target.partition("?")[0] != "/metrics":
            await self._answer(writer, HTTPStatus.NOT_FOUND)
        else:
            body = (await self._page()).encode()
            await self._answer(writer, HTTPStatus.OK, body, head_only=method == "HEAD")

    async def _answer(
        self,
        writer: asyncio.StreamWriter,
        status: HTTPStatus,
        body: bytes = b"",
        *,
        head_only: bool = False,
    ) -> None:
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {self._type}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.transport.set_write_buffer_limits(0)  # who does not read is not waited for
        writer.write(head.encode() + (b"" if head_only else body))
        async with asyncio.timeout(READ_DELAY):
            await writer.drain()


def _clear(path: str) -> None:
    """Take away what a controller before left; whatever else is there stays."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError("is there already, and is no socket")
        os.unlink(path)
