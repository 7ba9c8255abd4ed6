# SPDX-License-Identifier: Apache-2.0
"""`run` and `check`: the commands that begin with the configuration."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import os
import sys

from vici_mif.core.events import CharonGone
from vici_mif.edges import orders, steering
from vici_mif.edges.control import ControlError, Holder, hold_namespace
from vici_mif.edges.orders import OrdersError
from vici_mif.shell import dropin, dry, material, places, terminal
from vici_mif.shell.asking import complain
from vici_mif.shell.daemon import Daemon, Settings
from vici_mif.shell.exits import CONFIG, FAILED, NO_CONTROLLER, NOT_PERMITTED, OK
from vici_mif.shell.log import Log


def run_arguments(sub: argparse.ArgumentParser) -> None:
    places.arguments(sub)
    sub.add_argument("-v", "--verbose", action="store_true", help="show each fact and each action")


def run(args: argparse.Namespace) -> int:
    """The controller, until SIGTERM or SIGINT."""
    config = places.config(args)
    if os.geteuid() != 0:
        return complain("routes and rules need root: run it with sudo", NOT_PERMITTED)
    held = hold_namespace()
    if isinstance(held, Holder):
        text = f"another controller runs in this network namespace: {held}"
        if not held.is_root:
            text = (
                f"{held} has the name of this network namespace's controller, and is none: end it"
            )
        return complain(text, FAILED)
    where = places.places(args, config)
    path = str(args.config or places.CONFIG_PATH)
    faulthandler.enable()  # systemd's watchdog ends by SIGABRT: where it hung stands in the journal
    settings = Settings(config, path, where.vici, where.run_dir, where.state_dir)
    gc.collect()
    gc.freeze()  # what was loaded stays: no later collection looks at it, in the middle of the loop
    with held:
        try:
            asyncio.run(Daemon(settings, Log(verbose=args.verbose)).run())
        except (ControlError, OrdersError) as error:
            return complain(str(error), FAILED)
    return OK


def check_arguments(sub: argparse.ArgumentParser) -> None:
    places.arguments(sub)
    sub.add_argument("--plan", action="store_true", help="show what `run` would do now")
    sub.add_argument("--dropin", action="store_true", help="print what swanctl's conf.d needs")


def check(args: argparse.Namespace) -> int:
    """Say what is wrong with the configuration, here on this machine. Changes nothing."""
    config = places.config(args)
    path = str(args.config or places.CONFIG_PATH)
    material.weigh(config, path)
    own = steering.Range(config.daemon.tables, config.daemon.rules)
    if taken := asyncio.run(steering.foreign(own)):
        print(terminal.plain("\n".join(taken)), file=sys.stderr)
        return CONFIG
    if not args.plan and not args.dropin:
        print(f"{path}: good")
        return OK
    where = places.places(args, config)
    facts = asyncio.run(dry.look(where.vici))
    if gone := next((f.why for f in facts if isinstance(f, CharonGone)), None):
        return complain(f"charon cannot be asked: {gone}", NO_CONTROLLER)
    if args.dropin:
        print(dropin.dropin(config, dry.connections(facts)))
    if args.plan:
        try:
            kept = orders.read(where.state_dir)
        except (OrdersError, OSError) as error:
            return complain(str(error), FAILED)
        print(terminal.plain("\n".join(dry.plan(config, path, kept, facts))))
    return OK
