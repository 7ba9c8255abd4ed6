# SPDX-License-Identifier: Apache-2.0
"""Puts files and secrets into a request at the moment it goes out, and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from vici_mif.core import swan
from vici_mif.core.actions import LoadConnection, LoadSecret
from vici_mif.core.model import FromEnvironment, FromFile
from vici_mif.core.swan import Load
from vici_mif.core.wish.config import Config
from vici_mif.edges import files
from vici_mif.edges.files import FileError, TooLarge
from vici_mif.edges.vici import VALUE_LIMIT

SECRETS = "load-shared"  # the one command whose data is text: no line end belongs to it


def connection(action: LoadConnection) -> LoadConnection:
    """The request with its certificates in it. Raises FileError."""
    return replace(action, message=_section(action.message, strip=False))


def secret(action: LoadSecret) -> LoadSecret:
    """The request with its secret in it. Raises FileError."""
    return replace(action, message=_section(action.message, strip=action.command == SECRETS))


def loads(config: Config, path: str) -> dict[str, tuple[Load, ...]]:
    """What the inline connections of the configuration at `path` want loaded, by peer."""
    base = str(Path(path).resolve().parent)
    inline = {n: wish.connection for n, wish in config.connections.items() if wish.connection}
    return {name: swan.loads(name, wish, base) for name, wish in inline.items()}


def weigh(config: Config, path: str) -> None:
    """Raises TooLarge for what VICI cannot carry; what cannot be read may be there later."""
    for load in chain.from_iterable(loads(config, path).values()):
        for source in _sources(load.message):
            try:
                _value(source, strip=False)
            except TooLarge:
                raise
            except FileError:
                pass


def _sources(value: Any) -> Iterator[FromFile | FromEnvironment]:
    match value:
        case Mapping():
            yield from chain.from_iterable(map(_sources, value.values()))
        case tuple():
            yield from chain.from_iterable(map(_sources, value))
        case FromFile() | FromEnvironment():
            yield value


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
            data = files.read_bytes(Path(value.path), VALUE_LIMIT)
            return data.rstrip(b"\r\n") if strip else data
        case FromEnvironment():
            return files.read_variable(value.name, VALUE_LIMIT)
        case _:
            return value
