# SPDX-License-Identifier: Apache-2.0
"""What was measured: samples, what is said of them, a table for people and JSON for programs."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from vici_mif.lab.errors import LabError

SCHEMA: Final = "vici-mif/behaviour/1"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
GATEWAY: Final = "gateway."
"""What the names of figures begin with that have a table of their own."""
GATEWAY_BEGIN, GATEWAY_END = "<!-- measured, gateway: begin -->", "<!-- measured, gateway: end -->"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Figure(_Model):
    """One thing that was measured, every sample of it."""

    name: str = Field(description="For programs: `failover.link-lost.up`.")
    title: str = Field(description="For people.")
    unit: str = Field(description="ms, packets, s, %, MB, moves.")
    values: tuple[float, ...] = Field(min_length=1)
    bound: float | None = Field(
        default=None, description="What 95 % of the samples may be at most; of packets, each."
    )
    measured: str = Field(default="", description="Day, and the load when the run began.")

    @property
    def broken(self) -> bool:
        """It is beyond its bound."""
        worst = max(self.values) if self.unit == "packets" else self.p95
        return self.bound is not None and worst > self.bound

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p95(self) -> float:
        """By nearest rank: a value that was really measured."""
        return sorted(self.values)[math.ceil(0.95 * len(self.values)) - 1]

    def row(self) -> str:
        """One line of the table."""
        shown = (min(self.values), self.median, self.p95, max(self.values))
        cells = [self.title, self.unit, str(len(self.values)), *map(_short, shown)]
        bound = "" if self.bound is None else _short(self.bound)
        return f"| {' | '.join([*cells, bound, self.measured])} |"


class Machine(_Model):
    """Where it was measured."""

    kernel: str
    cores: int
    load: float = Field(description="Load average of one minute when it began.")


class Behaviour(_Model):
    """A whole run."""

    schema_: Literal["vici-mif/behaviour/1"] = Field(default=SCHEMA, alias="schema")
    date: str = Field(description="RFC 3339, UTC.")
    version: str
    quick: bool = Field(description="Few samples of each.")
    machine: Machine
    figures: tuple[Figure, ...]
    failed: dict[str, str] = Field(
        default={}, description="Measurements that did not come to their end, and why."
    )

    def dated(self) -> Behaviour:
        """Each figure says when it was measured."""
        when = f"{self.date}, {self.machine.load:.1f}"
        own = tuple(f.model_copy(update={"measured": when}) for f in self.figures)
        return self.model_copy(update={"figures": own})

    def over(self, before: Behaviour) -> Behaviour:
        """What was measured before stays where this run measured nothing of it."""
        mine = {figure.name: figure for figure in self.figures}
        kept = [mine.pop(figure.name, figure) for figure in before.figures]
        for name, figure in mine.items():
            alike = [i for i, f in enumerate(kept) if f.name.split(".")[0] == name.split(".")[0]]
            kept.insert(alike[-1] + 1 if alike else len(kept), figure)
        return self.model_copy(update={"figures": tuple(kept)})

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=2)


def schema() -> dict[str, Any]:
    """The JSON Schema of a run."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Behaviour.model_json_schema(by_alias=True),
        "title": SCHEMA,
    }


def table(run: Behaviour) -> str:
    """Markdown: what, unit, number of samples, and their spread."""
    machine = run.machine
    lines = [
        f"Version {run.version}, {'quick' if run.quick else 'full'} run. "
        f"{machine.kernel}, {machine.cores} cores.",
        "",
        "| what | unit | n | least | median | 95 % | most | bound | day, load |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
        *(figure.row() for figure in run.figures),
    ]
    lines += [f"\nNot measured: {name}: {why}." for name, why in run.failed.items()]
    return "\n".join(lines) + "\n"


def write(path: Path, run: Behaviour) -> None:
    """Replace the tables in a document, each between its two marks. Raises LabError without them.

    All samples lie beside it, as JSON: what this run did not measure stays as it was.
    """
    text, samples = path.read_text(), path.with_suffix(".json")
    run = run.dated()
    if samples.exists():
        run = run.over(Behaviour.model_validate_json(samples.read_bytes()))
    gateway = tuple(f for f in run.figures if f.name.startswith(GATEWAY))
    client = tuple(f for f in run.figures if f not in gateway)
    if client or not gateway:
        text = _put(path, text, (BEGIN, END), run.model_copy(update={"figures": client}))
    if gateway:
        alone = run.model_copy(update={"figures": gateway, "failed": {}})
        text = _put(path, text, (GATEWAY_BEGIN, GATEWAY_END), alone)
    path.write_text(text)
    samples.write_text(run.to_json() + "\n")


def _put(path: Path, text: str, marks: tuple[str, str], run: Behaviour) -> str:
    begin, end = marks
    marked = re.compile(f"{begin}\n.*?{end}", re.DOTALL)
    if not marked.search(text):
        raise LabError(f"{path}: no place for the table: it belongs between {begin} and {end}")
    return marked.sub(lambda _: f"{begin}\n{table(run)}{end}", text)


def milliseconds(seconds: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(second * 1000, 1) for second in seconds)


def _short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"


def of(
    name: str,
    title: str,
    values: Iterable[float],
    unit: str = "ms",
    bound: float | None = None,
) -> Figure:
    """Of times the values are seconds, and the bound is of the unit."""
    shown = milliseconds(values) if unit == "ms" else tuple(values)
    return Figure(name=name, title=title, unit=unit, values=shown, bound=bound)
