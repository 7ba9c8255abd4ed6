# SPDX-License-Identifier: Apache-2.0
"""Processes are told apart by their start time, and ended by nothing less."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from vici_mif.lab.processes import Process, end, start_time, started, tell


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "1000"])
    yield child
    child.kill()
    child.wait()


def test_a_process_is_alive_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    process = started("sleeper", sleeper.pid)
    assert process.alive()
    end(process, 5)
    assert not process.alive()
    assert sleeper.wait() == -signal.SIGTERM


def test_another_process_with_the_same_id_is_spared(sleeper: subprocess.Popen[bytes]) -> None:
    stale = Process("sleeper", sleeper.pid, 1)
    assert not stale.alive()
    end(stale, 0)
    tell(stale, signal.SIGKILL)
    assert sleeper.poll() is None


def test_one_that_does_not_listen_is_killed() -> None:
    code = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(99)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    end(started("deaf", child.pid), 0.1)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()


def test_one_that_is_gone_has_no_start_time() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert start_time(child.pid) is None
    end(Process("gone", child.pid, 1), 0)


def test_a_number_that_is_a_threads_now_is_no_process() -> None:
    """Numbers of threads and processes are the same; nothing is ended, nothing is raised."""
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        end(started("gone", thread.native_id), 0)
        tell(started("gone", thread.native_id), signal.SIGKILL)
        assert thread.is_alive()
    finally:
        go_on.set()
        thread.join()
