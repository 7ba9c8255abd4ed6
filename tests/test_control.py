# SPDX-License-Identifier: Apache-2.0
"""The control sockets: who may ask what, and what a broken question gets."""

from __future__ import annotations

import asyncio
import gc
import grp
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from vici_mif.edges import control
from vici_mif.edges.control import Answer, ControlServer, Question

GROUP = grp.getgrgid(os.getgid()).gr_name


async def handle(question: Question) -> Answer:
    if question["ask"] == "mistake":
        raise ValueError("ours")
    return {"ok": True, "asked": question["ask"], "peer": question.get("peer")}


@asynccontextmanager
async def controller(run_dir: Path, group: str = GROUP) -> AsyncIterator[ControlServer]:
    server = ControlServer(run_dir, group, handle, harmless=("status",))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def put(run_dir: Path, name: str, line: bytes) -> Answer:
    reader, writer = await asyncio.open_unix_connection(run_dir / name)
    writer.write(line)
    answer: Answer = json.loads(await reader.readline())
    writer.close()
    return answer


async def test_question_and_answer(tmp_path: Path) -> None:
    """What is asked comes to the handler, and its answer back."""
    async with controller(tmp_path):
        answer = await asyncio.to_thread(control.ask, tmp_path, {"ask": "down", "peer": "hq"})

    assert answer == {"ok": True, "asked": "down", "peer": "hq"}


async def test_several_questions_on_one_connection(tmp_path: Path) -> None:
    """A program that watches need not connect again."""
    async with controller(tmp_path):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "status.sock")
        writer.write(b'{"ask": "status"}\n' * 3)
        answers = [json.loads(await reader.readline()) for _ in range(3)]
        writer.close()

    assert [answer["asked"] for answer in answers] == ["status"] * 3


async def test_status_socket_changes_nothing(tmp_path: Path) -> None:
    """The group's socket takes `status` and refuses `down`."""
    async with controller(tmp_path):
        allowed = await put(tmp_path, "status.sock", b'{"ask": "status"}\n')
        refused = await put(tmp_path, "status.sock", b'{"ask": "down"}\n')

    assert allowed["ok"] is True
    assert refused["ok"] is False
    assert "control.sock" in refused["error"]


async def test_modes(tmp_path: Path) -> None:
    """control.sock is its owner's alone; status.sock is the group's too."""
    async with controller(tmp_path):
        modes = {
            name: stat.S_IMODE((tmp_path / name).stat().st_mode)
            for name in ("control.sock", "status.sock")
        }

    assert modes == {"control.sock": 0o600, "status.sock": 0o660}
    assert os.listdir(tmp_path) == []


async def test_group_that_does_not_exist(tmp_path: Path) -> None:
    """A warning says so, and the socket stays closed to others."""
    server = ControlServer(tmp_path, "no-such-group", handle, harmless=())
    warning = await server.start()
    mode = stat.S_IMODE((tmp_path / "status.sock").stat().st_mode)
    await server.close()

    assert warning is not None
    assert "no-such-group" in warning
    assert mode == 0o600


@pytest.mark.parametrize(
    "line",
    [b"no json\n", b"[]\n", b"{}\n", b'{"ask": 7}\n', b"\xff\xfe\n"],
    ids=["words", "list", "empty", "number", "bytes"],
)
async def test_broken_questions(tmp_path: Path, line: bytes) -> None:
    """Each is refused with a sentence, and the next one is answered."""
    async with controller(tmp_path):
        answer = await put(tmp_path, "control.sock", line)
        after = await put(tmp_path, "control.sock", b'{"ask": "status"}\n')

    assert answer["ok"] is False
    assert after["ok"] is True


async def test_endless_line(tmp_path: Path) -> None:
    """More than the limit without a line's end closes the connection, not the controller."""
    async with controller(tmp_path):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
        writer.write(b"x" * (control.LINE_LIMIT * 3))
        assert await reader.read() == b""
        writer.close()
        after = await put(tmp_path, "control.sock", b'{"ask": "status"}\n')

    assert after["ok"] is True


def test_a_mistake_of_ours_is_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not taken for somebody who hung up: the log has it, and the others are answered."""

    async def main() -> Answer:
        async with controller(tmp_path):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "control.sock")
            writer.write(b'{"ask": "mistake"}\n')
            assert await reader.read() == b""
            writer.close()
            return await put(tmp_path, "control.sock", b'{"ask": "status"}\n')

    assert asyncio.run(main())["ok"] is True
    gc.collect()  # an older asyncio tells of a task when it is let go
    assert "ours" in caplog.text


def test_whoever_reads_when_it_ends_hears_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And nobody finds a traceback in the log."""

    async def main() -> bytes:
        async with controller(tmp_path):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "status.sock")
            writer.write(b'{"ask": "status"}\n')
            await reader.readline()
        return await reader.read()

    assert asyncio.run(main()) == b""
    assert caplog.messages == []


async def test_readers_have_a_bound(tmp_path: Path) -> None:
    """One more than `MOST_READERS` is told so; root's socket still answers; a place gets free."""
    async with controller(tmp_path):
        path = tmp_path / "status.sock"
        held = [await asyncio.open_unix_connection(path) for _ in range(control.MOST_READERS)]
        for reader, writer in held:
            writer.write(b'{"ask": "status"}\n')
            await reader.readline()

        refused = await put(tmp_path, "status.sock", b"")
        assert (refused["ok"], refused["exit"]) == (False, os.EX_UNAVAILABLE)
        assert "64 others" in refused["error"]
        assert (await put(tmp_path, "control.sock", b'{"ask": "down"}\n'))["ok"]

        free = partial(put, tmp_path, "status.sock", b'{"ask": "status"}\n')
        held.pop()[1].close()
        async with asyncio.timeout(5):
            while not (await free())["ok"]:  # noqa: ASYNC110 - it is told by asking only
                await asyncio.sleep(0.01)
        for _, writer in held:
            writer.close()


def test_no_controller(tmp_path: Path) -> None:
    """Nobody there: its own error, which the command line turns into 3."""
    with pytest.raises(control.NoController, match=r"control\.sock"):
        control.ask(tmp_path, {"ask": "status"})


async def test_socket_left_by_a_crash_is_taken_over(tmp_path: Path) -> None:
    """A file nobody listens on does not stop the next start."""
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(tmp_path / "control.sock"))
    async with controller(tmp_path):
        assert (await put(tmp_path, "control.sock", b'{"ask": "status"}\n'))["ok"]


async def test_second_controller_with_the_same_directory(tmp_path: Path) -> None:
    """It does not take the first one's sockets away."""
    async with controller(tmp_path):
        with pytest.raises(control.ControlError, match="another controller"):
            await ControlServer(tmp_path, GROUP, handle, harmless=()).start()
        assert (await put(tmp_path, "control.sock", b'{"ask": "status"}\n'))["ok"]
