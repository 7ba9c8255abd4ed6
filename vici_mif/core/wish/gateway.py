# SPDX-License-Identifier: Apache-2.0
"""The wish of a gateway: which connections its peers come by, and what is checked of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from vici_mif.core.model import SourceCheck
from vici_mif.core.wish.inline import Frozen
from vici_mif.core.wish.values import not_empty, one_text


def _word(value: object) -> object:
    """YAML takes `off` for a truth value."""
    return "off" if value is False else value


class GatewayConfig(Frozen):
    """Peers that come to us."""

    connections: Annotated[
        tuple[str, ...], BeforeValidator(one_text, json_schema_input_type=str | list[str])
    ] = Field(description="Connections in charon by which peers come; this end only answers.")
    source_check: Annotated[
        SourceCheck, BeforeValidator(_word, json_schema_input_type=SourceCheck | bool)
    ] = Field(
        default="count",
        description="ESP from an outer address where its peer is not: nothing, count, or drop.",
    )

    @field_validator("connections", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        return not_empty(value)
