# SPDX-License-Identifier: Apache-2.0
"""Files and the environment: what is read from them, and how they are replaced."""

from __future__ import annotations

import json
import os
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

MOST_BYTES = 10_000_000
"""Of a file of ours."""

MOST_CONFIG_BYTES = 1_000_000
"""Of one file of the configuration: it is read while nothing else is done."""


class FileError(Exception):
    """A file cannot be read or written; the text names it and says why."""


class TooLarge(FileError):  # noqa: N818 - named for what is wrong
    """A file or variable holds more than it may."""


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """A file of text."""
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not UTF-8 (byte {error.start})") from error


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """A file as it is: certificates and keys may be DER."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero in its name
        raise FileError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > most:
        raise TooLarge(f"{path}: larger than {most} bytes")
    return data


def read_config(path: Path) -> list[tuple[str, str]]:
    """The configuration file; of one named config.yaml also `conf.d/*.yaml` beside it, by name."""
    more = _more(path.parent / "conf.d") if path.name == "config.yaml" else []
    return [(str(file), read_text(file, MOST_CONFIG_BYTES)) for file in [path, *more]]


def _more(folder: Path) -> list[Path]:
    """What a shell's `*.yaml` matches: what an editor hides there is none of it."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileError(f"{folder}: {error.strerror}") from error
    return [folder / name for name in names if fnmatchcase(name, "[!.]*.yaml")]


def read_variable(name: str, most: int = MOST_BYTES) -> bytes:
    """A variable of the environment as it is: how secrets come in containers."""
    value = os.environ.get(name)
    if value is None:
        raise FileError(f"environment variable {name}: not set")
    data = os.fsencode(value)  # what is no UTF-8 is a secret as good, as in a file
    if len(data) > most:
        raise TooLarge(f"environment variable {name}: larger than {most} bytes")
    return data


def read_document(path: Path, schema: str) -> dict[str, Any] | None:
    """A JSON document of ours; None where there is no file. Raises ValueError, KeyError or
    TypeError for what is none, and FileError."""
    try:
        content: dict[str, Any] = json.loads(read_text(path))
    except FileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if content["schema"] != schema:
        raise ValueError(f"schema {content['schema']!r}, expected {schema!r}")
    return content


def replace(path: Path, text: str, mode: int = 0o644) -> None:
    """Put `text` at `path` so that a reader sees the old or the new, and a crash neither half."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text, mode)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error


def _replace(path: Path, text: str, mode: int) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
