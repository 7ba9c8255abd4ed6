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
from vici_mif.lab.interop import images, implementations, plan, run, table
from vici_mif.lab.interop.implementations import Implementation, Role
from vici_mif.lab.interop.results import Results

STANDARD = ["ours-6.1.0"]
_KIND = {"docker": "image", "netns": "netns"}
"""Backend -> what an implementation must say of itself to be there."""


def main(argv: list[str] | None = None) -> int:
    """Parse one command and run it."""
    parser = argparse.ArgumentParser(prog="python -m vici_mif.lab.interop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("images", help="build the images of implementations")
    build.add_argument("names", nargs="*", default=STANDARD, metavar="IMPLEMENTATION")
    build.set_defaults(run=_images)
    unpack = commands.add_parser("unpack", help="lay an image's files where guests find them")
    unpack.add_argument("names", nargs="+", metavar="IMPLEMENTATION")
    unpack.set_defaults(run=_unpack)
    _run_arguments(commands.add_parser("run", help="play the matrix"))
    told = commands.add_parser("table", help="what runs found, in Markdown")
    told.add_argument("files", nargs="+", type=Path, metavar="RESULTS.JSON")
    told.set_defaults(run=_table)
    args = parser.parse_args(argv)
    try:
        status: int = args.run(args)
    except images.SkippedError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    except LabError as error:
        print(f"interop: {error}", file=sys.stderr)
        return 1
    return status


def _images(args: argparse.Namespace) -> int:
    known = implementations.read(images.ROOT / "docker" / "implementations.json")
    wanted = implementations.chosen(known, ",".join(args.names))
    images.build(each.image for each in wanted.values() if each.image)
    return 0


def _unpack(args: argparse.Namespace) -> int:
    known = implementations.read(images.ROOT / "docker" / "implementations.json")
    for each in implementations.chosen(known, ",".join(args.names)).values():
        if each.image:
            print(images.unpack(each.image))
    return 0


def _table(args: argparse.Namespace) -> int:
    runs = [Results.model_validate_json(file.read_bytes()) for file in args.files]
    sys.stdout.write(table.draw(runs))
    return 0


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--backend", choices=("docker", "netns"), default="docker")
    every = "default: all that the backend can have"
    add("--clients", default="", metavar="NAME,...", help=every)
    add("--gateways", default="", metavar="NAME,...", help=every)
    add("--scenarios", default="", metavar="NAME,...", help="default: all of the rig")
    add("--out", type=Path, default=Path("build/interop"), help="default: build/interop")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if os.geteuid():
        raise images.SkippedError("needs root: pushes interfaces into containers and namespaces")
    known = implementations.read(images.ROOT / "docker" / "implementations.json")
    clients = _able("client", implementations.chosen(known, args.clients), args)
    gateways = _able("gateway", implementations.chosen(known, args.gateways), args)
    wanted = plan.Plan(
        args.backend,
        clients,
        gateways,
        plan.scenarios(images.ROOT / "tests" / "scenarios", args.scenarios),
        args.out / args.backend,
        plan.replaced(known, clients, gateways),
    )
    results = run.run(wanted, lambda line: print(line, flush=True))
    counts = Counter(cell.outcome for cell in results.cells)
    print(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    print(f"the matrix: {wanted.out / 'index.html'}")
    return 1 if results.failed else 0


def _able(
    role: Role, chosen: Mapping[str, Implementation], args: argparse.Namespace
) -> dict[str, Implementation]:
    """Those with that role. Whom the backend cannot have says so only where he was asked for."""
    named = getattr(args, f"{role}s").split(",")
    return {
        name: each
        for name, each in chosen.items()
        if role in each.roles and (getattr(each, _KIND[args.backend]) or name in named)
    }


if __name__ == "__main__":
    sys.exit(main())
