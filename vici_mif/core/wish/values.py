# SPDX-License-Identifier: Apache-2.0
"""How single values of the configuration are written: times, ranges, prefixes, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

PARSED = {"parsed": True}
"""Context of a validation: what is read was parsed before, as the journal keeps it."""

DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h)?")
DELAY_UNITS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}
MOST_DELAY = 86400.0

LINK_BYTES = 15
"""IFNAMSIZ without its zero."""

NAME_BYTES = 255
"""Of a connection or a child: VICI has one octet for the length of a name."""

LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")


def _written(read: Callable[[object], object]) -> BeforeValidator:
    """How an operator writes it; a value that was parsed before is taken as it is."""

    def once(value: object, info: ValidationInfo) -> object:
        return value if info.context is PARSED else read(value)

    return BeforeValidator(once)


def _delay(value: object) -> object:
    match = DELAY.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    if match is None:
        raise PydanticCustomError("place", "expected a time such as 5s, 500ms or 2m")
    delay = float(match[1]) * DELAY_UNITS[match[2]]
    if delay > MOST_DELAY:
        raise PydanticCustomError("place", "expected a time of a day at most")
    return delay


def _range(value: object) -> object:
    match = re.fullmatch(r"(\d{1,10})-(\d{1,10})", str(value).strip())
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
    good = _is_host(host.removeprefix("[").removesuffix("]"))
    if text.startswith("/") or (good and re.fullmatch(r"\d{1,5}", port) and 0 < int(port) < 65536):
        return text
    raise PydanticCustomError("place", "expected HOST:PORT, or the path of a unix socket")


def _absolute(value: object) -> object:
    if isinstance(value, str) and not value.startswith("/"):
        raise PydanticCustomError("place", "expected a path that begins with /")
    return value


def _name(value: object) -> object:
    if value == "":
        raise PydanticCustomError("place", "expected a name")
    if len(str(value).encode()) > NAME_BYTES:
        raise PydanticCustomError("place", f"expected a name of {NAME_BYTES} bytes at most")
    return value


def _link_name(value: object) -> object:
    """What the kernel takes (dev_valid_name); a pattern may be longer than what it matches."""
    if not isinstance(value, str):
        return value
    exact = not any(c in value for c in "*?[")
    if any(c in "/:" or c.isspace() for c in value) or (
        exact and not 0 < len(value.encode()) <= LINK_BYTES
    ):
        text = f"no interface can have this name: 1 to {LINK_BYTES} bytes, no space, `/` or `:`"
        raise PydanticCustomError("place", text)
    return value


def _dialled(value: object) -> object:
    """An address that every link may reach, or a name of such addresses."""
    text = str(value)
    if not _is_host(text):
        raise PydanticCustomError("place", "expected an address or a name of the peer")
    if (address := _address(text)) and _goes_nowhere(address):
        raise PydanticCustomError("place", "expected an address that a route can lead to")
    return value


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _goes_nowhere(address: IPv4Address | IPv6Address) -> bool:
    local = address.version == 6 and address.is_link_local
    return address.is_unspecified or address.is_multicast or local


def _is_host(text: str) -> bool:
    """An address without a zone, or a name of the DNS; a number at its end would be an address."""
    if _address(text) is not None:
        return "%" not in text
    labels = text.removesuffix(".").split(".")
    return all(map(LABEL.fullmatch, labels)) and not labels[-1].isdecimal()


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
    return "off" if value in (False, "off") else _absolute(value)


AbsolutePath = Annotated[str, AfterValidator(_absolute)]

Directory = Annotated[str, BeforeValidator(_off, json_schema_input_type=str | Literal[False])]
"""`off`: none."""

Name = Annotated[str, AfterValidator(_name)]

LinkName = Annotated[str, AfterValidator(_link_name)]

Dialled = Annotated[str, AfterValidator(_dialled)]
"""Of the peer's addresses and names."""

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
