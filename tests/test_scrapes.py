# SPDX-License-Identifier: Apache-2.0
"""What answers Prometheus: over real sockets, and a real controller behind it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.namespace import eventually, own_namespace
from vici_mif.core.figures.text import CONTENT_TYPE
from vici_mif.edges import scrapes
from vici_mif.edges.scrapes import MOST, Scrapes

ROOT = Path(__file__).parent.parent
PAGE = "vicimif_x 1\n"


async def page() -> str:
    return PAGE


@asynccontextmanager
async def answering(path: Path) -> AsyncIterator[str]:
    """On a unix socket, for as long as the block runs."""
    task = asyncio.create_task(Scrapes(str(path), CONTENT_TYPE, page).serve())
    try:
        await asyncio.to_thread(eventually, path.exists)
        yield str(path)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def asked(path: str, question: bytes) -> str:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(question)
    with suppress(ConnectionError):
        await writer.drain()
    answer = b""
    with suppress(ConnectionError):
        answer = await reader.read()
    writer.close()
    return answer.decode()


@pytest.mark.parametrize(
    ("question", "status", "body"),
    [
        ("GET /metrics HTTP/1.1", "HTTP/1.1 200 OK", PAGE),
        ("GET /metrics?x=1 HTTP/1.0", "HTTP/1.1 200 OK", PAGE),
        ("HEAD /metrics HTTP/1.1", "HTTP/1.1 200 OK", ""),
        ("GET / HTTP/1.1", "HTTP/1.1 404 Not Found", ""),
        ("POST /metrics HTTP/1.1", "HTTP/1.1 405 Method Not Allowed", ""),
        ("hello", "HTTP/1.1 400 Bad Request", ""),
    ],
)
async def test_answers(tmp_path: Path, question: str, status: str, body: str) -> None:
    """One resource, two methods, one connection for each question."""
    async with answering(tmp_path / "metrics") as path:
        said = await asked(path, f"{question}\r\nHost: x\r\n\r\n".encode())

    head, _, rest = said.partition("\r\n\r\n")
    assert head.splitlines()[0] == status
    assert rest == body
    assert f"Content-Type: {CONTENT_TYPE}" in head
    assert "Connection: close" in head


async def test_a_question_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long or too slow: closed without an answer, and the next one is answered."""
    monkeypatch.setattr(scrapes, "READ_DELAY", 0.2)
    async with answering(tmp_path / "metrics") as path:
        assert await asked(path, b"GET /" + b"x" * 100_000) == ""
        assert await asked(path, b"GET /metrics HTT") == ""
        assert PAGE in await asked(path, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_a_crowd(tmp_path: Path) -> None:
    """More than so many at once are sent away; nobody else suffers afterwards."""
    async with answering(tmp_path / "metrics") as path:
        crowd = [await asyncio.open_unix_connection(path) for _ in range(MOST)]
        await asyncio.sleep(0.1)
        assert await asked(path, b"GET /metrics HTTP/1.1\r\n\r\n") == ""
        for _, writer in crowd:
            writer.close()
        await asyncio.sleep(0.1)
        assert PAGE in await asked(path, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_an_address_that_is_taken(tmp_path: Path) -> None:
    """The error names the key and the address."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        with pytest.raises(OSError, match=f"daemon.metrics: {address}"):
            await Scrapes(address, CONTENT_TYPE, page).serve()


@pytest.mark.real
def test_a_controller_is_scraped(tmp_path: Path) -> None:
    """Over TCP, without a charon: what there is to say is said."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "version: 1\nconnections:\n  hq: {links: [eth0]}\n"
        f"daemon: {{vici: {tmp_path}/none, run_dir: {tmp_path}/run, state_dir: {tmp_path}/state, "
        "journal: off, metrics: '127.0.0.1:9791'}\n"
    )
    with own_namespace():
        argv = [sys.executable, "-m", "vici_mif", "run", "-c", str(file)]
        child = subprocess.Popen(argv, cwd=ROOT, env=os.environ, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: 'vicimif_peer_state{peer="hq",state="down"} 1' in scrape())
            said = scrape()
        finally:
            child.terminate()
            child.wait(20)

    assert "vicimif_charon_up 0" in said
    assert 'vicimif_build_info{version="' in said
    assert "vicimif_event_loop_lag_seconds" in said


def scrape() -> str:
    """From within the namespace, as another process."""
    code = (
        "import urllib.request as u; "
        "print(u.urlopen('http://127.0.0.1:9791/metrics', timeout=5).read().decode())"
    )
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
