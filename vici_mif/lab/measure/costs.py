# SPDX-License-Identifier: Apache-2.0
"""What the controller takes of the machine, idle and while a link flaps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from vici_mif.lab.measure import figures
from vici_mif.lab.measure.bench import (
    Say,
    Stage,
    stage,
)
from vici_mif.lab.measure.figures import Figure
from vici_mif.lab.sas import Moves

FLAP_DELAY = 0.2
"""Seconds of a link's being down and up again: 5 Hz."""

MOST_MOVES = 8.0
"""In a minute of flapping."""


def costs(say: Say, n: int) -> list[Figure]:
    """Processor and memory of the controller, idle and while a link flaps at 5 Hz."""
    seconds = 10.0 if n < 10 else 60.0
    with stage("m-cost") as at:
        idle = _used(at, lambda: time.sleep(seconds))
        say(f"idle for {seconds:g} s: {idle:.1f} %")
        moves = Moves(at.lab.client.vici_socket)
        busy = _used(at, lambda: _flap(at, seconds))
        after = _memory(at)
        at.settle()
        counted = moves.count()
        moves.close()
        say(f"flapping for {seconds:g} s: {busy:.1f} %, {counted} updates")
    return [
        figures.of("cpu.idle", "controller, idle: processor", [idle], "%"),
        figures.of("cpu.flapping", "controller, 5 Hz: processor", [busy], "%"),
        figures.of("memory", "controller, after flapping: memory", [after], "MB"),
        figures.of(
            "flapping.moves",
            f"a link flaps at 5 Hz for {seconds:g} s: address updates of all tunnels",
            [counted],
            "moves",
            MOST_MOVES,
        ),
    ]


def _flap(at: Stage, seconds: float) -> None:
    end = time.monotonic() + seconds
    link = at.lab.uplinks[0]
    while time.monotonic() < end:
        at.lab.link_down(link)
        time.sleep(FLAP_DELAY / 2)
        at.lab.link_up(link)
        time.sleep(FLAP_DELAY / 2)


def _used(at: Stage, act: Callable[[], None]) -> float:
    """Per cent of one processor while something goes on."""
    before, begun = _ticks(at), time.monotonic()
    act()
    ticks = _ticks(at) - before
    return round(100 * ticks / os.sysconf("SC_CLK_TCK") / (time.monotonic() - begun), 1)


def _ticks(at: Stage) -> int:
    fields = at.controller.proc("stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # utime and stime of proc_pid_stat(5)


def _memory(at: Stage) -> float:
    """Resident, in MB."""
    lines = at.controller.proc("status").splitlines()
    (size,) = (int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return round(size / 1024, 1)
