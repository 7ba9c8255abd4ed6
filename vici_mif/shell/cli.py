# SPDX-License-Identifier: Apache-2.0
"""The command line: a table of sub-commands that prints the help and dispatches."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from vici_mif import __version__
from vici_mif.core.swan import SwanError
from vici_mif.core.wish.config import ConfigError
from vici_mif.edges.control import ControlError, NoController, NotPermitted
from vici_mif.edges.files import FileError
from vici_mif.edges.footprints import FootprintsError
from vici_mif.edges.guard import GuardError
from vici_mif.edges.netlink import KernelError
from vici_mif.edges.orders import OrdersError
from vici_mif.edges.vici import ViciError
from vici_mif.shell import (
    boot,
    byhand,
    following,
    gateway,
    operate,
    places,
    replay,
    start,
    terminal,
    units,
)
from vici_mif.shell.asking import complain
from vici_mif.shell.exits import CONFIG, FAILED, NO_CONTROLLER, NOT_PERMITTED, UNAVAILABLE, USAGE

HELP = ("-h", "--help")

OF_THE_WORLD = (
    FootprintsError, GuardError, KernelError, OrdersError, SwanError, ViciError
)  # fmt: skip
"""charon, the kernel, our own files: each says what it is about."""

Arguments = Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True)
class Command:
    """One sub-command."""

    name: str
    run: Callable[[argparse.Namespace], int]
    help: str
    arguments: Arguments


def _none(_: argparse.Namespace) -> int:
    """A word that wants another one behind it."""
    return USAGE


COMMANDS = (
    Command("run", start.run, "run the controller in the foreground", start.run_arguments),
    Command("status", operate.status, "show peers, paths and tunnels", operate.status_arguments),
    Command("check", start.check, "check the configuration", start.check_arguments),
    Command("events", following.events, "what happened last, and happens", following.arguments),
    Command("replay", replay.replay, "decide a journal again, and compare", replay.arguments),
    Command("guard", boot.lay, "refuse in clear from boot on", boot.guard_arguments),
    Command("up", operate.up, "take a `down` back", operate.order_arguments),
    Command("down", operate.down, "close the tunnels and keep them so", operate.order_arguments),
    Command("reload", operate.reload, "read the configuration again", places.arguments),
    Command("path", _none, "drain, undrain or prefer a path", byhand.path_arguments),
    Command("tunnel", _none, "revoke the keys of a tunnel", byhand.tunnel_arguments),
    Command("peer", _none, "revoke all keys of a peer", byhand.peer_arguments),
    Command("gateway", _none, "revoke an identity of those who come", gateway.arguments),
    Command("orders", operate.orders, "show or clear what was ordered", operate.orders_arguments),
    Command("units", units.units, "print or write the systemd units", units.arguments),
)


class Parser(argparse.ArgumentParser):
    """argparse ends with 2, which here means that a peer is down."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def parser(word: str) -> Parser:
    """All sub-commands; the lab's and the build's are loaded only where they are wanted."""
    top = Parser(
        prog="vici-mif", description="One IKEv2 authentication, one IPsec tunnel per path."
    )
    top.add_argument("--version", action="version", version=f"vici-mif {__version__}")
    below = top.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = below.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    if word in {"lab", *HELP}:
        _add_lab(below)
    if word in {"charon", "guest", *HELP}:
        importlib.import_module("vici_mif.build.cli").add_commands(below)
    return top


def _add_lab(below: Any) -> None:
    """Its keys and captures want a library that no host needs for its tunnels."""
    try:
        importlib.import_module("vici_mif.lab.cli").add_commands(below)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("vici_mif"):
            raise
        missing = f"needs {error.name}: pip install 'vici-mif[lab]'"
        sub = below.add_parser("lab", help=missing, description=missing)
        sub.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        sub.set_defaults(run=lambda _: complain(f"lab {missing}", FAILED))


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of one call. No argument means `status`."""
    words = list(sys.argv[1:] if argv is None else argv) or ["status"]
    if any("\udc80" <= c <= "\udcff" for c in "".join(words)):  # PEP 383: bytes that are no text
        return complain("the command line is not UTF-8", USAGE)
    args = parser(words[0]).parse_args(words)
    run: Callable[[argparse.Namespace], int] = args.run
    return guarded(run, args)


def guarded(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Errors of the operator and of the world in one sentence each; ours with a traceback."""
    try:
        with terminal.open_ended():
            return run(args)
    except FileError as error:
        denied = isinstance(error.__cause__, PermissionError) and os.geteuid() != 0
        return _say(str(error), NOT_PERMITTED if denied else CONFIG)
    except ConfigError as error:
        return _say(str(error), CONFIG)
    except NotPermitted as error:
        return _say(str(error), NOT_PERMITTED)
    except NoController as error:
        return _say(str(error), NO_CONTROLLER)
    except ControlError as error:
        return _say(str(error), UNAVAILABLE)
    except OF_THE_WORLD as error:
        return _say(str(error), FAILED)
    except BrokenPipeError:
        return FAILED
    except KeyboardInterrupt:
        return 130


def _say(text: str, code: int) -> int:
    print(terminal.plain(text), file=sys.stderr)
    return code
