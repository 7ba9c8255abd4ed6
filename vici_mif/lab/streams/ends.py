# SPDX-License-Identifier: Apache-2.0
"""Traffic for the lab: UDP both ways and a TCP connection both ways per inner address.

    python -m vici_mif.lab.streams.ends serve --address 10.100.0.2 --log FILE
    python -m vici_mif.lab.streams.ends run --stream 10.222.0.1,10.100.0.2 --stream ... --log FILE

Each end numbers what it sends and writes down what it sent, what came and what its sockets
complained of (`streams.log`). The serving end answers each source with a stream of its own,
not with echoes: the two directions say nothing about each other. It prints `ready` when it
listens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from vici_mif.lab.streams.log import FAILED, GOT, SENT, Flow, line

PORT = 7791
UDP_SIZE, TCP_SIZE = 400, 1000
RATE = 100
"""Datagrams a second in each direction; TCP sends a block for every fifth of them."""
RECEIVE_BUFFER = 8 * 1024 * 1024
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python has no name for it
_NUMBER = struct.Struct("!Q")

Write = Callable[[str, Flow, int, float, object], None]
"""As `streams.log.line`."""


class Ticker:
    """Even intervals: a late tick does not delay those after it."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = time.monotonic()

    async def wait(self) -> None:
        self._next = max(self._next + self._interval, time.monotonic() - 10 * self._interval)
        await asyncio.sleep(max(0.0, self._next - time.monotonic()))


class Datagrams:
    """One UDP socket and the streams that leave it."""

    def __init__(self, address: str, port: int, rate: float, write: Write) -> None:
        self._address, self._rate, self._write = address, rate, write
        self._socket = _socket(address, port)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._answers = False
        self._heard = asyncio.Event()

    def listen(self, answers: bool) -> None:
        """Note what comes; with `answers`, begin a stream to each source that shows up."""
        self._answers = answers
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    data, source = self._socket.recvfrom(65535)
                except ConnectionError:  # an ICMP error that came back for what was sent
                    continue
                self._got(data, source[0], source[1])

    def _got(self, data: bytes, source: str, port: int) -> None:
        flow = ("udp", source, self._address)
        self._write(GOT, flow, _NUMBER.unpack_from(data)[0], time.time(), len(data))
        self._heard.set()
        if self._answers and source not in self._tasks:
            self.stream(source, port)

    def stream(self, to: str, port: int) -> None:
        """Begin to send."""
        self._tasks[to] = asyncio.create_task(self._send(to, port))

    async def ask(self, to: str, port: int) -> None:
        """For the stream of the other end; nothing is sent any more once it comes."""
        while not self._heard.is_set():
            with contextlib.suppress(OSError):
                self._socket.sendto(_block(0, UDP_SIZE), (to, port))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), 0.2)

    async def _send(self, to: str, port: int) -> None:
        flow, number, ticker = ("udp", self._address, to), 0, Ticker(1 / self._rate)
        while True:
            # afterwards it could have come before it was sent: we may lose the processor in between
            at = time.time()
            try:
                self._socket.sendto(_block(number, UDP_SIZE), (to, port))
                self._write(SENT, flow, number, at, UDP_SIZE)
            except OSError as error:
                self._write(FAILED, flow, number, at, error)
            number += 1
            await ticker.wait()


def _socket(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    # a receiver that waits for its turn on a busy machine must not look like a path that loses
    with contextlib.suppress(PermissionError):
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    made.bind((address, port))
    return made


def _block(number: int, size: int) -> bytes:
    return _NUMBER.pack(number).ljust(size, b".")


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: float, write: Write
) -> None:
    """Send numbered blocks over a TCP connection and note those that come, until it ends."""
    here, there = writer.get_extra_info("sockname")[0], writer.get_extra_info("peername")[0]
    sending = asyncio.create_task(_say(writer, ("tcp", here, there), rate, write))
    flow = ("tcp", there, here)
    try:
        while True:
            block = await reader.readexactly(TCP_SIZE)
            write(GOT, flow, _NUMBER.unpack_from(block)[0], time.time(), TCP_SIZE)
    except (OSError, asyncio.IncompleteReadError) as error:
        write(FAILED, flow, 0, time.time(), f"the connection ended: {error}")
    finally:
        sending.cancel()
        writer.close()


async def _say(writer: asyncio.StreamWriter, flow: Flow, rate: float, write: Write) -> None:
    number, ticker = 0, Ticker(5 / rate)
    with contextlib.suppress(OSError):  # the reading side reports the end
        while True:
            at = time.time()
            writer.write(_block(number, TCP_SIZE))
            write(SENT, flow, number, at, TCP_SIZE)
            number += 1
            await writer.drain()
            await ticker.wait()


async def serve(addresses: list[str], port: int, rate: float, write: Write) -> None:
    """The far end: answers everyone."""
    for address in addresses:
        Datagrams(address, port, rate, write).listen(answers=True)
    server = await asyncio.start_server(lambda r, w: converse(r, w, rate, write), addresses, port)
    async with server:
        print("ready", flush=True)
        await server.serve_forever()


async def run(pairs: list[tuple[str, str]], port: int, rate: float, write: Write) -> None:
    """The near end: one UDP stream and one TCP connection for each pair of addresses."""
    for source, to in pairs:
        datagrams = Datagrams(source, port, rate, write)
        datagrams.listen(answers=False)
        datagrams.stream(to, port)
    await asyncio.gather(*(_connect(*pair, port, rate, write) for pair in pairs))
    await asyncio.Event().wait()  # a connection that ended is not opened again


async def _connect(source: str, to: str, port: int, rate: float, write: Write) -> None:
    try:
        reader, writer = await asyncio.open_connection(to, port, local_addr=(source, 0))
    except OSError as error:
        write(FAILED, ("tcp", source, to), 0, time.time(), f"no connection: {error}")
        return
    await converse(reader, writer, rate, write)


async def _main(options: argparse.Namespace) -> None:
    # line by line: SIGTERM ends us where we are, and the log is whole up to there
    with options.log.open("a", buffering=1) as log:

        def write(what: str, flow: Flow, number: int, at: float, detail: object) -> None:
            log.write(line(what, flow, number, at, detail))

        if options.role == "serve":
            await serve(options.addresses, options.port, options.rate, write)
        else:
            act = download if options.download else run
            await act(options.pairs, options.port, options.rate, write)


async def download(pairs: list[tuple[str, str]], port: int, rate: float, write: Write) -> None:
    """The near end of streams that come this way alone."""
    ends = [(Datagrams(source, port, rate, write), to) for source, to in pairs]
    for datagrams, _ in ends:
        datagrams.listen(answers=False)
    await asyncio.gather(*(datagrams.ask(to, port) for datagrams, to in ends))
    await asyncio.Event().wait()


def _pair(text: str) -> tuple[str, str]:
    here, _, there = text.partition(",")
    return here, there


def main(arguments: list[str] | None = None) -> int:
    """Run one end until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m vici_mif.lab.streams.ends")
    roles = parser.add_subparsers(dest="role", required=True)
    far = roles.add_parser("serve", help="answer everyone")
    far.add_argument("--address", dest="addresses", action="append", required=True)
    near = roles.add_parser("run", help="send between each pair of addresses")
    near.add_argument("--stream", dest="pairs", action="append", type=_pair, required=True)
    near.add_argument("--download", action="store_true", help="ask once, then only listen")
    for role in (far, near):
        role.add_argument("--port", type=int, default=PORT)
        role.add_argument("--rate", type=float, default=RATE, help="datagrams a second")
        role.add_argument("--log", type=Path, required=True)
    asyncio.run(_main(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
