# SPDX-License-Identifier: Apache-2.0
"""What a peer has laid in the kernel, as far as it holds without tunnels, links and charon. Pure.

It is what the next boot begins with: kept over restarts, or read from an inline connection. It
is a cache. As soon as charon tells what is true, that counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vici_mif.core.family.mode import wants_per_path
from vici_mif.core.ground import dataplane, guarding
from vici_mif.core.ground.dataplane import Inner
from vici_mif.core.model import ChildTemplate, Connection, Footprint, GuardWish, Steering
from vici_mif.core.paths.remotes import literal_address
from vici_mif.core.selectors import host, networks
from vici_mif.core.wish.config import ConnectionConfig
from vici_mif.core.wish.inline import InlineConnection
from vici_mif.core.wish.links import LinkMatch
from vici_mif.core.wish.numbers import Numbers

DYNAMIC = ("dynamic",)
"""What charon takes where a child names no selector."""


def declared(name: str, config: ConnectionConfig) -> Footprint | None:
    """What an inline connection says by itself; None where charon has to be asked."""
    if config.connection is None:
        return None
    connection = _connection(name, config.connection)
    names = config.children or tuple(child.name for child in connection.children)
    if wants_per_path(config, connection):
        chosen = [c for c in connection.children if c.name in names]
        remotes = networks(tuple(ts for child in chosen for ts in child.remote_ts))
        return Footprint(name, per_path=True, remotes=remotes)
    return Footprint(name, per_path=False, guard=_guard(config, connection, names))


def _connection(name: str, inline: InlineConnection) -> Connection:
    children = (
        ChildTemplate(
            child,
            mode=str(it.mode or "tunnel").upper(),
            local_ts=it.local_ts or DYNAMIC,
            remote_ts=it.remote_ts or DYNAMIC,
            if_id_out=it.if_id_out or str(inline.if_id_out or "0"),
        )
        for child, it in inline.children.items()
    )
    return Connection(
        name, remote_addrs=inline.remote_addrs, vips=inline.vips, children=tuple(children)
    )


def _guard(
    config: ConnectionConfig, connection: Connection, names: Iterable[str]
) -> GuardWish | None:
    selectors = tuple(dict.fromkeys(guarding.guarded(connection, tuple(names))))
    if not selectors:
        return None
    dialled = config.remotes.use or connection.remote_addrs
    outer = [address for text in dialled if (address := literal_address(text))]
    return GuardWish(selectors, (), tuple(host(address) for address in outer))


def at_boot(footprint: Footprint, config: ConnectionConfig) -> Footprint:
    """The same before any link is there: every link that the configuration would take counts."""
    guard = footprint.guard or _inner_guard(footprint)
    if guard is None:
        return footprint
    links = dict.fromkeys([*map(wildcard, config.links), *guard.uplinks])
    return replace(footprint, guard=replace(guard, uplinks=tuple(links)))


def _inner_guard(footprint: Footprint) -> GuardWish | None:
    """Of what rules lead: networkd deletes them when it starts, which is soon at boot."""
    selectors = tuple(guarding.from_inner(footprint.slots, footprint.remotes))
    return GuardWish(selectors, (), (), footprint.kernel_esp) if selectors else None


def wildcard(link: LinkMatch) -> str:
    """nft knows one kind of pattern, `wwan*`: others are widened to it."""
    starts = [at for at in map(link.match.find, "*?[") if at >= 0]
    return f"{link.match[: min(starts)]}*" if starts else link.match


def steering(numbers: Numbers, footprint: Footprint) -> Steering:
    """Rules and `unreachable`, without a tunnel, a link or an interface of ours."""
    if not footprint.per_path:
        return Steering()
    return dataplane.inner(
        numbers,
        Inner(
            footprint.slots,
            footprint.remotes,
            footprint.kernel_esp,
            established=False,
            works=False,
            mtu=dataplane.TUN_MTU,
            bare=footprint.bare,
        ),
    )
