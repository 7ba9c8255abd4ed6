# SPDX-License-Identifier: Apache-2.0
"""How far what was ordered by hand has come, in words. And whether an order can be understood."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from vici_mif.core.events import OrderCleared
from vici_mif.core.family.family import Tunnel
from vici_mif.core.model import OrderKind, PathName
from vici_mif.core.orders import Orders, covers
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import quality
from vici_mif.core.wish.config import ConnectionConfig

WAITS = "the drain waits: no other path works"
LEAVING = "the drain is under way"
WITHDRAWN = "no longer configured; left as soon as another path works"


def word(paths: Paths, path: PathName) -> Literal["", "drain", "prefer"]:
    """What is ordered of a path."""
    if paths.is_withdrawn(path):
        return ""
    if paths.is_drained(path):
        return "drain"
    return "prefer" if paths.preferred_at(path) is not None else ""


def draining(paths: Paths, heir: str = "") -> str:
    """What the drain of a path waits for; empty where none does. `heir`: a peer that takes over."""
    if not any(not paths.is_withdrawn(name) for name in paths.leaving):
        return ""
    elsewhere = heir or [p for p in paths.best() if quality(paths.state(p.name)) < 2]
    return LEAVING if elsewhere else WAITS


def why(paths: Paths, path: PathName, heir: str) -> str:
    """What stands beside a path that is to be left."""
    return WITHDRAWN if paths.is_withdrawn(path) else draining(paths, heir)


def drained(orders: Orders, peer: str, paths: Paths) -> str:
    """The first drain that is in force, and how it ends."""
    for path in paths.all():
        order = orders.drain(peer, path.name)
        if order is not None:
            undrain = f"`vici-mif path undrain {peer} {order.path}`"
            return f"{path.name} is drained by order {order.id}; {undrain} takes that back"
    return ""


def wanted(tunnels: Iterable[Tunnel], paths: Paths) -> int:
    """How many tunnels paths that may be used and homes that are there ask for."""
    allowed = [path.name for path in paths.all() if not path.denied]
    free = {name for name in allowed if not paths.is_drained(name)}
    return len(free | {tunnel.home for tunnel in tunnels if tunnel.home is not None})


def not_there(event: OrderCleared, orders: Orders) -> str:
    """Why there is nothing to take back; empty where there is."""
    if event.kind is OrderKind.DOWN:
        return ""
    left = orders.clear(event)
    if any(o.kind is OrderKind.REVOKE and o not in left.kept for o in orders.kept):
        return f"order {event.id} is about keys that are being closed: it ends by itself"
    if left != orders:
        return ""
    if event.id is not None:
        return f"there is no order {event.id}; `vici-mif orders` shows what there is"
    if event.kind is OrderKind.REVOKE_IDENTITY:
        return f"{event.identity} is not revoked; `vici-mif orders` shows what there is"
    held = [f"{o.path} (order {o.id})" for o in orders.kept if o.kind is event.kind]
    known = f"; ordered: {', '.join(held)}" if held else ""
    return f"no {event.kind} of {event.path or 'any path'} is in force{known}"


def unknown(text: str, wish: ConnectionConfig, known: Sequence[PathName]) -> str:
    """Why these words name no path of a peer; empty where they do, or where it may still come."""
    whole = text.partition("/")[1:] != ("/", "")
    if whole and (any(covers(text, p) for p in known) or _may_come(text, wish, known)):
        return ""
    names = list(map(str, known)) or [link.match for link in wish.links]
    return f"no path or link '{text}'; known: {', '.join(names)}"


def _may_come(text: str, wish: ConnectionConfig, known: Iterable[PathName]) -> bool:
    link, _, remote = text.partition("/")
    remotes = {path.remote for path in known} | set(wish.remotes.use if wish.remotes else ())
    there = not remote or not remotes or any(fnmatchcase(known, remote) for known in remotes)
    return there and any(match.fits(link) or fnmatchcase(match.match, link) for match in wish.links)
