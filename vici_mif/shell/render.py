# SPDX-License-Identifier: Apache-2.0
"""The status as people read it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime

from vici_mif.core.status import OrderStatus, PeerStatus, RestoredStatus, Status
from vici_mif.shell import columns, families, terminal
from vici_mif.shell.columns import NOTHING, Rates, table


def status(
    status: Status, now: datetime, width: int | None = None, rates: Rates | None = None
) -> str:
    """All peers, then the orders.

    `width`: columns of the terminal; None: as wide as it is. With `rates`, bytes a second stand
    in the place of bytes.
    """
    lines: list[str] = []
    if status.daemon.why:
        lines += [f"charon: {status.daemon.why}", ""]
    if status.daemon.kernel_why:
        lines += [f"not taken by the kernel, tried again: {status.daemon.kernel_why}", ""]
    if refused := status.daemon.config_refused:
        lines += [f"in force since {status.daemon.config_since}; what was read last is refused:"]
        lines += [*refused.splitlines(), ""]
    for peer in status.peers:
        lines += [*_peer(peer, now, width, rates), ""]
    if status.gateway is not None:
        lines += [*families.lines(status.gateway), ""]
    if restored := _restored(status.daemon.restored):
        lines += [restored, ""]
    lines += orders(status.orders) if status.orders else []
    return terminal.plain("\n".join(lines)).rstrip()


def _restored(counted: RestoredStatus) -> str:
    """Nothing to say on most hosts."""
    if not counted.routing and not counted.guard:
        return ""
    return (
        f"taken away by others and put back: {counted.routing} times rules or routes, "
        f"{counted.guard} times the nftables table"
    )


def orders(given: Sequence[OrderStatus]) -> list[str]:
    """What operators asked for by hand."""
    rows = [("ORDER", "WHAT", "PEER", "PATH", "GIVEN", "BY")]
    for o in given:
        peer = o.identity or o.peer or "all"
        rows.append((str(o.id), o.kind, peer, o.path or NOTHING, o.given, o.by))
    return table(rows)


def _peer(peer: PeerStatus, now: datetime, width: int | None, rates: Rates | None) -> list[str]:
    head = f"peer {peer.name}  {peer.state}"
    if peer.mode:
        head += f"  mode: {peer.mode}"
    used = sum(path.state == "active" for path in peer.paths)
    head += f"  paths {used}/{len(peer.paths)} in use"
    head += f"  auth: {peer.authentications} full, {peer.clones} cloned"
    said = [head, f"  {peer.why}"] if peer.why else [head]
    if width is not None:
        said = [part for line in said for part in _wrapped(line, width)]
    return said + columns.lines(peer, now, width, rates)


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent="  ", drop_whitespace=True) or [""]


def cut(lines: list[str], height: int) -> list[str]:
    """As many lines as there is room for; the last one says how many are not shown."""
    if len(lines) <= height:
        return lines
    return [*lines[: height - 1], f"... {len(lines) - height + 1} lines more"]
