# SPDX-License-Identifier: Apache-2.0
"""The other end of a VICI socket, spoken byte by byte: what charon would say, or what it never
should. It has connections and SAs to list, answers what the charon edge asks, and lets a test
put other bytes in the place of any answer.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from vici_mif.core import events
from vici_mif.edges import vici
from vici_mif.edges.charon import Charon

REQUEST, ANSWER, UNKNOWN, REGISTER, UNREGISTER, CONFIRM, NO_EVENT, EVENT = range(8)


def segment(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


def answer(**keys: object) -> bytes:
    return segment(bytes([ANSWER]) + vici.encode(keys))


def event(name: str, keys: Mapping[str, object]) -> bytes:
    return segment(bytes([EVENT, len(name)]) + name.encode() + vici.encode(keys))


def connection(name: str) -> dict[str, object]:
    child = {"mode": "TUNNEL", "local-ts": ["dynamic"], "remote-ts": ["10.100.0.0/16"]}
    section = {
        "remote_addrs": ["203.0.113.1"],
        "version": "IKEv2",
        "vips": ["0.0.0.0"],
        "children": {"net": child},
    }
    return {name: section}


def sa(number: int, name: str = "hq", **more: object) -> dict[str, object]:
    section = {
        "uniqueid": number,
        "state": "ESTABLISHED",
        "local-host": f"198.18.{number // 250 % 250}.{number % 250 + 2}",
        "remote-host": "203.0.113.1",
        "initiator": "yes",
        "initiator-spi": f"{number:016x}",
        "responder-spi": f"{number:016x}",
        "child-sas": {},
    }
    return {name: {k: v for k, v in (section | more).items() if v is not None}}


class Speaker:
    """One charon's end of all connections."""

    def __init__(self) -> None:
        self.connections: list[dict[str, object]] = [connection("hq")]
        self.sas: list[dict[str, object]] = []
        self.patched = True
        self.asked: Counter[str] = Counter()
        self.instead: dict[str, Callable[[], bytes]] = {}
        """Bytes in the place of the answer to a command."""
        self.hangs_up = False
        """After such an answer."""
        self.before: dict[str, asyncio.Event] = {}
        """Commands that wait for a test's word."""
        self.takes: Callable[[str], None] | None = None
        """Hears the tag of a `clone`, which is then answered and not ended."""
        self._listeners: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = struct.unpack("!I", await reader.readexactly(4))
                await self._one(await reader.readexactly(length), writer)
        writer.close()

    async def _one(self, packet: bytes, writer: asyncio.StreamWriter) -> None:
        kind, end = packet[0], 2 + packet[1]
        name, keys = packet[2:end].decode(), vici.decode(packet[end:])
        if kind == REQUEST:
            self.asked[name] += 1
            if name in self.before:
                await self.before[name].wait()
            writer.write(self._said(name, keys))
            await writer.drain()
            if self.hangs_up and name in self.instead:
                writer.close()
        else:
            known = self.patched or not name.startswith(("ike-clone", "ike-migrate", "ike-probe"))
            if kind == REGISTER and name == "ike-updown":
                self._listeners.append(writer)
            writer.write(segment(bytes([CONFIRM if known else NO_EVENT])))

    def _said(self, name: str, keys: vici.Tree) -> bytes:
        if name in self.instead:
            return self.instead[name]()
        match name:
            case "version":
                return answer(version="6.1.0")
            case "stats":
                return answer(plugins=["kernel-libipsec"])
            case "list-conns":
                return b"".join(event("list-conn", c) for c in self.connections) + answer()
            case "list-sas":
                wanted = keys.get("ike-id")
                shown = [s for s in self.sas if wanted in (None, _number(s))]
                return b"".join(event("list-sa", s) for s in shown) + answer()
            case "terminate":
                self.sas = [s for s in self.sas if _number(s) != keys["ike-id"]]
                return answer(success="yes")
            case "clone" if self.takes is not None:
                self.takes(keys["tag"])
                return answer(success="yes", tag=keys["tag"])
            case _:
                return segment(bytes([UNKNOWN]))

    async def tell(self, name: str, keys: Mapping[str, object]) -> None:
        """An event to whoever listens; waits until it is taken, as charon does not."""
        for writer in self._listeners:
            writer.write(event(name, keys))
            await writer.drain()

    @property
    def numbers(self) -> list[int]:
        """Of the IKE SAs that are there."""
        return [int(_number(s)) for s in self.sas]


def _number(listed: Mapping[str, object]) -> str:
    (section,) = listed.values()
    return str(section["uniqueid"]) if isinstance(section, dict) else ""


@asynccontextmanager
async def listening(speaker: Speaker, folder: Path) -> AsyncIterator[str]:
    """Its socket."""
    path = str(folder / "charon.vici")
    async with await asyncio.start_unix_server(speaker.serve, path):
        yield path


@asynccontextmanager
async def followed(speaker: Speaker, folder: Path) -> AsyncIterator[list[events.Event]]:
    """The charon edge on this socket; what it told."""
    told: list[events.Event] = []
    async with listening(speaker, folder) as path:
        edge = asyncio.create_task(Charon(path, told.append).run())
        try:
            yield told
        finally:
            edge.cancel()
            await asyncio.gather(edge, return_exceptions=True)


async def until(check: Callable[[], object], within: float = 15.0) -> None:
    """Polls; the facts come by a callback."""
    async with asyncio.timeout(within):
        while not check():  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.01)
