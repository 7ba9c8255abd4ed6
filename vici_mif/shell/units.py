# SPDX-License-Identifier: Apache-2.0
"""`units`: the systemd units, for the place where this program stands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from vici_mif.shell.exits import FAILED, OK

PACKAGED = "/usr/bin/vici-mif"
"""Where a distribution's package has the program, and what the files say."""


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "directory",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="write them there (/etc/systemd/system) instead of printing them",
    )


def units(args: argparse.Namespace) -> int:
    """Print the units, or write them: those that are the same already are left alone."""
    for name, text in sorted(files(program())):
        if args.directory is None:
            print(f"# {name}\n{text}")
            continue
        try:
            _write(args.directory / name, text)
        except OSError as error:
            print(f"vici-mif: {error.filename}: {error.strerror}", file=sys.stderr)
            return FAILED
    return OK


def files(program: str) -> Iterator[tuple[str, str]]:
    """Name and text of each unit, with `program` in every command line."""
    for unit in resources.files("vici_mif.units").iterdir():
        if unit.name.endswith(".service"):
            yield unit.name, unit.read_text(encoding="utf-8").replace(PACKAGED, program)


def program() -> str:
    """How this program is begun: by its installed name, else as a module."""
    called = Path(sys.argv[0]).absolute()
    if called.name == "vici-mif" and os.access(called, os.X_OK):
        return str(called)
    return f"{sys.executable} -m vici_mif"


def _write(file: Path, text: str) -> None:
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return
    file.write_text(text, encoding="utf-8")
    print(file)
