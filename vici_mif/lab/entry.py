# SPDX-License-Identifier: Apache-2.0
"""What the lab's commands are made of."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

OK, FAILED = 0, 1

Command = Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One sub-command: its function, its line in the help, its arguments."""

    name: str
    run: Command
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]


def named(parser: argparse.ArgumentParser) -> None:
    """The argument that says which lab is meant."""
    parser.add_argument("--name", default="lab", help="which lab (default: lab)")
