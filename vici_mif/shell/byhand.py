# SPDX-License-Identifier: Apache-2.0
"""`path`, `tunnel` and `peer`: what an operator orders by name, and how it went."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from functools import partial

from vici_mif.core.byhand.progress import WAITS, unknown
from vici_mif.core.model import OrderKind, PathName
from vici_mif.core.orders import covers
from vici_mif.core.status import PathStatus, Status, TunnelStatus
from vici_mif.core.wish.config import Config
from vici_mif.edges.control import NoController, Question
from vici_mif.edges.orders import OrdersError
from vici_mif.edges.vici import ViciError
from vici_mif.shell import asking, offline, places
from vici_mif.shell.asking import LOOK_DELAY, Refused, complain, wait
from vici_mif.shell.clock import monotonic, stamp
from vici_mif.shell.exits import FAILED, NO_CONTROLLER, NOT_PERMITTED, OK, USAGE
from vici_mif.shell.places import Places

DRAIN_DELAY = 15.0
"""Seconds a `drain` waits for its end."""

REVOKE_DELAY = 15.0
"""Seconds a `revoke` waits for the keys to be gone, and again for new ones."""

Run = Callable[[argparse.Namespace], int]


# --- arguments -----------------------------------------------------------------


def path_arguments(sub: argparse.ArgumentParser) -> None:
    """`path drain|undrain|prefer`."""
    below = _below(sub, "drain, undrain or prefer")
    _path(_leaf(below, "drain", drain, "move the tunnel away without a loss, use it no more"))
    _path(_leaf(below, "undrain", undrain, "take a drain back"))
    leaf = _leaf(below, "prefer", prefer, "let this path come first")
    _path(leaf, optional=True)
    leaf.add_argument("--clear", action="store_true", help="take it back: prefer [PEER] --clear")


def tunnel_arguments(sub: argparse.ArgumentParser) -> None:
    """`tunnel revoke`."""
    below = _below(sub, "revoke")
    _path(_leaf(below, "revoke", revoke_tunnel, "its keys die now; a clone takes its place"))


def peer_arguments(sub: argparse.ArgumentParser) -> None:
    """`peer revoke`."""
    leaf = _leaf(_below(sub, "revoke"), "revoke", revoke_peer, "all keys die now; once anew")
    about = "its name in the configuration"
    leaf.add_argument("peer", type=asking.given, metavar="PEER", help=about)


def _below(sub: argparse.ArgumentParser, metavar: str) -> argparse._SubParsersAction:  # type: ignore[type-arg]
    places.arguments(sub)
    return sub.add_subparsers(metavar=metavar, required=True)


def _leaf(
    below: argparse._SubParsersAction,  # type: ignore[type-arg]
    name: str,
    run: Run,
    about: str,
) -> argparse.ArgumentParser:
    leaf: argparse.ArgumentParser = below.add_parser(name, help=about, description=about)
    places.arguments(leaf, below=True)
    leaf.set_defaults(run=run)
    return leaf


def _path(leaf: argparse.ArgumentParser, *, optional: bool = False) -> None:
    named = partial(leaf.add_argument, type=asking.given)
    named("peer", nargs="?", metavar="PEER", help="only of this peer")
    more = "LINK/REMOTE, or LINK for all its paths"
    named("path", nargs="?" if optional else None, metavar="PATH", help=more)


# --- path ------------------------------------------------------------------------


def drain(args: argparse.Namespace) -> int:
    """Ask, then wait until no tunnel is there any more, or say what it waits for."""
    return _order(args, "drain", lambda where: _drained(where, args.peer, args.path))


def undrain(args: argparse.Namespace) -> int:
    """Take it back; the tunnel goes home by itself."""
    return _order(args, "undrain", lambda _: _said(f"{args.path} may be used again"))


def prefer(args: argparse.Namespace) -> int:
    """Rank a path first, or take that back: then the only name is the peer's."""
    names = [name for name in (args.peer, args.path) if name]
    if args.clear and len(names) < 2:
        args.peer, args.path = (names or [None])[0], ""
        return _order(args, "unprefer", lambda _: _said("no path is preferred any more"))
    if args.clear or not names:
        return complain("it is prefer [PEER] PATH, or prefer [PEER] --clear", USAGE)
    args.peer, args.path = (names[0] if len(names) > 1 else None), names[-1]
    return _order(args, "prefer", lambda _: _said(f"{args.path} comes first"))


def _drained(where: Places, peer: str | None, words: str) -> int:
    end = monotonic() + DRAIN_DELAY
    while True:
        paths = _covered(asking.status(where, peer), words)
        left = [path for path in paths if path.order == "drain" and path.state != "drained"]
        if not left:
            names = ", ".join(path.name for path in paths) or f"{words} (no such link is there)"
            return _said(f"drained: {names}")
        if monotonic() >= end or all(path.why == WAITS for path in left):
            return complain(f"ordered; {left[0].name}: {left[0].why}", FAILED)
        wait(LOOK_DELAY)


def _covered(status: Status, words: str) -> list[PathStatus]:
    paths = (path for peer in status.peers for path in peer.paths)
    return [path for path in paths if _covers(words, path.name)]


def _covers(words: str, name: str | None) -> bool:
    path = PathName.parse(name or "")
    return path is not None and covers(words, path)


# --- revoke ----------------------------------------------------------------------


def revoke_tunnel(args: argparse.Namespace) -> int:
    """Say what was closed and when, and what took its place."""
    return _revoke(args)


def revoke_peer(args: argparse.Namespace) -> int:
    args.path = ""
    return _revoke(args)


def _revoke(args: argparse.Namespace) -> int:
    where = places.to_ask(args)
    try:
        before = asking.status(where, args.peer)
    except Refused as error:
        return complain(str(error), error.code)
    except NoController:
        return _without_controller(args, "revoke")
    doomed = _tunnels(before, args.path)
    return _order(args, "revoke", lambda where: _revoked(where, args, doomed))


def _tunnels(status: Status, words: str) -> list[TunnelStatus]:
    tunnels = [tunnel for peer in status.peers for tunnel in peer.tunnels]
    return [t for t in tunnels if not words or _covers(words, t.home)]


def _revoked(where: Places, args: argparse.Namespace, doomed: list[TunnelStatus]) -> int:
    if _until(where, args.peer, lambda status: not _revoking(status, args.path)) is None:
        return complain("ordered; keys are still being closed: see `status`", FAILED)
    for tunnel in doomed:
        print(f"{tunnel.name}: IKE SA #{tunnel.ike_id} was closed, its keys are gone, {stamp()}")
    homes = {tunnel.home for tunnel in doomed if tunnel.home}
    old = {tunnel.ike_id for tunnel in doomed}
    after = _until(where, args.peer, lambda s: homes <= _anew(s, old).keys() or _is_down(s))
    if after is None:
        return complain("new tunnels are still to come: see `status`", OK)
    for home in sorted(homes & _anew(after, old).keys()):
        print(f"{home}: new keys in IKE SA #{_anew(after, old)[home].ike_id}, {stamp()}")
    return OK


def _revoking(status: Status, path: str) -> bool:
    return any(o.kind == OrderKind.REVOKE and o.path == path for o in status.orders)


def _anew(status: Status, old: set[int]) -> dict[str, TunnelStatus]:
    """New tunnels that carry something, by home."""
    found = [t for t in _tunnels(status, "") if t.ike_id not in old]
    return {t.home: t for t in found if t.home}


def _is_down(status: Status) -> bool:
    """By order: nothing will follow."""
    ordered = {o.peer for o in status.orders if o.kind == OrderKind.DOWN}
    return all(peer.name in ordered for peer in status.peers)


def _until(where: Places, peer: str | None, holds: Callable[[Status], bool]) -> Status | None:
    end = monotonic() + REVOKE_DELAY
    while True:
        status = asking.status(where, peer)
        if holds(status):
            return status
        if monotonic() >= end:
            return None
        wait(LOOK_DELAY)


# --- both ------------------------------------------------------------------------


def _order(args: argparse.Namespace, word: str, after: Callable[[Places], int]) -> int:
    where = places.to_ask(args)
    question: Question = {"ask": word, "peer": args.peer or "", "path": args.path}
    try:
        answer = asking.ask(where, question)
        if not answer.get("kept", True):
            complain("obeyed, but it could not be written down: see the log", FAILED)
        return after(where)
    except Refused as error:
        return complain(str(error), error.code)
    except NoController:
        return _without_controller(args, word)


def _said(text: str) -> int:
    print(text)
    return OK


def _without_controller(args: argparse.Namespace, word: str) -> int:
    """What can be done without one: keep the order for the next, or close from here."""
    config = places.config(args)
    where = places.places(args, config)
    if os.geteuid() != 0:
        return complain("no controller runs, and to do it without one needs root", NOT_PERMITTED)
    if args.peer and args.peer not in config.connections:
        known = ", ".join(config.connections)
        return complain(f"there is no peer {args.peer} in the configuration; known: {known}", USAGE)
    peers = [args.peer] if args.peer else list(config.connections)
    try:
        return _offline(where, config, peers, word, args.path)
    except (OrdersError, ViciError) as error:
        return complain(str(error), FAILED)


def _offline(where: Places, config: Config, peers: list[str], word: str, path: str) -> int:
    if word == "revoke":
        return _close(where, config, peers, path)
    if word in {"undrain", "unprefer"}:
        kind = OrderKind.DRAIN if word == "undrain" else OrderKind.PREFER
        if not offline.take_back(where.state_dir, kind, peers, path):
            return complain(f"no {kind} of {path or 'any path'} is in force", USAGE)
        return complain("no controller runs: obeyed from its next start", NO_CONTROLLER)
    refusals = {name: unknown(path, config.connections[name], ()) for name in peers}
    wanted = [name for name, refusal in refusals.items() if not refusal]
    if not wanted:
        return complain(refusals[peers[0]], USAGE)
    offline.keep(where.state_dir, OrderKind(word), wanted, path, stamp())
    return complain("no controller runs: kept, and obeyed from its next start", NO_CONTROLLER)


def _close(where: Places, config: Config, peers: list[str], path: str) -> int:
    closed = asyncio.run(offline.revoke(where.vici, config.driven(peers), path))
    if not closed:
        return complain(f"no IKE SA of {path or ', '.join(peers)} is there", USAGE)
    for what in closed:
        print(f"{what} was closed, its keys are gone, {stamp()}")
    return complain("no controller runs: `vici-mif run` makes new ones", NO_CONTROLLER)
