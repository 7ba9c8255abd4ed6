# SPDX-License-Identifier: Apache-2.0
"""Runs the matrix: every scenario of the rig between every client and every gateway."""

from __future__ import annotations

import datetime
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import backends, page
from vici_mif.lab.interop.backends import Ready
from vici_mif.lab.interop.images import SkippedError
from vici_mif.lab.interop.implementations import Implementation
from vici_mif.lab.interop.results import Cell, Outcome, Played, Results
from vici_mif.lab.interop.stage import RigStage
from vici_mif.lab.lab import Lab
from vici_mif.lab.scenario.model import Scenario, Topology
from vici_mif.lab.scenario.play import has, read
from vici_mif.lab.scenario.runner import StageError, play

Backend = Literal["docker", "netns"]
Say = Callable[[str], object]

_BACKENDS = {"docker": backends.in_containers, "netns": backends.in_namespaces}
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    backend: Backend
    clients: Mapping[str, Implementation]
    gateways: Mapping[str, Implementation]
    scenarios: Mapping[str, Scenario]
    out: Path

    @property
    def kinds(self) -> dict[str, str]:
        return {name: str(s.story.rig) for name, s in self.scenarios.items()}


def scenarios(directory: Path, names: str = "") -> dict[str, Scenario]:
    """The rig's of a directory, or those of a list with commas. Raises LabError."""
    found = {file.stem: read(file) for file in sorted(directory.glob("*.yaml"))}
    ours = {name: scenario for name, scenario in found.items() if scenario.story.rig}
    wanted = [name for name in names.split(",") if name]
    if strange := set(wanted) - set(ours):
        raise LabError(f"no such scenario: {', '.join(strange)} (the rig has: {', '.join(ours)})")
    return {name: ours[name] for name in wanted or ours}


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
    for name, scenario in plan.scenarios.items():
        for client, gateway in itertools.product(plan.clients, plan.gateways):
            why = {missing[n] for n in (client, gateway) if n in missing}
            if why:
                outcome: Outcome = "skipped" if all(skip for skip, _ in why) else "fail"
                yield _told(name, client, gateway, outcome, "; ".join(text for _, text in why))
                continue
            absent = [
                n
                for n, role in ((client, "client"), (gateway, "gateway"))
                if (name, role) not in ready[n].plays
            ]
            if absent:
                text = f"{' and '.join(dict.fromkeys(absent))} cannot play it"
                yield _told(name, client, gateway, "unsupported", text)
                continue
            cell = _played(plan, scenario, (client, ready[client]), (gateway, ready[gateway]))
            yield _limited(cell, plan.clients[client], plan.gateways[gateway])


def _limited(cell: Cell, *ends: Implementation) -> Cell:
    """With what it does not prove."""
    said = [cell.why, *dict.fromkeys(end.limits for end in ends)]
    return cell.model_copy(update={"why": " ".join(filter(None, said))})


def _told(scenario: str, client: str, gateway: str, outcome: Outcome, why: str) -> Cell:
    return Cell(scenario=scenario, client=client, gateway=gateway, outcome=outcome, why=why)


def _prepared(plan: Plan, say: Say) -> tuple[dict[str, Ready], dict[str, tuple[bool, str]]]:
    """Who can run, and of the others why not: skipped (true) or an error."""
    ready: dict[str, Ready] = {}
    missing: dict[str, tuple[bool, str]] = {}
    for name, wanted in {**plan.clients, **plan.gateways}.items():
        try:
            ready[name] = _BACKENDS[plan.backend](wanted, plan.kinds)
        except LabError as error:
            missing[name] = (isinstance(error, SkippedError), f"{name}: {error}")
            say(f"{name}: {error}")
    return ready, missing


def _played(
    plan: Plan, scenario: Scenario, client: tuple[str, Ready], gateway: tuple[str, Ready]
) -> Cell:
    folder = f"cells/{scenario.name}/{client[0]}--{gateway[0]}"
    evidence = plan.out / folder

    def make(topology: Topology) -> Lab:
        name = f"rig-{os.getpid()}-{next(_numbers)}"
        return Lab.up(topology.wish(name), backends.setup(client[1], gateway[1]), keep=False)

    stage = RigStage(make, has(), evidence)
    evidence.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (evidence / "play.log").open("w") as log:
        outcome, why = _outcome(scenario, stage, lambda line: log.write(f"{line}\n"))
    return Cell(
        scenario=scenario.name,
        client=client[0],
        gateway=gateway[0],
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
