# SPDX-License-Identifier: Apache-2.0
"""`gateway revoke` and `unrevoke`: what an operator orders about those who come to us."""

from __future__ import annotations

import argparse
import asyncio
import os

from vici_mif.core.events import OrderCleared, OrderGiven
from vici_mif.core.model import OrderKind
from vici_mif.core.status import FamilyStatus
from vici_mif.edges.control import NoController
from vici_mif.edges.orders import OrdersError
from vici_mif.edges.vici import ViciError
from vici_mif.shell import asking, offline, places
from vici_mif.shell.asking import LOOK_DELAY, Refused, complain, wait
from vici_mif.shell.clock import monotonic, stamp
from vici_mif.shell.exits import FAILED, NO_CONTROLLER, NOT_PERMITTED, OK, USAGE
from vici_mif.shell.places import Places

CLOSE_DELAY = 15.0
"""Seconds a `revoke` waits until nothing of the identity is left."""

AGAIN = "whoever still has a secret or a certificate for it can authenticate again, and is closed \
each time: take those away too (see operating.md)"


def arguments(sub: argparse.ArgumentParser) -> None:
    """`gateway revoke|unrevoke IDENTITY`."""
    places.arguments(sub)
    below = sub.add_subparsers(metavar="revoke or unrevoke", required=True)
    for name, run, about in (
        ("revoke", revoke, "close all that an identity has, and what it makes again"),
        ("unrevoke", unrevoke, "take a revoke back"),
    ):
        leaf = below.add_parser(name, help=about, description=about)
        places.arguments(leaf, below=True)
        about = "as `status` shows it"
        leaf.add_argument("identity", type=asking.given, metavar="IDENTITY", help=about)
        leaf.set_defaults(run=run)


def revoke(args: argparse.Namespace) -> int:
    """Ask, then wait until nothing of it is left."""
    where = places.to_ask(args)
    try:
        known = bool(_families(where, args.identity))
        asking.ask(where, {"ask": "revoke-identity", "identity": args.identity})
        return _wait(where, args.identity, known=known)
    except Refused as error:
        return complain(str(error), error.code)
    except NoController:
        return _without_controller(args)


def unrevoke(args: argparse.Namespace) -> int:
    """Take it back."""
    where = places.to_ask(args)
    try:
        asking.ask(where, {"ask": "unrevoke-identity", "identity": args.identity})
    except Refused as error:
        return complain(str(error), error.code)
    except NoController:
        fact = OrderCleared(kind=OrderKind.REVOKE_IDENTITY, identity=args.identity)
        if not offline.take(where.state_dir, [fact]):
            return complain(f"{args.identity} is not revoked", USAGE)
    print(f"{args.identity} may have tunnels again")
    return OK


def _families(where: Places, identity: str) -> list[FamilyStatus]:
    gateway = asking.status(where).gateway
    return [f for f in gateway.families if f.identity == identity] if gateway else []


def _wait(where: Places, identity: str, *, known: bool) -> int:
    end = monotonic() + CLOSE_DELAY
    while True:
        if not _families(where, identity):
            said = "nothing is left of" if known else "nothing was here that `status` calls"
            print(f"{said} {identity}; {AGAIN}")
            return OK
        if monotonic() >= end:
            return complain("ordered; IKE SAs are still being closed: see `status`", FAILED)
        wait(LOOK_DELAY)


def _without_controller(args: argparse.Namespace) -> int:
    """Keep the order for the next start, and close what there is now."""
    config = places.config(args)
    where = places.places(args, config)
    if os.geteuid() != 0:
        return complain("no controller runs, and to do it without one needs root", NOT_PERMITTED)
    if config.gateway is None:
        return complain("the configuration has no gateway", USAGE)
    try:
        given = OrderGiven(OrderKind.REVOKE_IDENTITY, "", stamp(), identity=args.identity)
        offline.give(where.state_dir, given)
        names = config.gateway.connections
        closed = asyncio.run(offline.revoke_identity(where.vici, names, args.identity))
    except (OrdersError, ViciError) as error:
        return complain(str(error), FAILED)
    said = f"no controller runs; closed {closed} IKE SAs; who authenticates again stays until "
    return complain(said + "`vici-mif run`", NO_CONTROLLER)
