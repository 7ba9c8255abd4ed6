# SPDX-License-Identifier: Apache-2.0
"""The status as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from vici_mif.core.status import (
    OrderStatus,
    PathStatus,
    PeerStatus,
    RestoredStatus,
    Status,
    TunnelStatus,
)

HEAD = ("PATH", "LOCAL", "REMOTE", "STATE", "TUNNEL", "INNER", "TX", "RX", "SINCE", "WHY")
NOTHING = "-"


def status(status: Status, now: datetime) -> str:
    """All peers, then the orders."""
    lines: list[str] = []
    if status.daemon.why:
        lines += [f"charon: {status.daemon.why}", ""]
    if refused := status.daemon.config_refused:
        lines += [f"in force since {status.daemon.config_since}; what was read last is refused:"]
        lines += [*refused.splitlines(), ""]
    for peer in status.peers:
        lines += [*_peer(peer, now), ""]
    if restored := _restored(status.daemon.restored):
        lines += [restored, ""]
    lines += orders(status.orders) if status.orders else []
    return "\n".join(lines).rstrip()


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
    rows += [(str(o.id), o.kind, o.peer or "all", o.path or NOTHING, o.given, o.by) for o in given]
    return table(rows)


def _peer(peer: PeerStatus, now: datetime) -> list[str]:
    head = f"peer {peer.name}  {peer.state}"
    if peer.mode:
        head += f"  mode: {peer.mode}"
    authentications = "authentication" if peer.authentications == 1 else "authentications"
    head += f"  {peer.authentications} {authentications}, {peer.clones} cloned"
    lines = [head]
    if peer.why:
        lines.append(f"  {peer.why}")
    tunnels = _seated(peer.tunnels)
    rows: list[Sequence[str]] = [HEAD]
    for path in peer.paths:
        rows += _path(path, tunnels.pop(path.name, []), now)
    for left in tunnels.values():
        rows += [_homeless(tunnel, now) for tunnel in left]
    return lines + table(rows)


def _seated(tunnels: Iterable[TunnelStatus]) -> dict[str, list[TunnelStatus]]:
    seats: dict[str, list[TunnelStatus]] = {}
    for tunnel in tunnels:
        seats.setdefault(tunnel.current or "", []).append(tunnel)
    return seats


def _path(path: PathStatus, tunnels: list[TunnelStatus], now: datetime) -> list[Sequence[str]]:
    """One row for the path with its first tunnel, one more for each that is parked here."""
    place = (path.name, path.local or NOTHING, path.remote or NOTHING, _state(path))
    since = age(path.since, now)
    if not tunnels:
        return [(*place, *_tunnel(None), since, path.why or NOTHING)]
    first, *others = tunnels
    rows: list[Sequence[str]] = [(*place, *_tunnel(first), since, path.why or first.why or NOTHING)]
    rows += [("", "", "", "", *_tunnel(more), age(more.since, now), more.why) for more in others]
    return rows


def _state(path: PathStatus) -> str:
    """With what was ordered by hand, where the state does not say it itself."""
    said = {"drain": "to be drained", "prefer": "preferred"}.get(path.order, "")
    return f"{path.state}, {said}" if said and path.state != "drained" else path.state


def _homeless(tunnel: TunnelStatus, now: datetime) -> Sequence[str]:
    place = (NOTHING, tunnel.local, tunnel.remote, NOTHING)
    return (*place, *_tunnel(tunnel), age(tunnel.since, now), "on no path of ours")


def _tunnel(tunnel: TunnelStatus | None) -> Sequence[str]:
    if tunnel is None:
        return (NOTHING,) * 4
    inner = ",".join(tunnel.inner) or NOTHING
    sent = sum(child.tx_bytes for child in tunnel.children)
    received = sum(child.rx_bytes for child in tunnel.children)
    name = f"#{tunnel.ike_id}"
    if tunnel.home is None:
        name += " spare"
    elif tunnel.home != tunnel.current:
        name += f" of {tunnel.home}"
    return (name, inner, size(sent), size(received))


def size(count: int) -> str:
    """Bytes, short: 0, 812, 4.1k, 80M."""
    amount = float(count)
    for unit in ("", "k", "M", "G", "T"):
        if amount < 1000:
            digits = 0 if not unit or amount >= 99.95 else 1
            return f"{amount:.{digits}f}{unit}"
        amount /= 1000
    return f"{amount:.0f}P"


def age(since: str, now: datetime) -> str:
    """How long ago, in two units at most: 12s, 4m02s, 3h12m, 5d03h."""
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return NOTHING
    seconds = max(0, int((now.astimezone(UTC) - then).total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    return f"{hours // 24}d{hours % 24:02}h"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns; the last one is as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
