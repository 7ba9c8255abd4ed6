# SPDX-License-Identifier: Apache-2.0
"""The streams between two addresses of one namespace, as real processes."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.namespace import eventually, ip, own_namespace
from vici_mif.lab.streams import ends
from vici_mif.lab.streams import log as streamlog
from vici_mif.lab.streams.log import FAILED, GOT, SENT, Growing, Mark, StreamLog, line

STREAMS = [sys.executable, "-m", "vici_mif.lab.streams.ends"]


@pytest.fixture
def namespace() -> Iterator[None]:
    with own_namespace():
        yield


@pytest.mark.real
@pytest.mark.parametrize(
    ("near", "far"), [(("10.9.0.2", "10.9.0.3"), "10.9.0.1"), (("fd00::2",), "fd00::1")]
)
def test_both_directions_of_both_protocols(
    namespace: None, tmp_path: Path, near: tuple[str, ...], far: str
) -> None:
    """Numbered from zero, nothing lost where nothing can be lost, and no echo."""
    for address in (far, *near):
        ip(f"address add {address}/{128 if ':' in address else 32} dev lo")
    logs = tmp_path / "near", tmp_path / "far"
    log = _run(near, far, logs)

    for source in near:
        for kind in ("udp", "tcp"):
            for flow in ((kind, source, far), (kind, far, source)):
                got = [mark.number for mark in log.got[flow]]
                assert got == list(range(len(got)))
                assert len(got) > 5
                assert log.gap(flow, log.got[flow][0].at, log.got[flow][-1].at) < 1
    assert {why for _, _, why in log.failures if "no connection" in why} == set()


def _run(near: tuple[str, ...], far: str, logs: tuple[Path, Path]) -> StreamLog:
    serve = [*STREAMS, "serve", "--address", far, "--log", str(logs[1])]
    pairs = [part for address in near for part in ("--stream", f"{address},{far}")]
    with subprocess.Popen(serve, stdout=subprocess.PIPE) as end:
        assert end.stdout is not None
        assert end.stdout.readline() == b"ready\n"
        run = [*STREAMS, "run", *pairs, "--log", str(logs[0])]
        with subprocess.Popen(run) as other:
            wanted = 8 * len(near) * 10
            eventually(lambda: _lines(logs) > wanted)
            time.sleep(0.5)
            other.terminate()
        end.terminate()
    return streamlog.read(logs)


def _lines(logs: tuple[Path, Path]) -> int:
    return sum(path.read_text().count("\n") for path in logs if path.exists())


def test_what_is_sent_has_the_time_before_it_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that loses the processor afterwards would make a silence look shorter."""
    clock = itertools.count(1.0)
    left: list[float] = []
    fake = SimpleNamespace(sendto=lambda *_: left.append(next(clock)))
    monkeypatch.setattr(ends, "_socket", lambda *_: fake)
    watch = SimpleNamespace(time=lambda: next(clock), monotonic=time.monotonic)
    monkeypatch.setattr(ends, "time", watch)
    noted: list[tuple[str, float]] = []

    async def send() -> None:
        enough = asyncio.Event()

        def write(what: str, flow: object, number: int, at: float, detail: object) -> None:
            noted.append((what, at))
            if len(noted) == 3:
                enough.set()

        ends.Datagrams("10.9.0.2", 7791, 1000, write).stream("10.9.0.1", 7791)
        await asyncio.wait_for(enough.wait(), 20)

    asyncio.run(send())

    assert noted[:3] == [(SENT, at - 1) for at in left[:3]]


def test_a_log_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    """It may still be written."""
    flow = ("udp", "10.9.0.2", "10.9.0.1")
    text = line(SENT, flow, 0, 1.0, 400) + line(GOT, flow, 0, 1.5, 400)
    text += line(FAILED, flow, 1, 2.0, "Network is unreachable") + "got udp 10.9.0"
    path = tmp_path / "log"
    path.write_text(text)
    log = streamlog.read([path])

    assert log.blocks(flow, 0, 2) == {0: 400}
    assert log.failures == [(2.0, flow, "Network is unreachable")]
    assert log.lost(flow, 0, 2) == 0
    assert log.gap(flow, 1.0, 4.0) == 2.5


def test_a_growing_log_is_read_on(tmp_path: Path) -> None:
    """Each line once, also one that was half there at the first look."""
    flow = ("udp", "10.9.0.2", "10.9.0.1")
    lines = [line(GOT, flow, number, 1.0 + number, 400) for number in range(3)]
    path = tmp_path / "log"
    path.write_text("")
    growing = Growing([path])
    seen = []
    for end in (0, 10, len(lines[0]), len(lines[0]) + 5, len("".join(lines))):
        path.write_text("".join(lines)[:end])
        seen.append([mark.number for mark in growing.read().got.get(flow, ())])

    assert seen == [[], [], [0], [0], [0, 1, 2]]


def test_what_came_late_is_counted() -> None:
    """After one with a higher number; from a moment on."""
    flow, log = ("udp", "10.9.0.2", "10.9.0.1"), StreamLog()
    log.got[flow] = [Mark(number, at / 10, 400) for at, number in enumerate([0, 2, 1, 3, 5, 4, 6])]

    assert log.late(flow, 0) == 2
    assert log.late(flow, 0.3) == 1
    assert log.late(("udp", "a", "b"), 0) == 0
