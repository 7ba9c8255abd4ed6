# SPDX-License-Identifier: Apache-2.0
"""`python -m vici_mif.build`: the build commands without the rest of the command line."""

import argparse
import sys

from vici_mif.build.cli import add_commands


def main(argv: list[str] | None = None) -> int:
    """Parse one build command and run it; the exit status is the command's."""
    parser = argparse.ArgumentParser(prog="python -m vici_mif.build", description=__doc__)
    add_commands(parser.add_subparsers(dest="command", required=True))
    args = parser.parse_args(argv)
    status: int = args.run(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
