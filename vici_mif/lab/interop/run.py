# SPDX-License-Identifier: Apache-2.0
"""Runs the matrix: every scenario of the rig between every client and every gateway."""

from __future__ import annotations

import datetime
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from vici_mif.lab.abilities import KERNEL_ESP, abilities
from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import backends, page
from vici_mif.lab.interop.backends import Ready
from vici_mif.lab.interop.images import SkippedError
from vici_mif.lab.interop.implementations import ROLES, Implementation
from vici_mif.lab.interop.plan import Cast, Plan
from vici_mif.lab.interop.results import Cell, Outcome, Played, Results
from vici_mif.lab.interop.stage import RigStage
from vici_mif.lab.lab import Lab
from vici_mif.lab.scenario.model import Scenario, Topology
from vici_mif.lab.scenario.play import has
from vici_mif.lab.scenario.runner import StageError, play
from vici_mif.lab.topology import CLIENT, GATEWAY

Say = Callable[[str], object]

_BACKENDS = {"docker": backends.in_containers, "netns": backends.in_namespaces}
_numbers = itertools.count()


def run(plan: Plan, say: Say) -> Results:
    """All cells; results.json and the page are there after each."""
    began = datetime.datetime.now(datetime.UTC)
    clock = time.monotonic()
    cells: list[Cell] = []
    for cell in _cells(plan, say):
        cells.append(cell)
        if cell.outcome != "unsupported":
            say(
                f"{cell.outcome:8} {cell.scenario}: {cell.client} -> {cell.gateway}  {_short(cell)}"
            )
        results = _results(plan, began, time.monotonic() - clock, cells)
        results.write(plan.out)
        page.write(results, plan.out)
    return _results(plan, began, time.monotonic() - clock, cells)


def _short(cell: Cell) -> str:
    return cell.why.strip().splitlines()[0] if cell.why else f"{cell.seconds:.0f} s"


def _results(
    plan: Plan, began: datetime.datetime, seconds: float, cells: Iterable[Cell]
) -> Results:
    both = {**plan.clients, **plan.gateways}
    return Results(
        schema="vici-mif/interop/1",
        began=began.isoformat(timespec="seconds").replace("+00:00", "Z"),
        seconds=round(seconds, 1),
        backend=plan.backend,
        kernel=f"{platform.system()} {platform.release()}",
        implementations={name: each.title for name, each in both.items()},
        scenarios={
            name: Played(title=s.story.scenario, kind=s.story.rig or "clones")
            for name, s in plan.scenarios.items()
        },
        cells=tuple(cells),
    )


def _cells(plan: Plan, say: Say) -> Iterator[Cell]:
    ready, missing = _prepared(plan, say)
    for scenario in plan.scenarios.values():
        for client, gateway in itertools.product(plan.clients, plan.gateways):
            cast = plan.cast(scenario, client, gateway)
            if said := _unplayable(scenario.name, cast, ready, missing):
                yield _told(scenario.name, cast, *said)
                continue
            cell = _played(plan, scenario, cast, ready)
            yield _limited(cell, plan.clients[client], plan.gateways[gateway])


def _unplayable(
    scenario: str, cast: Cast, ready: Mapping[str, Ready], missing: Mapping[str, tuple[bool, str]]
) -> tuple[Outcome, str] | None:
    """What stands in a cell that nobody plays; None: it can be played."""
    why = {missing[name] for name in cast.names if name in missing}
    if why:
        skipped = all(skip for skip, _ in why)
        return "skipped" if skipped else "fail", "; ".join(text for _, text in why)
    absent = [
        cast.last[role]
        for role in ROLES
        if (scenario, role) not in ready[cast.last[role]].plays or not cast.first[role]
    ]
    if absent:
        return "unsupported", f"{' and '.join(dict.fromkeys(absent))} cannot play it"
    return None


def _limited(cell: Cell, *ends: Implementation) -> Cell:
    """With what it does not prove where ESP has to be the kernel's."""
    if KERNEL_ESP in abilities():
        return cell
    said = [cell.why, *dict.fromkeys(end.limits for end in ends)]
    return cell.model_copy(update={"why": " ".join(filter(None, said))})


def _told(scenario: str, cast: Cast, outcome: Outcome, why: str) -> Cell:
    client, gateway = cast.last[CLIENT], cast.last[GATEWAY]
    return Cell(scenario=scenario, client=client, gateway=gateway, outcome=outcome, why=why)


def _prepared(plan: Plan, say: Say) -> tuple[dict[str, Ready], dict[str, tuple[bool, str]]]:
    """Who can run, and of the others why not: skipped (true) or an error."""
    ready: dict[str, Ready] = {}
    missing: dict[str, tuple[bool, str]] = {}
    for name, wanted in plan.taking_part.items():
        try:
            ready[name] = _BACKENDS[plan.backend](wanted, plan.kinds)
        except LabError as error:
            missing[name] = (isinstance(error, SkippedError), f"{name}: {error}")
            say(f"{name}: {error}")
    return ready, missing


def _played(plan: Plan, scenario: Scenario, cast: Cast, ready: Mapping[str, Ready]) -> Cell:
    folder = f"cells/{scenario.name}/{cast.folder}"
    evidence = plan.out / folder

    def make(topology: Topology) -> Lab:
        name = f"rig-{os.getpid()}-{next(_numbers)}"
        first = (ready[cast.first[end]] for end in (CLIENT, GATEWAY))
        return Lab.up(topology.wish(name), backends.setup(*first), keep=False)

    def newer(end: str) -> tuple[Path, str]:
        return ready[cast.last[end]].prefix, ready[cast.last[end]].image

    stage = RigStage(make, has(), newer, evidence)
    evidence.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (evidence / "play.log").open("w") as log:
        outcome, why = _outcome(scenario, stage, lambda line: log.write(f"{line}\n"))
    return Cell(
        scenario=scenario.name,
        client=cast.last[CLIENT],
        gateway=cast.last[GATEWAY],
        outcome=outcome,
        why=why,
        seconds=round(time.monotonic() - began, 1),
        folder=folder,
        files=tuple(sorted(path.name for path in evidence.iterdir())),
        facts=stage.facts,
    )


def _outcome(scenario: Scenario, stage: RigStage, say: Say) -> tuple[Outcome, str]:
    try:
        play(scenario, stage, say)
    except StageError as error:
        return "skipped", str(error)
    except LabError as error:
        return "fail", str(error)
    except Exception as error:
        # one cell that breaks the lab must not take the others along
        return "fail", f"{type(error).__name__}: {error}"
    if scenario.story.rig == "fallback":
        return "fallback", "fallback ok: the gateway cannot clone."
    return "pass", ""
