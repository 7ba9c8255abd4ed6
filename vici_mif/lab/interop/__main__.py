# SPDX-License-Identifier: Apache-2.0
"""`python -m vici_mif.lab.interop`: the rig's commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import images, implementations, run
from vici_mif.lab.interop.implementations import Implementation, Role

UNAVAILABLE = 69
"""Of sysexits.h: something of the outside world is missing, whoever tests may skip."""
STANDARD = ["ours-6.1.0"]


def main(argv: list[str] | None = None) -> int:
    """Parse one command and run it."""
    parser = argparse.ArgumentParser(prog="python -m vici_mif.lab.interop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("images", help="build the images of implementations")
    build.add_argument("names", nargs="*", default=STANDARD, metavar="IMPLEMENTATION")
    build.set_defaults(run=_images)
    _run_arguments(commands.add_parser("run", help="play the matrix"))
    args = parser.parse_args(argv)
    try:
        status: int = args.run(args)
    except images.SkippedError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return UNAVAILABLE
    except LabError as error:
        print(f"interop: {error}", file=sys.stderr)
        return 1
    return status


def _images(args: argparse.Namespace) -> int:
    known = implementations.read(images.ROOT / "docker" / "implementations.json")
    wanted = implementations.chosen(known, ",".join(args.names))
    images.build(each.image for each in wanted.values() if each.image)
    return 0


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--backend", choices=("docker", "netns"), default="docker")
    add("--clients", default="", metavar="NAME,...", help="default: all implementations")
    add("--gateways", default="", metavar="NAME,...", help="default: all implementations")
    add("--scenarios", default="", metavar="NAME,...", help="default: all of the rig")
    add("--out", type=Path, default=Path("build/interop"), help="default: build/interop")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if os.geteuid():
        raise images.SkippedError("needs root: pushes interfaces into containers and namespaces")
    known = implementations.read(images.ROOT / "docker" / "implementations.json")
    plan = run.Plan(
        args.backend,
        _able("client", implementations.chosen(known, args.clients)),
        _able("gateway", implementations.chosen(known, args.gateways)),
        run.scenarios(images.ROOT / "tests" / "scenarios", args.scenarios),
        args.out / args.backend,
    )
    results = run.run(plan, lambda line: print(line, flush=True))
    counts = Counter(cell.outcome for cell in results.cells)
    print(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    print(f"the matrix: {plan.out / 'index.html'}")
    return 1 if results.failed else 0


def _able(role: Role, known: Mapping[str, Implementation]) -> dict[str, Implementation]:
    return {name: each for name, each in known.items() if role in each.roles}


if __name__ == "__main__":
    sys.exit(main())
