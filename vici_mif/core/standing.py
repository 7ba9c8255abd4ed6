# SPDX-License-Identifier: Apache-2.0
"""How a peer stands: its state, and the one sentence that explains it."""

from __future__ import annotations

from typing import NamedTuple

from vici_mif.core.byhand import progress
from vici_mif.core.family.family import Tunnel
from vici_mif.core.family.loading import load_key
from vici_mif.core.peers.peer import Peer
from vici_mif.core.requests import Book
from vici_mif.core.status import PeerState
from vici_mif.core.world import World


class Standing(NamedTuple):
    """A peer's state and the one sentence that explains it."""

    state: PeerState
    why: str
    on_its_way: bool = False
    """A start that has not come to its end: no reason to warn anybody."""

    @property
    def is_trouble(self) -> bool:
        """Whether an operator should be warned."""
        return self.state not in {"up", "standby"} and not self.on_its_way


IN_KERNEL = {"steer": "rules and routes", "guard": "nftables"}
"""By the kind of request."""


def kernel_why(book: Book) -> str:
    """What of ours the kernel did not take, and its own words; empty where nothing failed."""
    failures = ((what, book.failure((kind, ""))) for kind, what in IN_KERNEL.items())
    return "; ".join(f"{what}: {f.text or f.reason}" for what, f in failures if f is not None)


def standing(peer: Peer, world: World, book: Book) -> Standing:
    """The peer's state and the one sentence that explains it."""
    found, refused = _standing(peer, world, book), kernel_why(book)
    if found.state == "up" and refused:  # what is protected may leave in clear
        return Standing("degraded", f"not taken by the kernel: {refused}")
    return found


def _standing(peer: Peer, world: World, book: Book) -> Standing:
    waiting = _waiting(peer, world, book)
    if waiting is not None:
        return waiting
    if peer.role.behind:
        drained = progress.drained(world.orders, peer.name, peer.paths)
        why = f"{peer.role.behind} carries the same traffic"
        return Standing("standby", "; ".join(filter(None, [why, drained])))
    if not world.patched:
        return _stock(peer, world)
    if peer.shape.refused and not peer.works:
        return Standing("down", peer.shape.why)
    if not peer.works:
        return _down(peer, world, book)
    return _working(peer, world, book)


def _waiting(peer: Peer, world: World, book: Book) -> Standing | None:
    if world.charon is None:
        return Standing("down", f"no charon: {world.charon_why or 'not connected yet'}")
    if peer.retired:
        return Standing("down", "no longer configured; its tunnels are being closed")
    order = world.orders.down(peer.name)
    if order is not None:
        why = f"taken down by {order.by}; `vici-mif up {peer.name}` takes that back"
        return Standing("down", why)
    if peer.connection is None or (not peer.tunnels and _not_loaded(peer, book)):
        return Standing("waiting", _why_no_connection(peer, book))
    if peer.missing_children or not peer.templates():
        named = ", ".join(peer.missing_children) or "any"
        why = f"the connection {peer.name} in charon has no child {named}"
        return Standing("degraded" if peer.works else "waiting", why)
    if not peer.paths.count:
        return Standing("waiting", _why_no_path(peer))
    return None


def _why_no_connection(peer: Peer, book: Book) -> str:
    fault = _not_loaded(peer, book)
    if fault:
        return f"charon did not take the connection: {fault}"
    if peer.config.connection is not None:
        return f"charon has no connection {peer.name}: it is being loaded"
    return f"charon has no connection {peer.name}: load it with `swanctl --load-all`"


def _not_loaded(peer: Peer, book: Book) -> str:
    """What is wrong with the inline connection or its secrets; it may be there from before."""
    inline = peer.config.connection
    parts = range(len(inline.secrets) + 1) if inline else ()
    failed = (book.failure(load_key(peer.name, part)) for part in parts)
    return next((f.text or f.reason for f in failed if f is not None), "")


def _why_no_path(peer: Peer) -> str:
    assert peer.connection is not None
    wanted = peer.remote_addrs(peer.connection)
    if not wanted:
        return f"no address of the peer is known: set `remotes` of {peer.name}"
    if peer.paths.all():
        return f"pairs of {peer.name} denies every path"
    return f"no link of {peer.name} is there, or {wanted[0]} is not resolved yet"


def _stock(peer: Peer, world: World) -> Standing:
    sas = [sa for sa in world.named(peer.name) if sa.established]
    work = {sa.name for sa in sas if any(child.works for child in sa.children)}
    missing = [name for name in peer.config.authenticate if name not in work]
    if work and missing and not peer.shape.refused:
        return Standing("degraded", f"no tunnel of {', '.join(missing)}; {peer.shape.why}")
    return Standing("up" if work and not peer.shape.refused else "down", peer.shape.why)


def _down(peer: Peer, world: World, book: Book) -> Standing:
    if peer.tunnels:
        failures = [f for t in peer.tunnels for f in _child_failures(peer, t, book)]
        why = failures[0] if failures else ""
        if not why and any(t.carries for t in peer.tunnels):
            why = "no path answers"
    else:
        failed = book.failure(("auth", peer.name))
        why = (failed and failed.text) or peer.authentication.why
        if not peer.paths.seats():
            why = progress.drained(world.orders, peer.name, peer.paths) or why
    begun = "opening the first tunnel" if peer.tunnels else "authenticating"
    if peer.role.instead:
        return Standing("down", _replaced(peer, why or begun))
    return Standing("down", why or begun, on_its_way=not why)


def _replaced(peer: Peer, why: str) -> str:
    instead = peer.role.instead
    if peer.role.free_at is None:
        return f"{why}; {instead} carries in its place"
    return f"works again, and takes over from {instead} after its hold-down"


def _child_failures(peer: Peer, tunnel: Tunnel, book: Book) -> list[str]:
    keys = [("child", peer.name, tunnel.ike_id, t.name) for t in peer.templates()]
    found = [(key[3], book.failure(key)) for key in keys]
    return [f"child {name}: {f.text or f.reason}" for name, f in found if f is not None]


def _working(peer: Peer, world: World, book: Book) -> Standing:
    """Up: every tunnel that is wanted carries at home. Else the first thing that is not so."""
    lacks = _leaving(peer) or _away(peer) or _unbuilt(peer, book) or _unopened(peer, book)
    if lacks is not None:
        return lacks
    if peer.unloaded:
        return _unloaded(peer, book)
    drained = progress.drained(world.orders, peer.name, peer.paths)
    why = peer.shape.why or _why_no_spare(peer, book)
    return Standing("up", "; ".join(filter(None, [drained, why])))


def _unloaded(peer: Peer, book: Book) -> Standing:
    if peer.config.connection is not None:
        on_its_way = not _not_loaded(peer, book)
        return Standing("degraded", _why_no_connection(peer, book), on_its_way)
    why = f"charon has no connection {peer.name} any more; its tunnels stay while they live"
    return Standing("degraded", why)


def _seated(peer: Peer) -> list[Tunnel]:
    return [tunnel for tunnel in peer.tunnels if tunnel.home is not None]


def _leaving(peer: Peer) -> Standing | None:
    draining = progress.draining(peer.paths, peer.role.heir)
    on_its_way = draining == progress.LEAVING
    return Standing("degraded", draining, on_its_way) if draining else None


def _away(peer: Peer) -> Standing | None:
    for tunnel in _seated(peer):
        if not tunnel.carries or tunnel.current == tunnel.home:
            continue
        if tunnel.home is not None and not peer.paths.is_drained(tunnel.home):
            where = tunnel.current or "an address that is gone"
            return Standing("degraded", f"the tunnel of {tunnel.home} is on {where}")
    return None


def _unbuilt(peer: Peer, book: Book) -> Standing | None:
    seated = _seated(peer)
    built = sum(t.carries for t in seated) if peer.shape.per_path else len(seated)
    wanted = min(peer.shape.limit, progress.wanted(peer.tunnels, peer.paths))
    if built >= wanted:
        return None
    refused = book.failure(("clone", peer.name))
    unopened = [f for t in seated if not t.carries for f in _child_failures(peer, t, book)]
    causes = [refused.text or refused.reason] if refused else unopened
    why = next(iter(causes), "") or (_homeless(peer) if len(seated) < wanted else "")
    state: PeerState = "up" if refused and refused.reason == "limit" else "degraded"
    said = ": ".join(filter(None, [f"{built} of {wanted} tunnels", why]))
    return Standing(state, said, on_its_way=not causes)


def _homeless(peer: Peer) -> str:
    """The first path that has no tunnel and cannot have one now; none while one is being built."""
    paths, homes = peer.paths, {tunnel.home for tunnel in peer.tunnels}
    if any(path.name not in homes for path in paths.seats()):
        return ""
    empty = (p.name for p in paths.all() if p.name not in homes and paths.possible(p.name))
    whys = ((n, paths.life(n).why) for n in empty if not paths.is_drained(n))
    return next((f"{name}: {why}" for name, why in whys if why), "")


def _unopened(peer: Peer, book: Book) -> Standing | None:
    carriers = (tunnel for tunnel in _seated(peer) if tunnel.carries)
    failures = [f for tunnel in carriers for f in _child_failures(peer, tunnel, book)]
    return Standing("degraded", failures[0]) if failures else None


def _why_no_spare(peer: Peer, book: Book) -> str:
    """A new link will wait for a clone then; nothing is wrong."""
    spares = sum(tunnel.home is None for tunnel in peer.tunnels)
    refused = book.failure(("clone", peer.name))
    if spares >= peer.shape.spares or refused is None:
        return ""
    return f"{spares} of {peer.shape.spares} spares: {refused.text or refused.reason}"
