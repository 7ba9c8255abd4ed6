# SPDX-License-Identifier: Apache-2.0
"""How everything stands, as the status model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vici_mif import __version__
from vici_mif.core import status as s
from vici_mif.core.byhand import progress
from vici_mif.core.family.family import Tunnel
from vici_mif.core.paths.path import PathState
from vici_mif.core.paths.ranking import Path
from vici_mif.core.peers.peer import Peer
from vici_mif.core.requests import Book
from vici_mif.core.standing import kernel_why, standing
from vici_mif.core.world import World


def daemon(world: World, book: Book, config: str, since: str) -> s.DaemonStatus:
    """The controller and its charon; `config` and `since` are the shell's."""
    return s.DaemonStatus(
        version=__version__,
        charon=world.charon.version if world.charon else None,
        patched=world.patched,
        config=config,
        since=since,
        why="" if world.charon else world.charon_why,
        kernel_why=kernel_why(book),
    )


def status(
    daemon: s.DaemonStatus,
    peers: Iterable[Peer],
    waiting: Mapping[str, str],
    world: World,
    book: Book,
    clock: s.Clock,
) -> s.Status:
    """Everything. `waiting`: peers that could not begin, and why."""
    begun = (_peer(peer, world, book, clock) for peer in peers)
    return s.Status(
        daemon=daemon,
        peers=(*begun, *(_not_begun(name, why) for name, why in waiting.items())),
        orders=tuple(
            s.OrderStatus(
                id=o.id,
                kind=o.kind.value,
                peer=o.peer,
                path=o.path,
                identity=o.identity,
                given=o.given,
                by=o.by,
            )
            for o in world.orders.kept
        ),
    )


def _peer(peer: Peer, world: World, book: Book, clock: s.Clock) -> s.PeerStatus:
    state, why, _ = standing(peer, world, book)
    return s.PeerStatus(
        name=peer.name,
        state=state,
        mode=peer.shape.word if world.charon is not None else None,
        why=why,
        authentications=peer.authentication.count,
        clones=peer.growth.count,
        family=peer.tunnels[0].sa.family if peer.tunnels else None,
        mtu=peer.mtu,
        tunnels=tuple(_tunnel(peer, tunnel, clock) for tunnel in peer.tunnels),
        paths=tuple(_path(peer, path, clock) for path in peer.paths.all()),
    )


def _not_begun(name: str, why: str) -> s.PeerStatus:
    return s.PeerStatus(
        name=name,
        state="waiting",
        mode=None,
        why=why,
        authentications=0,
        clones=0,
        family=None,
        tunnels=(),
        paths=(),
    )


def _tunnel(peer: Peer, tunnel: Tunnel, clock: s.Clock) -> s.TunnelStatus:
    sa = tunnel.sa
    hosts = [ts.partition("/")[0] for child in sa.children for ts in child.local_ts]
    given = set(map(str, sa.local_vips))
    life = peer.paths.life(tunnel.current) if tunnel.current else None
    return s.TunnelStatus(
        name=str(tunnel.home or f"spare-{tunnel.ike_id}"),
        ike_id=tunnel.ike_id,
        home=str(tunnel.home) if tunnel.home else None,
        current=str(tunnel.current) if tunnel.current else None,
        local=str(sa.local),
        remote=str(sa.remote),
        inner=tuple(dict.fromkeys(host for host in hosts if host in given)),
        children=tuple(_child(tunnel, i) for i in range(len(sa.children))),
        since=clock.rfc3339(life.since_at if life else clock.now),
        pinned_s=sa.pinned_delay,
        why=_why_away(peer, tunnel, clock.now),
    )


def _why_away(peer: Peer, tunnel: Tunnel, now: float) -> str:
    """What a parked tunnel waits for."""
    home = peer.paths.get(tunnel.home)
    if home is None or tunnel.current == tunnel.home:
        return ""
    hold, base = peer.paths.hold(home.name), peer.config.hold_down
    life, due_at = peer.paths.life(home.name), hold.due_at(base)
    if home.pair is None or due_at is None or life.state is PathState.DRAINED:
        return f"{home.name}: {life.why or 'does not work'}"
    if due_at <= now:
        return f"{home.name} works again and is tested"
    broke = f", it broke {hold.breaks} times" if hold.breaks > 1 else ""
    return f"{home.name}: {due_at - now:.0f} s of {hold.delay(base):g} s hold-down left{broke}"


def _child(tunnel: Tunnel, index: int) -> s.ChildStatus:
    child = tunnel.sa.children[index]
    return s.ChildStatus(
        name=child.name,
        state=child.state,
        spi_in=child.spi_in,
        spi_out=child.spi_out,
        local_ts=child.local_ts,
        remote_ts=child.remote_ts,
        tx_bytes=child.bytes_out,
        rx_bytes=child.bytes_in,
    )


def _why(peer: Peer, path: Path, carries: bool) -> str:
    """What there is to say about a path."""
    if path.name in peer.paths.leaving:
        return progress.why(peer.paths, path.name, peer.role.heir)
    said = peer.paths.life(path.name).why or peer.paths.trouble(path.name)
    return said or peer.probing.why(path.name, carries)


def _path(peer: Peer, path: Path, clock: s.Clock) -> s.PathStatus:
    life = peer.paths.life(path.name)
    here = [c for t in peer.tunnels if t.current == path.name for c in t.sa.children]
    carries = any(t.carries and t.current == path.name for t in peer.tunnels)
    told = peer.probing.shown(path.name)
    rtt, jitter, loss = (told.rtt_delay, told.jitter_delay, told.loss) if told else (None,) * 3
    return s.PathStatus(
        name=str(path.name),
        link=path.name.link,
        local=str(path.pair.local) if path.pair else None,
        remote=str(path.remote),
        state=life.state.value,
        order=progress.word(peer.paths, path.name),
        probe="inner" if told else "passive" if peer.shape.word == "passive" else "ike",
        rtt_s=peer.paths.rtt_delay(path.name) if rtt is None else rtt,
        jitter_s=jitter,
        loss=loss,
        tx_bytes=sum(c.bytes_out for c in here),
        rx_bytes=sum(c.bytes_in for c in here),
        probe_bytes_today=peer.paths.spent(path.name),
        since=clock.rfc3339(life.since_at),
        why=_why(peer, path, carries),
    )
