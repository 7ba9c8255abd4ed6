# SPDX-License-Identifier: Apache-2.0
"""What the lab's commands are made of."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_interface

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


def amount(text: str) -> float:
    """A number from 0 on. Raises ValueError, which argparse tells."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def share(text: str) -> float:
    """A percentage. Raises ValueError."""
    if (value := amount(text)) > 100:
        raise ValueError(text)
    return value


def prefixed(text: str) -> str:
    """ADDRESS/LENGTH. Raises argparse.ArgumentTypeError."""
    try:
        if "/" in text:
            return str(ip_interface(text))
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text}: expected an address with its prefix length")
