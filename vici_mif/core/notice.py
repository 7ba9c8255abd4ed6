# SPDX-License-Identifier: Apache-2.0
"""One thing that happened, for people and programs that watch: schema vici-mif/event/1."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Final = "vici-mif/event/1"

Kind = Literal[
    "path",
    "move",
    "clone",
    "authentication",
    "child",
    "closed",
    "refusal",
    "failure",
    "order",
    "configuration",
    "link",
    "charon",
    "said",
]

Level = Literal["info", "warning", "error"]


class Notice(BaseModel):
    """One thing that happened."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: Literal["vici-mif/event/1"] = Field(default=SCHEMA, alias="schema")
    number: int = Field(default=0, description="Counted since the controller started.")
    at: str = Field(default="", description="RFC 3339 UTC.")
    kind: Kind = Field(
        description="path: it has another state; move, clone, authentication, child: done; "
        "closed: an IKE SA ended; refusal: somebody said no; failure: it did not work; order: by "
        "hand; configuration: read again; link, charon: as they are now; said: the log's words."
    )
    peer: str = Field(default="", description="Empty: not about one peer.")
    path: str = Field(default="", description="LINK/REMOTE where it is about one.")
    ike_id: int | None = Field(default=None, description="charon's unique id.")
    before: str = Field(default="", description="path: the state it had; move: the pair or path.")
    state: str = Field(default="", description="path: the state it has; link: up, down or gone.")
    reason: str = Field(default="", description="A word of docs/vici.md, or a sentence.")
    level: Level = "info"
    text: str = Field(description="All of it in one sentence.")

    def to_json(self) -> str:
        """One line."""
        return self.model_dump_json(by_alias=True)


def schema() -> dict[str, Any]:
    """The JSON Schema of one event."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Notice.model_json_schema(by_alias=True),
        "title": SCHEMA,
    }
