# SPDX-License-Identifier: Apache-2.0
"""Puts files and secrets into a request at the moment it goes out, and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vici_mif.core.actions import LoadConnection, LoadSecret
from vici_mif.core.model import FromEnvironment, FromFile
from vici_mif.core.swan import Load
from vici_mif.edges import files
from vici_mif.edges.files import FileError

SECRETS = "load-shared"  # the one command whose data is text: no line end belongs to it


def connection(action: LoadConnection) -> LoadConnection:
    """The request with its certificates in it. Raises FileError."""
    return replace(action, message=_section(action.message, strip=False))


def secret(action: LoadSecret) -> LoadSecret:
    """The request with its secret in it. Raises FileError."""
    return replace(action, message=_section(action.message, strip=action.command == SECRETS))


def digest(loads: Iterable[Load], salt: bytes) -> str:
    """Whether the same would be loaded again; what cannot be read is another content.

    `salt`: random, so that nothing can be guessed from it.
    """
    found = hashlib.sha256(salt)
    for load in loads:
        try:
            found.update(repr(_section(load.message, strip=False)).encode())
        except FileError as error:
            found.update(str(error).encode())
    return found.hexdigest()


def _section(section: Mapping[str, Any], *, strip: bool) -> dict[str, Any]:
    return {key: _value(value, strip=strip) for key, value in section.items()}


def _value(value: Any, *, strip: bool) -> Any:
    match value:
        case Mapping():
            return _section(value, strip=strip)
        case tuple() | list():
            return [_value(item, strip=strip) for item in value]
        case FromFile():
            data = files.read_bytes(Path(value.path))
            return data.rstrip(b"\r\n") if strip else data
        case FromEnvironment():
            return files.read_variable(value.name)
        case _:
            return value
