# SPDX-License-Identifier: Apache-2.0
"""The VICI transport against a real unix socket, whose other end speaks as a test says."""

from __future__ import annotations

import asyncio
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vici.protocol import Message

from tests.speaker import ANSWER, CONFIRM, NO_EVENT, UNKNOWN, answer, event, segment
from vici_mif.edges import vici

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def list_sa(number: int) -> bytes:
    return event("list-sa", {"hq": {"uniqueid": number}})


async def read_request(reader: asyncio.StreamReader) -> tuple[int, str, vici.Tree]:
    (length,) = struct.unpack("!I", await reader.readexactly(4))
    data = await reader.readexactly(length)
    end = 2 + data[1]
    return data[0], data[2:end].decode(), vici.decode(data[end:])


@asynccontextmanager
async def charon(handler: Handler) -> AsyncIterator[vici.Connection]:
    """A connection whose other end runs `handler`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "charon.vici"))
        async with await asyncio.start_unix_server(serve, path):
            connection = await vici.Connection.open(path)
            try:
                yield connection
            finally:
                connection.close()


async def collect(connection: vici.Connection, into: list[tuple[str, vici.Tree]]) -> None:
    async for item in connection.events():
        into.append(item)


async def test_request_and_answer() -> None:
    """Keys go out as charon reads them, and its answer comes back as text."""
    seen: list[tuple[int, str, vici.Tree]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(answer(success=True, names=["a", "b"], inner={"n": 7}))

    async with charon(handler) as connection:
        result = await connection.request(
            "clone", {"ike-id": 3, "childless": True, "tag": None, "vips": ("a", "b")}
        )

    assert seen == [(0, "clone", {"ike-id": "3", "childless": "yes", "vips": ["a", "b"]})]
    assert result == {"success": "yes", "names": ["a", "b"], "inner": {"n": "7"}}


async def test_unknown_command_leaves_the_connection_usable() -> None:
    """CMD_UNKNOWN is its own error, and the next request works."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(segment(bytes([UNKNOWN])))
        await read_request(reader)
        writer.write(answer(version="6.1.0"))

    async with charon(handler) as connection:
        with pytest.raises(vici.CommandUnknown, match="clone"):
            await connection.request("clone")

        assert await connection.request("version") == {"version": "6.1.0"}


async def test_unknown_event_leaves_the_connection_usable() -> None:
    """EVENT_UNKNOWN is how an unpatched charon shows itself; it costs nothing."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(segment(bytes([NO_EVENT])))
        await read_request(reader)
        writer.write(answer(version="6.1.0"))

    async with charon(handler) as connection:
        with pytest.raises(vici.EventUnknown, match="ike-clone"):
            await connection.register("ike-clone")

        assert await connection.request("version") == {"version": "6.1.0"}


async def test_requests_of_several_tasks_do_not_mix() -> None:
    """Twenty tasks share a connection; each gets the answer to its own question."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, _, message = await read_request(reader)
            await asyncio.sleep(0)
            writer.write(event("noise", {}) + answer(echo=message["n"]))

    async with charon(handler) as connection:
        answers = await asyncio.gather(*(connection.request("echo", {"n": n}) for n in range(20)))

    assert [int(a["echo"]) for a in answers] == list(range(20))


async def test_stream_collects_the_events_of_one_command() -> None:
    """list-sas answers by events; they are registered for once, and collected each time."""
    steps: list[tuple[int, str]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for packets in (
            segment(bytes([CONFIRM])),
            list_sa(1) + list_sa(2) + answer(),
            list_sa(3) + answer(),
        ):
            kind, name, _ = await read_request(reader)
            steps.append((kind, name))
            writer.write(packets)

    async with charon(handler) as connection:
        items = await connection.stream("list-sas", "list-sa")
        more = await connection.stream("list-sas", "list-sa")

    assert items == [{"hq": {"uniqueid": "1"}}, {"hq": {"uniqueid": "2"}}]
    assert more == [{"hq": {"uniqueid": "3"}}]
    assert steps == [(3, "list-sa"), (0, "list-sas"), (0, "list-sas")]


async def test_events_until_charon_closes() -> None:
    """The event stream ends with Disconnected, not in silence."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(segment(bytes([CONFIRM])))
        writer.write(event("ike-updown", {"up": True}) + event("ike-update", {"x": "1"}))
        await writer.drain()

    seen: list[tuple[str, vici.Tree]] = []
    async with charon(handler) as connection:
        await connection.register("ike-updown")
        with pytest.raises(vici.Disconnected):
            await collect(connection, seen)

    assert seen == [("ike-updown", {"up": "yes"}), ("ike-update", {"x": "1"})]
    assert connection.closed


async def test_timeout_closes_the_connection() -> None:
    """A late answer would be taken for the next one's, so the connection goes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with charon(handler) as connection:
        with pytest.raises(vici.RequestTimeout):
            await connection.request("stats", within=0.05)
        with pytest.raises(vici.Disconnected):
            await connection.request("stats")


async def test_cancellation_closes_the_connection() -> None:
    """The same for a caller who went away in the middle."""
    asked = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        await reader.read()

    async with charon(handler) as connection:
        task = asyncio.create_task(connection.request("initiate"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert connection.closed


UNSENDABLE = {
    "value too large": ({"hq": {"local": {"certs": [b"x" * 65536]}}}, "hq.local.certs: larger"),
    "value no text": ({"id": "ike", "data": "top\udcffsecret"}, "data: not UTF-8"),
    "name too large": ({"hq": {"children": {"n" * 256: {}}}}, "hq.children.the name 'nnn"),
    "name no text": ({"\udcff": 1}, "the name '.udcff'…: not UTF-8"),
    "all together": ({"a": ["x" * 60000] * 9}, "request of 540"),
}


@pytest.mark.parametrize(("message", "said"), UNSENDABLE.values(), ids=UNSENDABLE)
async def test_what_vici_cannot_carry(message: vici.Tree, said: str) -> None:
    """Named without its value, before anything goes out: the next request works."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await read_request(reader))[1] == "version"
        writer.write(answer(version="6.1.0"))

    async with charon(handler) as connection:
        with pytest.raises(vici.Unsendable, match=said) as raised:
            await connection.request("load-conn", message)

        assert "secret" not in repr(raised.value)
        assert await connection.request("version") == {"version": "6.1.0"}


def test_the_most_that_vici_carries() -> None:
    """A name of 255 bytes, a value of 65,535."""
    tree = {"n" * 255: "v" * 65535}

    assert vici.decode(vici.encode(tree)) == tree


async def test_nobody_listens(tmp_path: Path) -> None:
    """No socket: the error names the path."""
    with pytest.raises(vici.Disconnected, match="nowhere"):
        await vici.Connection.open(str(tmp_path / "nowhere"))


BROKEN = {
    "announces too much": struct.pack("!I", vici.SEGMENT_LIMIT + 1) + b"x",
    "empty segment": struct.pack("!I", 0),
    "unknown packet type": segment(b"\x09"),
    "short value": segment(bytes([ANSWER]) + b"\x03\x01k\x00\x09v"),
    "short name": segment(bytes([ANSWER]) + b"\x03\x09k"),
    "open section": segment(bytes([ANSWER]) + b"\x01\x01s"),
    "closed twice": segment(bytes([ANSWER]) + b"\x02"),
    "open list": segment(bytes([ANSWER]) + b"\x04\x01l\x05\x00\x01i"),
    "unknown element": segment(bytes([ANSWER]) + b"\x3f"),
    "name twice": segment(bytes([ANSWER]) + b"\x03\x01k\x00\x01a" * 2),
    "name is no text": segment(bytes([ANSWER]) + b"\x03\x01\xff\x00\x01a"),
    "event without name": segment(b"\x07"),
    "event with short name": segment(b"\x07\x05ab"),
    "ends in the middle": struct.pack("!I", 10) + b"\x01abc",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
async def test_broken_packets_close_the_connection(data: bytes) -> None:
    """What cannot be understood raises one of ours and ends the connection."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(data)
        await writer.drain()

    async with charon(handler) as connection:
        with pytest.raises((vici.ProtocolError, vici.Disconnected)):
            await connection.request("stats", within=2)

        assert connection.closed


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=80), framed=st.booleans())
def test_any_bytes_end_in_our_errors(data: bytes, framed: bool) -> None:
    """Whatever comes: an answer, or an error of ours within the time given."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(segment(data) if framed else data)
        await writer.drain()

    async def exchange() -> None:
        async with charon(handler) as connection:
            try:
                assert isinstance(await connection.request("stats", within=2), dict)
            except vici.CommandUnknown:
                assert not connection.closed
            except vici.ViciError:
                assert connection.closed

    asyncio.run(exchange())


NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=30)
TREES = st.recursive(
    st.dictionaries(NAMES, st.one_of(VALUES, st.lists(VALUES, max_size=4)), max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(VALUES, inner), max_size=4),
    max_leaves=12,
)


@given(tree=TREES)
def test_round_trip(tree: vici.Tree) -> None:
    """What was encoded is what is decoded."""
    assert vici.decode(vici.encode(tree)) == tree


@given(tree=TREES, data=st.data())
def test_truncation_is_never_silent(tree: vici.Tree, data: st.DataObject) -> None:
    """A message cut anywhere is either refused or cut between two whole elements."""
    whole = vici.encode(tree)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        decoded = vici.decode(cut)
    except vici.ProtocolError:
        return

    assert vici.encode(decoded) == cut


def test_identity_that_is_no_text_is_shown_escaped() -> None:
    """A peer chooses its own identity; strange bytes are escaped, not fatal."""
    payload = Message.serialize({"remote-id": b"a\xffb"})

    assert vici.decode(payload) == {"remote-id": "a\\xffb"}
