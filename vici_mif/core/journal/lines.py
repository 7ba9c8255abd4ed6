# SPDX-License-Identifier: Apache-2.0
"""The two lines of a journal: where one may begin to read, and one step of the planner."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import models_json_schema

from vici_mif.core.journal import codec
from vici_mif.core.journal.codec import CodecError

SCHEMA: Final = "vici-mif/journal/1"

Began = Literal["started", "rotated", "resumed"]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def text(self) -> str:
        """One line, with its end."""
        return self.model_dump_json(exclude_defaults=True) + "\n"


class Moment(_Line):
    """The same moment on three clocks."""

    monotonic: float = Field(description="Seconds; what the planner is told as now.")
    boot: float = Field(description="Seconds; goes on while the machine sleeps.")
    wall: str = Field(description="RFC 3339 UTC.")


class Start(_Line):
    """Where a replay may begin."""

    journal: Literal["vici-mif/journal/1"] = Field(description="The format's version.")
    version: str = Field(description="Of the controller that wrote it.")
    began: Began = Field(
        description="started: the controller; rotated: the file; resumed: the journal, after "
        "lines were lost."
    )
    time: Moment
    lost: int = Field(default=0, description="Steps that could not be written before this line.")
    base: str = Field(description="Directory of the configuration.")
    config: dict[str, Any] = Field(
        description="As vici-mif.schema.json, defaults left out, a hook's arguments hidden."
    )
    state: Any = Field(
        default=None, description="The planner's, for the same version; null: it knows nothing yet."
    )


class Step(_Line):
    """What came in and what went out."""

    step: int = Field(description="Counted since the controller started.")
    time: Moment
    event: dict[str, Any]
    actions: tuple[dict[str, Any], ...] = Field(
        default=(), description="In the order in which they are begun."
    )
    raised: str = Field(default="", description="The planner's own mistake; then no actions.")


def parse(text: str) -> Start | Step:
    """Raises CodecError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise CodecError("not a line of JSON") from None
    if not isinstance(data, dict) or not data.keys() & {"journal", "step"}:
        raise CodecError("neither a start nor a step")
    kind = Start if "journal" in data else Step
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CodecError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def schema() -> dict[str, Any]:
    """The JSON Schema of one line."""
    kinds = [*codec.EVENTS.values(), *codec.ACTIONS.values()]
    shapes: list[type[BaseModel]] = [Start, Step, *map(codec.shape, kinds)]
    _, found = models_json_schema([(each, "validation") for each in shapes])
    definitions = found["$defs"]
    step = definitions["Step"]["properties"]
    step["event"] = _one_of(codec.EVENTS)
    step["actions"]["items"] = _one_of(codec.ACTIONS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        "anyOf": [{"$ref": "#/$defs/Start"}, {"$ref": "#/$defs/Step"}],
        "$defs": definitions,
    }


def _one_of(names: Any) -> dict[str, Any]:
    """By its name."""
    return {
        "type": "object",
        "properties": {name: {"$ref": f"#/$defs/{name}"} for name in names},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
