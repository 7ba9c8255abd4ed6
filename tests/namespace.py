# SPDX-License-Identifier: Apache-2.0
"""A network namespace for one test, in which the test itself runs."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

CLONE_NEWNET = 0x40000000
# a guest whose processor is emulated is 12 to 20 times slower
PATIENCE = float(os.environ.get("VICI_MIF_PATIENCE", "1"))

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_namespace() -> Iterator[None]:
    """Everything the test does, and what it starts, happens in a new namespace."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if _libc.unshare(CLONE_NEWNET):
            pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        ip("link set lo up")
        yield
    finally:
        assert _libc.setns(before, CLONE_NEWNET) == 0
        os.close(before)


def ip(command: str) -> str:
    """Run one `ip` command and return what it says."""
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {command}: {done.stderr}"
    return done.stdout


def eventually(check: Callable[[], object], within: float = 15.0) -> None:
    """Ask until `check` holds; a slow machine gets time, a wrong answer does not get past."""
    end = time.monotonic() + within * PATIENCE
    while True:
        # one look after the time is over: that before may have been held up since long ago
        last = time.monotonic() >= end
        if check():
            return
        assert not last, f"not within {within} s: {check}"
        time.sleep(0.02)
