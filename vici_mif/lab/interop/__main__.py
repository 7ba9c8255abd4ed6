# SPDX-License-Identifier: Apache-2.0
"""`python -m vici_mif.lab.interop`: the rig's commands."""

from __future__ import annotations

import argparse
import sys

from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import images, implementations

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


if __name__ == "__main__":
    sys.exit(main())
