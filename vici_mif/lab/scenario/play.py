# SPDX-License-Identifier: Apache-2.0
"""`vici-mif lab play FILE ...`: scenarios, each in a lab of its own that goes at its end."""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path

from vici_mif.core.wish.document import ConfigError, Source
from vici_mif.lab.abilities import abilities
from vici_mif.lab.entry import FAILED, OK
from vici_mif.lab.errors import LabError
from vici_mif.lab.installation import default_prefix, stock_prefix
from vici_mif.lab.lab import Lab, Setup
from vici_mif.lab.scenario.lab import LabStage
from vici_mif.lab.scenario.model import Scenario, Topology, parse
from vici_mif.lab.scenario.runner import play

_numbers = itertools.count()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="scenarios (docs/scenarios.md)")
    add("--charon", type=Path, help="prefix of the strongSwan with the series (default: ours)")
    add("--stock-charon", type=Path, help="prefix of one without it (default: ours)")


def run(args: argparse.Namespace) -> int:
    """Play all; fails if one does not hold. What cannot run here is said, and fails too."""
    scenarios = [read(file) for file in args.files]
    stage = LabStage(
        lambda topology: _lab(args, topology),
        has(),
        lambda _: (args.charon or default_prefix(), ""),
    )
    failed = 0
    for scenario in scenarios:
        print(f"== {scenario.name}: {scenario.story.scenario}", flush=True)
        try:
            play(scenario, stage, lambda line: print(line, flush=True))
        except LabError as error:
            failed += 1
            print(f"FAILED {error}", flush=True)
    print(f"{len(scenarios) - failed} of {len(scenarios)} hold")
    return FAILED if failed else OK


def read(file: Path) -> Scenario:
    """One file, by its own name. Raises LabError with every mistake."""
    try:
        return parse(file.stem, Source(str(file), file.read_text()))
    except UnicodeDecodeError as error:
        raise LabError(f"{file}: not UTF-8 (byte {error.start})") from error
    except (OSError, ConfigError) as error:
        raise LabError(str(error)) from error


def has() -> frozenset[str]:
    """What scenarios may need and this machine has; charons are looked for when they are needed."""
    return abilities() | {"patched", "stock"}


def _lab(args: argparse.Namespace, topology: Topology) -> Lab:
    prefixes = {
        "patched": lambda: args.charon or default_prefix(),
        "stock": lambda: args.stock_charon or stock_prefix(),
    }
    setup = Setup(
        prefixes[topology.client](), prefixes[topology.gateway](), capture=True, keys=True
    )
    name = f"play-{os.getpid()}-{next(_numbers)}"
    return Lab.up(topology.wish(name), setup, where=args.lab_dir, keep=False)
