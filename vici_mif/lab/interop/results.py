# SPDX-License-Identifier: Apache-2.0
"""What a run of the rig found: `results.json`, its model and its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from vici_mif.core.wish.inline import Frozen

FILE = "results.json"

Outcome = Literal["pass", "fallback", "unsupported", "skipped", "fail"]


class Counters(Frozen):
    """What one end's charon counted in its CHILD SAs at the end, by VICI."""

    ike_sas: int
    packets_in: int
    packets_out: int


class Facts(Frozen):
    """What was seen, beside the verdict."""

    messages: Mapping[str, int] = Field(description="IKE messages by exchange, each once.")
    clones: int = Field(description="Requests with CLONE_IKE_SA.")
    authentications: int = Field(description="IKE SAs with an IKE_AUTH exchange.")
    esp: Mapping[str, int] = Field(description="ESP packets by the router's interface.")
    counters: Mapping[str, Counters] = Field(description="By end; only those that speak VICI.")


class Cell(Frozen):
    """A scenario between two implementations."""

    scenario: str
    client: str
    gateway: str
    outcome: Outcome
    why: str = Field(default="", description="Of everything but `pass`; limits of a pass.")
    seconds: float = 0.0
    folder: str = Field(default="", description="Of what was kept, beside results.json.")
    files: tuple[str, ...] = Field(default=(), description="In that folder.")
    facts: Facts | None = None


class Played(Frozen):
    """A scenario of the matrix."""

    title: str
    kind: Literal["clones", "fallback", "old-client", "upgrade"]


class Results(Frozen):
    """The whole file."""

    schema_: Literal["vici-mif/interop/1"] = Field(default="vici-mif/interop/1", alias="schema")
    began: str = Field(description="RFC 3339, UTC.")
    seconds: float
    backend: Literal["docker", "netns"]
    kernel: str
    implementations: Mapping[str, str] = Field(description="Name: title.")
    scenarios: Mapping[str, Played]
    cells: tuple[Cell, ...]

    @property
    def failed(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.outcome == "fail"]

    def write(self, directory: Path) -> Path:
        """results.json, replaced at one blow."""
        directory.mkdir(parents=True, exist_ok=True)
        fresh = directory / f"{FILE}.new"
        fresh.write_text(self.model_dump_json(by_alias=True, indent=1) + "\n")
        return fresh.rename(directory / FILE)


def schema() -> dict[str, Any]:
    """The JSON Schema of results.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Results.model_json_schema(by_alias=True),
        "title": "vici-mif interop results",
    }
