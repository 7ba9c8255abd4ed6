# SPDX-License-Identifier: Apache-2.0
"""A controller that is stopped ends, whatever ends beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.namespace import eventually, own_namespace
from vici_mif.core.events import Ticked
from vici_mif.shell import places, tasks
from vici_mif.shell.daemon import Daemon, Settings
from vici_mif.shell.log import Log

ROOT = Path(__file__).parent.parent


async def test_a_group_that_fails_while_it_is_cancelled() -> None:
    """As the watch of nftables does where Ctrl-C ends `nft monitor` too: it is begun again."""
    began = 0
    failed = asyncio.Event()

    async def fail() -> None:
        failed.set()
        if began == 1:
            raise OSError

    async def linger() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)  # so that the cancellation comes while it fails

    async def work() -> None:
        nonlocal began
        while True:
            began += 1
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(linger())
                    group.create_task(fail())
            except* OSError:
                pass

    task = asyncio.create_task(work())
    await failed.wait()
    await asyncio.sleep(0.01)
    await tasks.end([task])

    assert task.cancelled()
    assert began == (2 if sys.version_info < (3, 13) else 1)


def noted(folder: Path) -> list[Path]:
    """Files of the journal: there is one as soon as a fact was taken in."""
    return list(folder.glob("journal/*"))


async def lost() -> None:
    """A mistake of ours."""
    raise IndexError


async def ended() -> None:
    """An edge that should run for ever."""


def controller(folder: Path) -> Daemon:
    """A controller with a journal, before its first fact."""
    file = folder / "config.yaml"
    file.write_text(
        "version: 1\nconnections:\n  hq: {links: [eth0], on_stop: close}\n"
        f"daemon: {{journal: {folder}/journal}}\n"
    )
    settings = Settings(places.read(file), str(file), str(folder / "vici"), folder, folder)
    return Daemon(settings, Log(verbose=False))


@pytest.mark.parametrize(
    ("begin", "mistake"),
    [
        (lambda daemon: daemon._edge(lost()), IndexError),
        (lambda daemon: daemon._edge(ended()), RuntimeError),
        (lambda daemon: daemon._executor._start(lost()), IndexError),
    ],
    ids=["an edge", "an edge that ends", "an action"],
)
async def test_a_mistake_is_no_stop(
    tmp_path: Path, begin: Callable[[Daemon], object], mistake: type[Exception]
) -> None:
    """In a crash nothing changes: with `on_stop: close`, too, nothing is closed."""
    daemon = controller(tmp_path)
    begin(daemon)

    with pytest.raises(mistake):
        await asyncio.wait_for(daemon._loop(), 10)
    daemon._take_in()  # who asks for the status at this moment
    daemon._journal.close()

    assert noted(tmp_path) == []


async def test_nobody_is_answered_after_a_mistake_in_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was half done is not gone on with, also while the last actions end."""

    def broken(*_: object) -> None:
        raise ValueError("a mistake of ours")

    daemon = controller(tmp_path)
    monkeypatch.setattr("vici_mif.core.planner.Planner.handle", broken)
    daemon._emit(Ticked())
    with pytest.raises(ValueError, match="a mistake of ours"):
        await asyncio.wait_for(daemon._loop(), 10)
    daemon._journal.close()

    assert "mistake of its own" in (await daemon.asked({"ask": "status"}))["error"]


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C tells every process in front, also what the controller has begun; who is killed
    cannot tell anybody."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "version: 1\nconnections:\n  hq: {links: [eth0]}\n"
        f"daemon: {{vici: {tmp_path}/none, run_dir: {tmp_path}/run, state_dir: {tmp_path}/state, "
        "journal: off}\n"
    )
    argv = [sys.executable, "-m", "vici_mif", "run", "-c", str(file)]
    with own_namespace():
        child = subprocess.Popen(argv, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: len(monitors(child.pid)) == 2)
            begun = monitors(child.pid)
            os.kill(child.pid, number) if number is signal.SIGKILL else os.killpg(child.pid, number)
            assert child.wait(30) == (-number if number is signal.SIGKILL else 0)
            eventually(lambda: not any(Path(f"/proc/{each}").exists() for each in begun))
        finally:
            child.kill()
            child.wait()


def monitors(pid: int) -> list[str]:
    """Every `nft monitor` that a process has begun."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = []
    for each in children:
        with suppress(OSError):  # it may be gone by now
            if Path(f"/proc/{each}/cmdline").read_bytes().startswith(b"nft\0monitor"):
                found.append(each)
    return found
