# SPDX-License-Identifier: Apache-2.0
"""`status`, `up`, `down` and `orders`: what an operator asks a controller, running or not."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from vici_mif.core.model import OrderKind
from vici_mif.core.status import PeerStatus, Status
from vici_mif.core.wish.config import Config
from vici_mif.edges import orders as kept_orders
from vici_mif.edges.control import ControlError, NoController, NotPermitted
from vici_mif.edges.guard import GuardError
from vici_mif.edges.netlink import KernelError
from vici_mif.edges.orders import OrdersError
from vici_mif.edges.steering import Range
from vici_mif.shell import asking, clock, offline, places, render, terminal, watch
from vici_mif.shell.asking import LOOK_DELAY, Refused, complain
from vici_mif.shell.exits import FAILED, NO_CONTROLLER, NOT_PERMITTED, OK, USAGE
from vici_mif.shell.places import Places

DOWN_DELAY = 15.0
LONGEST = 7 * 86400.0
STATES = ("up", "degraded", "down")

Act: TypeAlias = Callable[[Places, Config, Sequence[str]], int]


# --- status --------------------------------------------------------------------


def status_arguments(sub: argparse.ArgumentParser) -> None:
    places.arguments(sub)
    sub.add_argument("peer", nargs="?", help="only this peer")
    sub.add_argument("--json", action="store_true", help="the same for programs")
    either = sub.add_mutually_exclusive_group()
    either.add_argument(
        "--wait", choices=STATES, metavar="STATE", help="wait for up, degraded, down"
    )
    either.add_argument("--watch", action="store_true", help="draw it again each second")
    sub.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="of --wait (60)")


def seconds(text: str) -> float:
    """A time that comes to an end. Raises ValueError, which argparse tells."""
    value = float(text)
    if not 0 <= value <= LONGEST:
        raise ValueError(text)
    return value


def status(args: argparse.Namespace) -> int:
    """Print what is known and end with the worst state of the peers."""
    where = places.to_ask(args)
    try:
        if args.watch:
            return watch.watch(where, args.peer, json=args.json)
        found = _wait(where, args) if args.wait else asking.status(where, args.peer)
    except Refused as error:
        return complain(str(error), error.code)
    print(
        terminal.escaped(found.to_json())
        if args.json
        else render.status(found, clock.utc(), watch.width())
    )
    return found.exit_code


def _wait(where: Places, args: argparse.Namespace) -> Status:
    """Ask until the peers are in that state, or better for `degraded`, or the time is over."""
    end = time.monotonic() + args.timeout
    while True:
        try:
            found = asking.status(where, args.peer)
            if _reached(found, args.wait):
                return found
        except NotPermitted:
            raise
        except ControlError:  # none runs yet, or it is just being started anew
            if time.monotonic() >= end:
                raise
        else:
            if time.monotonic() >= end:
                return found
        time.sleep(LOOK_DELAY)


def _reached(found: Status, state: str) -> bool:
    """A gateway alone is up with its charon."""
    if not found.peers:
        return found.gateway is not None and (found.daemon.charon is None) == (state == "down")
    return all(_is(peer, state) for peer in found.peers)


def _is(peer: PeerStatus, state: str) -> bool:
    good = {"up": ("up", "standby"), "degraded": ("up", "standby", "degraded")}
    return peer.state in good.get(state, (state,))


# --- up, down, orders ------------------------------------------------------------


def order_arguments(sub: argparse.ArgumentParser) -> None:
    places.arguments(sub)
    sub.add_argument("peer", nargs="?", type=asking.given, help="only this peer")


def down(args: argparse.Namespace) -> int:
    """An order that is kept. Without a running controller the tunnels are closed from here."""
    where = places.to_ask(args)
    try:
        asking.ask(where, {"ask": "down", "peer": args.peer or ""})
        return _wait_down(where, args.peer)
    except Refused as error:
        return complain(str(error), error.code)
    except NoController:
        return _without_controller(args, _down)


def up(args: argparse.Namespace) -> int:
    """Takes `down` back."""
    where = places.to_ask(args)
    try:
        asking.ask(where, {"ask": "up", "peer": args.peer or ""})
    except Refused as error:
        return complain(str(error), error.code)
    except NoController:
        return _without_controller(args, _up)
    return OK


def reload(args: argparse.Namespace) -> int:
    """The controller reads its files again; it prints every problem where they are not good."""
    where = places.to_ask(args)
    try:
        answer = asking.ask(where, {"ask": "reload"})
    except Refused as error:
        print(terminal.plain(str(error)), file=sys.stderr)
        return error.code
    print("in force" if answer.get("changed") else "the same as before: nothing to do")
    return OK


def orders_arguments(sub: argparse.ArgumentParser) -> None:
    places.arguments(sub)
    below = sub.add_subparsers(metavar="clear")
    clear = below.add_parser("clear", help="take an order back")
    places.arguments(clear, below=True)
    clear.add_argument("id", type=int, help="its number")
    clear.set_defaults(run=_clear)


def orders(args: argparse.Namespace) -> int:
    """What was ordered by hand and holds."""
    where = places.to_ask(args)
    try:
        given = asking.read(Status, asking.ask(where, {"ask": "orders"}).get("status")).orders
    except NoController:
        given = tuple(offline.shown(o) for o in kept_orders.read(where.state_dir))
    print(terminal.plain("\n".join(render.orders(given))) if given else "no orders")
    return OK


def _clear(args: argparse.Namespace) -> int:
    where = places.to_ask(args)
    try:
        asking.ask(where, {"ask": "clear", "id": args.id})
    except Refused as error:
        return complain(str(error), error.code)
    except NoController:
        if not offline.clear(where.state_dir, args.id):
            return complain(f"there is no order {args.id}", USAGE)
    return OK


def _wait_down(where: Places, peer: str | None) -> int:
    end = time.monotonic() + DOWN_DELAY
    while any(found.tunnels for found in asking.status(where, peer).peers):
        if time.monotonic() >= end:
            return complain("ordered; tunnels are still being closed: see `status`", FAILED)
        time.sleep(LOOK_DELAY)
    return OK


# --- without a controller ----------------------------------------------------------


def _without_controller(args: argparse.Namespace, act: Act) -> int:
    config = places.config(args)
    where = places.places(args, config)
    if os.geteuid() != 0:
        return complain("no controller runs, and to do it without one needs root", NOT_PERMITTED)
    peers = [args.peer] if args.peer else list(config.connections)
    if args.peer and args.peer not in config.connections:
        known = ", ".join(config.connections)
        return complain(f"there is no peer {args.peer} in the configuration; known: {known}", USAGE)
    try:
        return act(where, config, peers)
    except (OrdersError, KernelError, GuardError) as error:
        return complain(str(error), FAILED)


def _down(where: Places, config: Config, peers: Sequence[str]) -> int:
    offline.keep(where.state_dir, OrderKind.DOWN, peers, "", clock.stamp())
    others = offline.others(where.state_dir, peers, config.connections)
    own = None if others else Range(config.daemon.tables, config.daemon.rules)
    closed = asyncio.run(offline.close(where.vici, config.driven(peers), own))
    done = f"no controller runs; closed {closed} IKE SAs and "
    if others:
        print(done + f"left our routes and rules, which {', '.join(others)} may need")
    else:
        print(done + "removed our routes and rules")
    return OK


def _up(where: Places, _: Config, peers: Sequence[str]) -> int:
    offline.take_back(where.state_dir, OrderKind.DOWN, peers)
    print("no controller runs: `vici-mif run` brings the tunnels up", file=sys.stderr)
    return NO_CONTROLLER
