# SPDX-License-Identifier: Apache-2.0
"""A peer's paths and tunnels in columns, as wide as there is room.

Where one row has no room for all of it, what is of the tunnel and the reason go to a line below.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from vici_mif.core.status import PathStatus, PeerStatus, TunnelStatus

WIDE = (
    "PATH", "STATE", "RTT", "JIT", "LOSS", "TUNNEL", "INNER", "TX", "RX", "SINCE",
    "LOCAL", "REMOTE", "WHY",
)  # fmt: skip
NARROW = ("PATH", "STATE", "RTT", "JIT", "LOSS", "TX", "RX", "SINCE")
DISPENSABLE = ("JIT", "SINCE", "RX", "TX", "LOSS")
"""What a narrow row gives up, the first one first."""
BELOW = ("TUNNEL", "INNER", "WHY")
NOTHING = "-"
INDENT = "    "

Row = dict[str, str]
Rates = Mapping[tuple[str, str], tuple[float, float]]
"""Bytes a second that were sent and received, by peer and path."""


def lines(peer: PeerStatus, now: datetime, width: int | None, rates: Rates | None) -> list[str]:
    """A row for each path, one more for each tunnel that is parked there or nowhere."""
    rows = list(_rows(peer, now, rates))
    if not rows:
        return []
    wide = table([WIDE, *(_cells(row, WIDE) for row in rows)])
    if width is None or all(len(line) <= width for line in wide):
        return wide
    return _narrow(rows, width)


def _narrow(rows: Sequence[Row], width: int) -> list[str]:
    names: tuple[str, ...] = NARROW
    given_up = list(DISPENSABLE)
    while True:
        head, *told = table([names, *(_cells(row, names) for row in rows)])
        if max(map(len, [head, *told])) <= width or not given_up:
            break
        names = tuple(name for name in names if name != given_up[0])
        del given_up[0]
    found = [head]
    for row, line in zip(rows, told, strict=True):
        found += [line] if row.get("PATH") else []
        said = "  ".join(row[name] for name in BELOW if row.get(name, NOTHING) != NOTHING)
        found += textwrap.wrap(
            said, max(width, 20), initial_indent=INDENT, subsequent_indent=INDENT
        )
    return [line[:width] for line in found]


def _cells(row: Row, names: Iterable[str]) -> list[str]:
    return [row.get(name, "") for name in names]


def _rows(peer: PeerStatus, now: datetime, rates: Rates | None) -> Iterable[Row]:
    seats: dict[str, list[TunnelStatus]] = {}
    for tunnel in peer.tunnels:
        seats.setdefault(tunnel.current or "", []).append(tunnel)
    for path in peer.paths:
        here = seats.pop(path.name, [])
        first = here[0] if here else None
        yield _path(path, first, now) | _rates(rates, peer.name, path.name)
        for more in here[1:]:
            yield _tunnel(more) | {"SINCE": age(more.since, now), "WHY": more.why}
    for tunnel in (left for others in seats.values() for left in others):
        place = {"LOCAL": tunnel.local, "REMOTE": tunnel.remote, "SINCE": age(tunnel.since, now)}
        yield _tunnel(tunnel) | place | {"WHY": "on no path of ours"}


def _path(path: PathStatus, tunnel: TunnelStatus | None, now: datetime) -> Row:
    seated = _tunnel(tunnel) if tunnel else dict.fromkeys(("TUNNEL", "INNER", "TX", "RX"), NOTHING)
    return seated | {
        "PATH": path.name,
        "STATE": _state(path),
        "RTT": span(path.rtt_s),
        "JIT": span(path.jitter_s),
        "LOSS": NOTHING if path.loss is None else f"{path.loss:.1%}",
        "SINCE": age(path.since, now),
        "LOCAL": path.local or NOTHING,
        "REMOTE": path.remote or NOTHING,
        "WHY": path.why or (tunnel.why if tunnel else "") or NOTHING,
    }


def _rates(rates: Rates | None, peer: str, path: str) -> Row:
    if rates is None:
        return {}
    sent, received = rates.get((peer, path), (0.0, 0.0))
    return {"TX": f"{size(int(sent))}/s", "RX": f"{size(int(received))}/s"}


def _tunnel(tunnel: TunnelStatus) -> Row:
    name = f"#{tunnel.ike_id}"
    if tunnel.home is None:
        name += " spare"
    elif tunnel.home != tunnel.current:
        name += f" of {tunnel.home}"
    return {
        "TUNNEL": name,
        "INNER": ",".join(tunnel.inner) or NOTHING,
        "TX": size(sum(child.tx_bytes for child in tunnel.children)),
        "RX": size(sum(child.rx_bytes for child in tunnel.children)),
    }


def _state(path: PathStatus) -> str:
    """With what was ordered by hand, where the state does not say it itself."""
    said = {"drain": "to be drained", "prefer": "preferred"}.get(path.order, "")
    return f"{path.state}, {said}" if said and path.state != "drained" else path.state


def span(seconds: float | None) -> str:
    """A short time: 0.4ms, 48ms, 1.2s."""
    if seconds is None:
        return NOTHING
    if seconds >= 1:
        return f"{seconds:.1f}s"
    digits = 0 if seconds >= 0.00995 else 1
    return f"{seconds * 1000:.{digits}f}ms"


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
    return how_long((now.astimezone(UTC) - then).total_seconds())


def how_long(delay: float) -> str:
    """Seconds, in two units at most: 12s, 4m02s, 3h12m, 5d03h."""
    seconds = max(0, int(delay))
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
