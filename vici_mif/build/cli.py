# SPDX-License-Identifier: Apache-2.0
"""The commands `charon` and `guest`. Each sets `run`, a function of the parsed arguments."""

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vici_mif.build.charon import Charon, Request, default_patches
from vici_mif.build.deb import Debs, Order, deliver
from vici_mif.build.errors import BuildError, UnavailableError
from vici_mif.build.guest import Guest
from vici_mif.build.guest import run as run_guest
from vici_mif.build.proof import Proof

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
# sysexits.h: a service is unavailable. Whoever tests may skip instead of fail.
UNAVAILABLE = 69
Command = Callable[[argparse.Namespace], int]


def add_commands(subparsers: "Subparsers") -> None:
    """Add our commands to a command line; args.run(args) is the exit status."""
    charon = subparsers.add_parser("charon", help="build the patched charon, find it, test it")
    commands = charon.add_subparsers(dest="charon_command", required=True)
    build = commands.add_parser("build", help="build into the cache, unless it is there")
    _common(build)
    build.add_argument("--refresh", action="store_true", help="look for a newer source first")
    build.set_defaults(run=_guarded(_build))
    path = commands.add_parser("path", help="print the prefix of the build")
    _common(path)
    path.set_defaults(run=_guarded(_path))
    test = commands.add_parser("test", help="run strongSwan's own suites with the series")
    _common(test)
    test.add_argument("--asan", action="store_true", help="under AddressSanitizer")
    test.add_argument("--debian-flags", action="store_true", help="configured as Debian does")
    test.add_argument("--per-patch", action="store_true", help="after each patch of the series")
    test.add_argument("--mutants", type=Path, metavar="DIR", help="one-line errors, to be noticed")
    test.set_defaults(run=_guarded(_test))
    deb = commands.add_parser("deb", help="build Debian packages of the patched strongSwan")
    deb.add_argument(
        "--suite", action="append", required=True, metavar="SUITE", help="bookworm or trixie; again"
    )
    deb.add_argument("--output", type=Path, metavar="DIR", help="default dist; DIR/SUITE is filled")
    deb.add_argument("--check", action="store_true", help="run strongSwan's tests in the build")
    deb.add_argument("--tarballs", type=Path, metavar="DIR", help="a directory with the source")
    deb.add_argument("--patches", type=Path, metavar="DIR", help="where the series are")
    deb.set_defaults(run=_guarded(_deb))
    clean = commands.add_parser("clean", help="remove older builds from the cache")
    _common(clean)
    clean.set_defaults(run=_guarded(_clean))
    _add_guest(subparsers)


def _add_guest(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser("guest", help="run a command on a Debian kernel with ESP")
    parser.add_argument("--share", type=Path, metavar="DIR", help="a directory the guest may write")
    parser.add_argument("--memory", default="1G", help="the guest's memory (default 1G)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds (default 600)")
    parser.add_argument("--refresh", action="store_true", help="look for a newer kernel first")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    parser.set_defaults(run=_guarded(_guest, 125))


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stock", action="store_true", help="strongSwan without our patches")
    parser.add_argument("--release", default="", help="only this release, such as 6.0.1")
    parser.add_argument("--tarballs", type=Path, metavar="DIR", help="a directory with the source")
    parser.add_argument("--patches", type=Path, metavar="DIR", help="where the series are")


def _guarded(command: Command, failure: int = 1) -> Command:
    """A command whose BuildError is told to the operator instead of raised."""

    def run(args: argparse.Namespace) -> int:
        try:
            return command(args)
        except UnavailableError as error:
            print(f"vici-mif: {error}", file=sys.stderr)
            return max(failure, UNAVAILABLE)
        except BuildError as error:
            print(f"vici-mif: {error}", file=sys.stderr)
            return failure

    return run


def _request(args: argparse.Namespace) -> Request:
    return Request(args.patches or default_patches(), args.release, args.stock, args.tarballs)


def _build(args: argparse.Namespace) -> int:
    charon = Charon()
    record = charon.build(_request(args), args.refresh)
    series = f"series {record.series[:12]}" if record.series else "without patches"
    print(f"strongSwan {record.release}, {record.source}, {series}", file=sys.stderr)
    print(charon.cache.prefix(record))
    return 0


def _path(args: argparse.Namespace) -> int:
    print(Charon().path(_request(args)))
    return 0


def _clean(args: argparse.Namespace) -> int:
    request = _request(args)
    gone = Charon().clean([replace(request, stock=stock) for stock in (False, True)])
    print(f"{len(gone)} older builds removed, the patched and the unpatched one kept")
    return 0


def _deb(args: argparse.Namespace) -> int:
    patches = args.patches or default_patches()
    for suite in args.suite:
        packages = Debs().build(Order(suite, patches, args.tarballs, args.check))
        home = (args.output or Path("dist")) / suite
        deliver(packages, home)
        names = ", ".join(packages.names)
        print(f"strongswan {packages.version} for {suite}: {names}", file=sys.stderr)
        print(home)
    return 0


def _test(args: argparse.Namespace) -> int:
    proof = Proof(Charon(), _request(args))
    if args.asan:
        proof.sanitized()
    if args.debian_flags:
        proof.debian_flags()
    if args.per_patch:
        proof.each_patch()
    if args.mutants:
        proof.mutants(args.mutants)
    if not (args.asan or args.debian_flags or args.per_patch or args.mutants):
        proof.plain()
    return 1 if proof.failures.found else 0


def _guest(args: argparse.Namespace) -> int:
    words = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not words:
        raise BuildError("no command. For example: vici-mif guest -- ip xfrm state")
    command = words[0] if len(words) == 1 else shlex.join(words)
    guest = Guest(command, Path.cwd(), args.share, args.memory, timeout=args.timeout)
    return run_guest(guest, refresh=args.refresh)
