# SPDX-License-Identifier: Apache-2.0
"""How single values of the configuration are written: times, ranges, prefixes, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

PARSED = {"parsed": True}
"""Context of a validation: what is read was parsed before, as the journal keeps it."""

DELAY = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
DELAY_UNITS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}


def _written(read: Callable[[object], object]) -> BeforeValidator:
    """How an operator writes it; a value that was parsed before is taken as it is."""

    def once(value: object, info: ValidationInfo) -> object:
        return value if info.context is PARSED else read(value)

    return BeforeValidator(once)


def _delay(value: object) -> object:
    match = DELAY.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    if match is None:
        raise PydanticCustomError("place", "expected a time such as 5s, 500ms or 2m")
    return float(match[1]) * DELAY_UNITS[match[2]]


def _range(value: object) -> object:
    match = re.fullmatch(r"(\d+)-(\d+)", str(value).strip())
    if match is None or int(match[1]) > int(match[2]):
        raise PydanticCustomError("place", "expected a range such as 150-169")
    return (int(match[1]), int(match[2]))


def _prefix(value: object) -> object:
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise PydanticCustomError("place", "expected a prefix such as 203.0.113.0/24") from error


def _command(value: object) -> object:
    """As a shell divides words; no shell runs it."""
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise PydanticCustomError("place", "expected a command, with its arguments if any")
    return words


def _listen(value: object) -> object:
    text = str(value)
    host, _, port = text.rpartition(":")
    if text.startswith("/") or (host and port.isdecimal() and 0 < int(port) < 65536):
        return text
    raise PydanticCustomError("place", "expected HOST:PORT, or the path of a unix socket")


def not_empty(value: object) -> object:
    """pydantic's own minimum counts what is left after validation, and hides why it is less."""
    if value == []:
        raise PydanticCustomError("place", "expected at least one")
    return value


def one_text(value: object) -> object:
    """A list of one may be written without brackets."""
    return [value] if isinstance(value, str) else value


def _share(value: object) -> object:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(value).strip())
    if match is None or float(match[1]) > 100:
        raise PydanticCustomError("place", "expected a share such as 20%")
    return float(match[1]) / 100


Delay = Annotated[
    float,
    _written(_delay),
    WithJsonSchema({"type": ["string", "number"], "pattern": "^[0-9.]+ *(ms|s|m|h)?$"}),
]
"""Seconds."""

Range = Annotated[
    tuple[int, int],
    _written(_range),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+-[0-9]+$"}),
]


Prefix = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(_prefix), WithJsonSchema({"type": "string"})
]


def _off(value: object) -> object:
    """YAML reads `off` as a truth value."""
    return "off" if value is False else value


Directory = Annotated[str, BeforeValidator(_off, json_schema_input_type=str | Literal[False])]
"""`off`: none."""

Listen = Annotated[str, BeforeValidator(_listen, json_schema_input_type=str)]
"""`HOST:PORT`, `[HOST]:PORT`, or the path of a unix socket."""

Command = Annotated[
    tuple[str, ...], BeforeValidator(_command, json_schema_input_type=str | list[str])
]

Share = Annotated[
    float,
    _written(_share),
    WithJsonSchema({"type": "string", "pattern": "^[0-9.]+ *%$"}),
]
"""0 to 1."""
