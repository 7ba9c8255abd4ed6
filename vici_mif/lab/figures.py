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


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Figure(_Model):
    """One thing that was measured, every sample of it."""

    name: str = Field(description="For programs: `failover.link-lost.up`.")
    title: str = Field(description="For people.")
    unit: str = Field(description="ms, packets, s, %, MB, moves.")
    values: tuple[float, ...] = Field(min_length=1)

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
        return f"| {' | '.join(cells)} |"


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
        f"{run.date}, version {run.version}, {'quick' if run.quick else 'full'} run. "
        f"{machine.kernel}, {machine.cores} cores, load {machine.load:.1f} at the start.",
        "",
        "| what | unit | n | least | median | 95 % | most |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(figure.row() for figure in run.figures),
    ]
    lines += [f"\nNot measured: {name}: {why}." for name, why in run.failed.items()]
    return "\n".join(lines) + "\n"


def write(path: Path, run: Behaviour) -> None:
    """Replace the table in a document, between its two marks. Raises LabError without them."""
    text = path.read_text()
    marked = re.compile(f"{BEGIN}\n.*?{END}", re.DOTALL)
    if not marked.search(text):
        raise LabError(f"{path}: no place for the table: it belongs between {BEGIN} and {END}")
    path.write_text(marked.sub(lambda _: f"{BEGIN}\n{table(run)}{END}", text))


def milliseconds(seconds: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(second * 1000, 1) for second in seconds)


def _short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"
