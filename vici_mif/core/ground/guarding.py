# SPDX-License-Identifier: Apache-2.0
"""What of a peer's traffic is refused where it would leave an uplink in clear. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, product

from vici_mif.core.ground.dataplane import Inner
from vici_mif.core.ground.mtu import segment
from vici_mif.core.model import Clamp, Connection, GuardWish, IPNetwork, Link, Selector, Slot
from vici_mif.core.paths.ranking import Path
from vici_mif.core.selectors import host, protected


def site(
    connection: Connection,
    children: Sequence[str],
    paths: Sequence[Path],
    all_links: Sequence[Link],
    kernel_esp: bool,
    mtu: int | None = None,
) -> GuardWish | None:
    """Mode one: nothing a child protects leaves an uplink in clear, and TCP fits all of them.

    A template with an interface id is the operator's own routing; `dynamic` has no address to
    guard. Both protect nothing here.
    """
    wish = _guard(guarded(connection, children), paths, all_links, kernel_esp)
    if wish is None or mtu is None:
        return wish
    clamps = [Clamp(s, segment(mtu, s.local.version)) for s in wish.selectors]
    return replace(wish, clamps=tuple(clamps))


def guarded(connection: Connection, children: Sequence[str]) -> list[Selector]:
    """What these children protect of what is not the operator's own routing."""
    selectors: list[Selector] = []
    for template in connection.children:
        if template.name in children and template.if_id_out == "0" and template.mode != "PASS":
            selectors.extend(protected(template))
    return selectors


def _guard(
    selectors: Sequence[Selector],
    paths: Sequence[Path],
    all_links: Sequence[Link],
    kernel_esp: bool,
) -> GuardWish | None:
    uplinks = tuple(dict.fromkeys(path.name.link for path in paths))
    if not selectors or not uplinks:
        return None
    subnets = [i.network for link in all_links if link.name in uplinks for i in link.addresses]
    exempt = [*subnets, *(host(path.remote) for path in paths)]
    return GuardWish(
        tuple(dict.fromkeys(selectors)), uplinks, tuple(dict.fromkeys(exempt)), kernel_esp
    )


def inner(wish: Inner, paths: Sequence[Path], all_links: Sequence[Link]) -> GuardWish | None:
    """Mode per-path: what comes from an inner address.

    Rules and `unreachable` refuse it too, until others take them away: systemd-networkd deletes
    all rules, charon's with them, and user-space ESP has no policies to catch the packets.
    """
    return _guard(from_inner(wish.slots, wish.remotes), paths, all_links, wish.kernel_esp)


def from_inner(slots: Iterable[Slot], remotes: Iterable[IPNetwork]) -> list[Selector]:
    """What goes from any of these addresses to what lies behind the peer."""
    return [
        Selector(host(address), remote)
        for address, remote in product(chain.from_iterable(slots), remotes)
        if remote.version == address.version
    ]


def join(parts: Iterable[GuardWish | None]) -> GuardWish | None:
    """One table for all: who is exempt for one peer is so for each."""
    wishes = [part for part in parts if part is not None]
    if not wishes:
        return None
    return GuardWish(
        tuple(dict.fromkeys(x for wish in wishes for x in wish.selectors)),
        tuple(dict.fromkeys(x for wish in wishes for x in wish.uplinks)),
        tuple(dict.fromkeys(x for wish in wishes for x in wish.exempt)),
        any(wish.kernel_esp for wish in wishes),
        tuple(dict.fromkeys(x for wish in wishes for x in wish.clamps)),
    )
