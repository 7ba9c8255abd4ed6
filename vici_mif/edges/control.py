# SPDX-License-Identifier: Apache-2.0
"""The controller's two unix sockets: one line of JSON in, one line of JSON out.

`control.sock` is root's and takes every question; `status.sock` is readable by a
group and takes only those that change nothing. A connection may ask many times.
"""

from __future__ import annotations

import asyncio
import grp
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Question: TypeAlias = dict[str, Any]
Answer: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[Question], Awaitable[Answer]]
Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LINE_LIMIT = 64 * 1024  # of a question; an answer may be as long as it is
MOST_READERS = 64
"""Connections to `status.sock` at the same time: more are told so and closed."""
CLOSE_DELAY = 1.0
"""Seconds for those who still read when it ends."""
NAMESPACE = "\0vici-mif/controller"
CREDENTIALS = struct.Struct("3i")
"""Process, user, group."""
CONTROL = "control.sock"
STATUS = "status.sock"


class ControlError(Exception):
    """The controller cannot be asked; the text says why."""


class NoController(ControlError):  # noqa: N818 - named for what was found
    """Nobody listens there."""


class NotPermitted(ControlError):  # noqa: N818 - named for what was found
    """The socket is there and may not be used by this user."""


class ControlServer:
    """Both sockets of one controller."""

    def __init__(self, run_dir: Path, group: str, handle: Handler, harmless: Collection[str]):
        self._run_dir = run_dir
        self._group = group
        self._handle = handle
        self._harmless = frozenset(harmless)
        self._servers: list[asyncio.Server] = []
        self._readers = 0
        self._open: dict[asyncio.Task[object], asyncio.StreamWriter] = {}

    async def start(self) -> str | None:
        """Listen on both; returns a warning when the group cannot be let in."""
        try:
            self._run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise ControlError(f"{self._run_dir}: {error.strerror}") from error
        gid = _group_id(self._group)
        await self._listen(CONTROL, self._serve)
        await self._listen(STATUS, self._serve_readers)
        if gid is None:
            return f"group '{self._group}' does not exist: only root can read the status"
        return self._let_in(gid)

    def _let_in(self, gid: int) -> str | None:
        """The group may read the status; a warning where this process may not arrange that."""
        path = self._run_dir / STATUS
        try:
            os.chown(path, -1, gid)
            os.chmod(path, 0o660)
        except PermissionError as error:
            why = f"{path}: cannot be given to group '{self._group}': {error.strerror}"
            return f"{why} (CAP_CHOWN is missing); only root can read the status"
        return None

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for name in (CONTROL, STATUS):
            (self._run_dir / name).unlink(missing_ok=True)
        self._servers.clear()
        for writer in self._open.values():
            writer.close()  # whoever reads there hears that; a cancelled reader is a traceback
        if self._open:
            await asyncio.wait(self._open, timeout=CLOSE_DELAY)

    async def _listen(self, name: str, serve: Serve) -> None:
        sock = _bind(self._run_dir / name)
        self._servers.append(await asyncio.start_unix_server(serve, sock=sock, limit=LINE_LIMIT))

    async def _serve_readers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._readers += 1
        try:
            if self._readers > MOST_READERS:
                text = f"{MOST_READERS} others have {STATUS} open: try again later"
                writer.write(_line(refusal(text) | {"exit": os.EX_UNAVAILABLE}))
                writer.close()
            else:
                await self._serve(reader, writer, self._harmless)
        finally:
            self._readers -= 1

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        allowed: frozenset[str] | None = None,
    ) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._open[serving] = writer
        try:
            while line := await _next(reader):
                answer = await self._answer(line, allowed)
                writer.write(_line(answer))
                await writer.drain()
        except OSError:
            pass  # who asked is gone
        finally:
            del self._open[serving]
            writer.close()

    async def _answer(self, line: bytes, allowed: frozenset[str] | None) -> Answer:
        try:
            question = json.loads(line)
        except (ValueError, RecursionError):
            return refusal("the question is not JSON")
        if not isinstance(question, dict) or not isinstance(question.get("ask"), str):
            return refusal("the question has no 'ask'")
        if allowed is not None and question["ask"] not in allowed:
            return refusal(f"'{question['ask']}' needs {CONTROL}, which is root's")
        return await self._handle(question)


async def _next(reader: asyncio.StreamReader) -> bytes:
    """A question; empty where nobody asks any more, or asks without an end."""
    with suppress(ValueError):  # over LINE_LIMIT
        return await reader.readline()
    return b""


def _line(answer: Answer) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def refusal(error: str) -> Answer:
    """The answer to a question that is not answered."""
    return {"ok": False, "error": error}


def ask(run_dir: Path, question: Question, *, wait_s: float = 10.0) -> Answer:
    """Put one question to a running controller, over the first socket we may use."""
    denied = None
    for name in (CONTROL, STATUS):
        try:
            return _ask(run_dir / name, question, wait_s)
        except PermissionError:
            denied = name
        except (FileNotFoundError, ConnectionRefusedError):
            continue
        except (OSError, ValueError) as error:
            raise ControlError(f"{run_dir / name}: {error}") from error
    if denied:
        raise NotPermitted(f"{run_dir / denied}: this user may not ask the controller")
    raise NoController(f"no controller runs here (nobody listens on {run_dir / CONTROL})")


def _ask(path: Path, question: Question, wait_s: float) -> Answer:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(wait_s)
        sock.connect(str(path))
        with suppress(BrokenPipeError):  # refused unheard: the reason has been sent
            sock.sendall(json.dumps(question).encode() + b"\n")
        with sock.makefile("rb") as lines:
            line = lines.readline()
    if not line.endswith(b"\n"):
        raise ControlError(f"{path}: the controller went away before it answered")
    answer = json.loads(line)
    if not isinstance(answer, dict):
        raise ControlError(f"{path}: the controller's answer is not an object")
    return answer


@dataclass(frozen=True)
class Holder:
    """Who has this network namespace's name; None: it cannot be told."""

    pid: int | None = None
    uid: int | None = None

    @property
    def is_root(self) -> bool:
        """Any user can have the name: only root's process can be a controller."""
        return self.uid == 0

    def __str__(self) -> str:
        if self.pid is None:
            return "a process that does not listen"
        return f"process {self.pid}" + ("" if self.is_root else f" of user {self.uid}")


def hold_namespace() -> socket.socket | Holder:
    """Claim this network namespace, or tell who has it.

    An abstract socket belongs to the network namespace and ends with its process, so nothing can
    be left behind.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(NAMESPACE)
        sock.listen()
    except OSError:
        with sock:
            return _holder(sock)
    return sock


def _holder(sock: socket.socket) -> Holder:
    """Whose process began to listen there (SO_PEERCRED, unix(7)); nobody is waited for."""
    sock.setblocking(False)
    try:
        sock.connect(NAMESPACE)
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    except OSError:
        return Holder()
    pid, uid, _ = CREDENTIALS.unpack(found)
    return Holder(pid, uid)


def _bind(path: Path) -> socket.socket:
    """A listening socket at `path`, never open to others for a moment."""
    if _is_answered(path):
        raise ControlError(f"{path}: another controller listens here")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
    except OSError as error:  # without a number: the path is too long for a socket
        sock.close()
        raise ControlError(f"{path}: {error.strerror or error}") from error
    finally:
        os.umask(mask)
    return sock


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
        return True


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
