# SPDX-License-Identifier: Apache-2.0
"""The VICI protocol over asyncio: one connection to charon's control socket.

Rules of this file:

* One request is under way on a connection at a time: the protocol has no sequence
  numbers. A lock per connection keeps it so.
* There is no way to find the next packet after a broken one, nor to tell a late
  answer from the next one. So a protocol error, a timeout and a cancellation all
  close the connection; the caller opens another.
* Values go in as text, numbers, truth values, lists and sections, and come out as
  text, lists of text and sections. Nothing of the library's shapes leaves this file.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, TypeAlias

from vici.exception import DeserializationException
from vici.protocol import FiniteStream, Message, Packet

Tree: TypeAlias = dict[str, Any]  # str | list[str] | Tree: what comes out of charon

DEFAULT_TIMEOUT = 10.0
STREAM_TIMEOUT = 60.0  # thousands of items
AT_A_TIME = 4  # items between two turns of the loop
SEGMENT_LIMIT = 512 * 1024  # vici_socket.c refuses to send or take longer ones
NAME_LIMIT, VALUE_LIMIT = 255, 65535  # bytes: a length is one octet, or two


class ViciError(Exception):
    """Something is wrong with charon's control socket or what came out of it."""


class Disconnected(ViciError):  # noqa: N818 - named for what happened
    """The socket is not there, or charon closed it."""


class ProtocolError(ViciError):
    """What came cannot be understood; the connection was closed."""


class RequestTimeout(ViciError):  # noqa: N818 - named for what happened
    """No answer in time; the connection was closed."""


class CommandUnknown(ViciError):  # noqa: N818 - named for what happened
    """This charon does not have the command."""


class EventUnknown(ViciError):  # noqa: N818 - named for what happened
    """This charon does not have the event."""


class Unsendable(ViciError):  # noqa: N818 - named for what is wrong
    """VICI has no form for this request. Nothing was sent; the connection is as it was."""


def encode(tree: Mapping[str, object]) -> bytes:
    """A request's keys as charon expects them; keys without a value are left out.

    Raises Unsendable, which names the key and not the value: that may be a secret.
    """
    data: bytes = Message.serialize(_plain(tree, ()))
    return data


def _plain(tree: Mapping[str, object], at: tuple[str, ...]) -> dict[str, object]:
    """`at`: the sections around it."""
    for key in tree:
        _bytes(key, NAME_LIMIT, (*at, f"the name {key[:20]!r}…"))
    return {k: _plain_value(value, (*at, k)) for k, value in tree.items() if value is not None}


def _plain_value(value: object, at: tuple[str, ...]) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return _plain(value, at)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain_value(item, at) for item in value]
    return _bytes(value, VALUE_LIMIT, at)


def _bytes(value: object, most: int, at: tuple[str, ...]) -> bytes:
    try:
        data = value if isinstance(value, bytes) else str(value).encode()
    except UnicodeEncodeError:
        raise Unsendable(f"{'.'.join(at)}: not UTF-8") from None  # its words show the value
    if len(data) > most:
        raise Unsendable(f"{'.'.join(at)}: larger than {most} bytes, the most that VICI carries")
    return data


def _packet(command: str, message: Mapping[str, object]) -> bytes:
    """The packet that asks for a command. Raises Unsendable."""
    packet: bytes = Packet.request(command, encode(message))
    if len(packet) > SEGMENT_LIMIT:
        raise Unsendable(f"request of {len(packet)} bytes; charon takes {SEGMENT_LIMIT}")
    return packet


def decode(payload: bytes) -> Tree:
    """A message of charon's as text; raises ProtocolError for anything out of place."""
    try:
        raw = Message.deserialize(FiniteStream(payload))
        complete = Message.serialize(raw) == payload
        tree = _text(raw)
    except RecursionError as error:  # the library goes down by calling itself
        raise ProtocolError("malformed VICI message: sections too deep") from error
    except (struct.error, UnicodeDecodeError, DeserializationException) as error:
        raise ProtocolError(f"malformed VICI message: {error}") from error
    if not complete:
        # The library takes what is there for a value that was announced longer, skips elements
        # that it does not know, and keeps the last of equal keys.
        raise ProtocolError("malformed VICI message: cut, an unknown element, or a name twice")
    return tree


def _text(raw: Mapping[str, Any]) -> Tree:
    return {key: _text_value(value) for key, value in raw.items()}


def _text_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _text(value)
    if isinstance(value, list):
        return [_text_value(item) for item in value]
    # A peer chooses its identity: bytes that are no text must not cut us off from charon.
    return bytes(value).decode("utf-8", "backslashreplace")


class Connection:
    """One connection, in one of two roles: requests, or (after `register`) events."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = asyncio.Lock()
        self._closed = False
        self._streamed: set[str] = set()

    @classmethod
    async def open(cls, path: str, within: float = DEFAULT_TIMEOUT) -> Connection:
        """Connect to the unix socket `path`."""
        try:
            async with asyncio.timeout(within):
                reader, writer = await asyncio.open_unix_connection(path)
        except (OSError, TimeoutError) as error:
            raise Disconnected(f"{path}: {_reason(error)}") from error
        return cls(reader, writer)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Give the connection up. What waits on it ends with Disconnected."""
        if not self._closed:
            self._closed = True
            self._writer.close()

    async def request(
        self,
        command: str,
        message: Mapping[str, object] | None = None,
        within: float = DEFAULT_TIMEOUT,
    ) -> Tree:
        """Send one command and return its answer, whatever its `success` says."""
        packet = _packet(command, message or {})
        async with self._lock:
            return await self._guarded(within, self._request(command, packet, None))

    async def stream(
        self,
        command: str,
        event: str,
        message: Mapping[str, object] | None = None,
        within: float = STREAM_TIMEOUT,
    ) -> list[Tree]:
        """Send a command that answers by events (list-sas, list-conns) and collect them."""
        packet, items = _packet(command, message or {}), list[Tree]()
        async with self._lock:
            await self._guarded(within, self._stream(command, event, packet, items))
        return items

    async def register(self, *events: str, within: float = DEFAULT_TIMEOUT) -> None:
        """Ask for events; raises EventUnknown at the first that charon does not have."""
        for event in events:
            async with self._lock:
                await self._guarded(within, self._register(event, on=True))

    async def unregister(self, *events: str, within: float = DEFAULT_TIMEOUT) -> None:
        """Stop receiving events."""
        for event in events:
            async with self._lock:
                await self._guarded(within, self._register(event, on=False))

    async def events(self) -> AsyncIterator[tuple[str, Tree]]:
        """All events registered for, until charon closes (Disconnected).

        charon keeps what a slow reader does not take, without a bound, so the caller
        must come back for the next one soon.
        """
        async with self._lock:
            try:
                while True:
                    kind, name, payload = _parse(await self._receive())
                    if kind != Packet.EVENT:
                        raise ProtocolError(f"packet of type {kind} where events were expected")
                    yield name, decode(payload)
            finally:
                self.close()

    async def _guarded(self, within: float, work: Awaitable[Tree]) -> Tree:
        """Run one exchange; anything but a clean end closes the connection."""
        try:
            async with asyncio.timeout(within):
                return await work
        except (CommandUnknown, EventUnknown):
            raise  # said in a whole packet: the connection is in step
        except TimeoutError as error:
            self.close()
            raise RequestTimeout(f"charon gave no answer within {within:g} s") from error
        except BaseException:
            self.close()
            raise

    async def _request(self, command: str, packet: bytes, events: list[Tree] | None) -> Tree:
        await self._send(packet)
        while True:
            kind, _, payload = _parse(await self._receive())
            if kind == Packet.EVENT:
                if events is not None:
                    events.append(decode(payload))
                    if len(events) % AT_A_TIME == 0:
                        await asyncio.sleep(0)  # what is there already is read without a pause
            elif kind == Packet.CMD_RESPONSE:
                return decode(payload)
            elif kind == Packet.CMD_UNKNOWN:
                raise CommandUnknown(f"charon has no command '{command}'")
            else:
                raise ProtocolError(f"packet of type {kind} in answer to '{command}'")

    async def _stream(self, command: str, event: str, packet: bytes, items: list[Tree]) -> Tree:
        if event not in self._streamed:  # comes only while such a command is answered
            await self._register(event, on=True)
            self._streamed.add(event)
        answer = await self._request(command, packet, items)
        if answer.get("success", "yes") != "yes":
            raise ViciError(f"{command}: {answer.get('errmsg', 'charon refused')}")
        return answer

    async def _register(self, event: str, *, on: bool) -> Tree:
        make = Packet.register_event if on else Packet.unregister_event
        await self._send(make(event))
        while True:
            kind, _, _ = _parse(await self._receive())
            if kind == Packet.EVENT_CONFIRM:
                return {}
            if kind == Packet.EVENT_UNKNOWN:
                raise EventUnknown(f"charon has no event '{event}'")
            if kind != Packet.EVENT:  # an event registered for before may come in between
                raise ProtocolError(f"packet of type {kind} in answer to a registration")

    async def _send(self, packet: bytes) -> None:
        if self._closed:
            raise Disconnected("the connection to charon is closed")
        try:
            self._writer.write(struct.pack("!I", len(packet)) + packet)
            await self._writer.drain()
        except OSError as error:
            raise Disconnected(f"charon closed the connection ({_reason(error)})") from error

    async def _receive(self) -> bytes:
        try:
            (length,) = struct.unpack("!I", await self._reader.readexactly(4))
            if not 0 < length <= SEGMENT_LIMIT:
                raise ProtocolError(f"segment of {length} bytes announced")
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Disconnected("charon closed the connection") from error


def _parse(segment: bytes) -> tuple[int, str, bytes]:
    """Type, name (of an event) and message of one packet."""
    kind = segment[0]
    if kind != Packet.EVENT:
        return kind, "", segment[1:]
    end = 2 + segment[1] if len(segment) > 1 else 0
    if not 2 < end <= len(segment):
        raise ProtocolError("event without a name")
    return kind, segment[2:end].decode("ascii", "backslashreplace"), segment[end:]


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
