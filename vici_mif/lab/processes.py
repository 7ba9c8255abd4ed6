# SPDX-License-Identifier: Apache-2.0
"""Processes that outlive the command which started them, told apart by their start time."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# field 22 of /proc/PID/stat, counted behind the command's closing parenthesis
_START_FIELD = 22 - 3
# of pidfd_open(2): there is none, or the number is a thread's now (EINVAL, since Linux 6.9 ENOENT)
_NO_PROCESS = (errno.ESRCH, errno.EINVAL, errno.ENOENT)


@dataclass(frozen=True, slots=True)
class Process:
    """A process id is only good together with the time that process began."""

    role: str
    pid: int
    start: int

    def alive(self) -> bool:
        return start_time(self.pid) == self.start


def started(role: str, pid: int) -> Process:
    return Process(role, pid, start_time(pid) or 0)


def start_time(pid: int) -> int | None:
    """When the process began, in ticks since boot; None for one that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[_START_FIELD])


def end(process: Process, patience: float, first: int = signal.SIGTERM) -> None:
    """End this process and no other: the descriptor holds its identity while we look at it."""
    with _opened(process.pid) as descriptor:
        if descriptor is None or not process.alive():
            return
        _end_opened(descriptor, patience, first)


def tell(process: Process, number: int) -> None:
    """Send a signal to this process and no other."""
    with _opened(process.pid) as descriptor:
        if descriptor is not None and process.alive():
            signal.pidfd_send_signal(descriptor, number)


def end_members(net_inode: int, patience: float) -> None:
    """End what still runs in a network namespace of ours."""
    for pid in list(_pids()):
        with _opened(pid) as descriptor:
            if descriptor is not None and _net_inode(pid) == net_inode:
                _end_opened(descriptor, patience, signal.SIGTERM)


def _end_opened(descriptor: int, patience: float, first: int) -> None:
    for number, wait in ((first, patience), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        if select.select([descriptor], [], [], wait)[0]:
            return


@contextlib.contextmanager
def _opened(pid: int) -> Iterator[int | None]:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in _NO_PROCESS:
            raise
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _net_inode(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
