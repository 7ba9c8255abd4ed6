# SPDX-License-Identifier: Apache-2.0
"""Files and the environment: what is read from them, and how they are replaced."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


class FileError(Exception):
    """A file cannot be read or written; the text names it and says why."""


def read_text(path: Path) -> str:
    """A file of text."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not UTF-8 (byte {error.start})") from error


def read_bytes(path: Path) -> bytes:
    """A file as it is: certificates and keys may be DER."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error


def read_config(path: Path) -> list[tuple[str, str]]:
    """The configuration file, then the `*.yaml` of `conf.d` beside it in order of name."""
    more = sorted((path.parent / "conf.d").glob("*.yaml")) if path.name == "config.yaml" else []
    return [(str(file), read_text(file)) for file in [path, *more]]


def read_variable(name: str) -> str:
    """A variable of the environment: how secrets come in containers."""
    value = os.environ.get(name)
    if value is None:
        raise FileError(f"environment variable {name}: not set")
    return value


def read_document(path: Path, schema: str) -> dict[str, Any] | None:
    """A JSON document of ours; None where there is no file. Raises ValueError, KeyError or
    TypeError for what is none, and FileError."""
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(read_text(path))
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
