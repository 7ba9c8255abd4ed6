# SPDX-License-Identifier: Apache-2.0
"""`vici-mif lab measure`: runs the measurements, shows how far it is, writes what came out."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vici_mif import __version__
from vici_mif.lab.entry import FAILED, OK, Entry
from vici_mif.lab.errors import LabError
from vici_mif.lab.measure import costs, crowd, deaths, failovers, figures, handovers, hands
from vici_mif.lab.measure.bench import Say
from vici_mif.lab.measure.figures import Behaviour, Figure, Machine
from vici_mif.lab.wires.impair import DOWN, UP


@dataclass(frozen=True, slots=True)
class Measurement:
    """What can be asked for by its name."""

    name: str
    act: Callable[[Say, int], list[Figure]]
    full: int
    """Samples of a full run."""
    quick: int


_WAYS = {"both": (UP, DOWN), "up": (UP,), "down": (DOWN,)}
_DELAYS = (0, 20, 100)
"""Milliseconds one way, on each path."""


def _after(ms: int) -> str:
    return f"-{ms}ms" if ms else ""


MEASUREMENTS = (
    Measurement("link-lost", failovers.link_lost, 100, 6),
    *(
        Measurement(f"silent-{profile}-{way}", failovers.silent(profile, directions), 100, 4)
        for profile in ("normal", "fast")
        for way, directions in _WAYS.items()
    ),
    *(
        Measurement(f"{name}-{way}", failovers.silent(profile, _WAYS[way], DOWN), 100, 4)
        for profile, name in (("normal", "silent-download"), ("fast", "silent-download-fast"))
        for way in ("both", "down")
    ),
    Measurement("silent-ike", failovers.silent("ike", _WAYS["both"]), 20, 2),
    Measurement("new-link", handovers.new_link, 20, 2),
    *(Measurement(f"drain{_after(ms)}", handovers.drained(ms), 20, 3) for ms in _DELAYS),
    *(Measurement(f"better-link{_after(ms)}", handovers.better_link(ms), 20, 2) for ms in _DELAYS),
    Measurement("controller-killed", deaths.controller_killed, 20, 2),
    Measurement("charon-killed", deaths.charon_killed, 10, 1),
    Measurement("gateway-killed", deaths.gateway_killed, 10, 1),
    Measurement("rules-flushed", hands.rules_flushed, 20, 3),
    Measurement("ruleset-flushed", hands.ruleset_flushed, 20, 3),
    Measurement("gateway", crowd.measure, 1000, 50),
    Measurement("costs", costs.costs, 10, 1),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(m.name for m in MEASUREMENTS)
    add = parser.add_argument
    add(
        "--quick",
        action="store_true",
        help="few samples of each: some minutes instead of nearly an hour",
    )
    add("--samples", type=int, metavar="N", help="at most so many of each")
    add("--only", metavar="NAME,...", default="", help=f"of {names}")
    add("--json", action="store_true", help="JSON on standard output instead of the table")
    add("--write", type=Path, metavar="FILE", help="put the table into this document")


def run(args: argparse.Namespace) -> int:
    """Exit 1 where a measurement did not come to its end, or is beyond its bound."""
    done = measure(_chosen(args.only), quick=args.quick, most=args.samples)
    if args.write:
        figures.write(args.write, done)
    print(done.to_json() if args.json else figures.table(done), flush=True)
    broken = [figure for figure in done.figures if figure.broken]
    for figure in broken:
        print(f"beyond its bound of {figure.bound:g}: {figure.title}", file=sys.stderr)
    return FAILED if done.failed or broken else OK


def _chosen(only: str) -> tuple[Measurement, ...]:
    wanted = [name for name in only.split(",") if name]
    known = {m.name: m for m in MEASUREMENTS}
    if strange := [name for name in wanted if name not in known]:
        raise LabError(f"no measurement {', '.join(strange)}; known: {', '.join(known)}")
    return tuple(known[name] for name in wanted) or MEASUREMENTS


def measure(chosen: tuple[Measurement, ...], *, quick: bool, most: int | None = None) -> Behaviour:
    """One after the other; a lab that fails is said and does not end the others."""
    load, begun = os.getloadavg()[0], time.monotonic()
    found: list[Figure] = []
    failed: dict[str, str] = {}

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:6.0f} s] {text}", file=sys.stderr, flush=True)

    for one in chosen:
        samples = min(one.quick if quick else one.full, most or one.full)
        say(f"{one.name}: {samples} samples")
        try:
            found += one.act(say, samples)
        except LabError as error:
            failed[one.name] = str(error).splitlines()[0]
            say(f"{one.name} failed: {error}")
    return Behaviour(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        version=__version__,
        quick=quick,
        machine=_machine(load),
        figures=tuple(found),
        failed=failed,
    )


def _machine(load: float) -> Machine:
    return Machine(
        kernel=f"{platform.system()} {platform.release()}",
        cores=os.cpu_count() or 1,
        load=round(load, 1),
    )


ENTRY = Entry("measure", run, "measure failover, drain, deaths and costs in labs", arguments)
