# SPDX-License-Identifier: Apache-2.0
"""`check --dropin` and `check --plan`: what the operator's files need, what would be done. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vici_mif.core import dataplane, mode, ranking, swan
from vici_mif.core.config import Config, ConnectionConfig
from vici_mif.core.dataplane import Inner, Numbers
from vici_mif.core.model import (
    ChildTemplate,
    Connection,
    GuardWish,
    IPAddress,
    Link,
    Route,
    Rule,
)
from vici_mif.core.selectors import networks

Connections = Mapping[str, Connection]


# --- what the operator's files need ------------------------------------------


def dropin(config: Config, connections: Connections) -> str:
    """A file for swanctl's conf.d and one for strongswan.d, with where to put them.

    Never a key that a stock charon does not know in swanctl.conf: it would discard the whole
    connection. Our own settings stand in strongswan.conf, where a stock charon ignores them.
    """
    parts = [_swanctl(config, connections), _strongswan(config)]
    return "\n".join(part for part in parts if part)


def _swanctl(config: Config, connections: Connections) -> str:
    blocks = []
    for name, wish in config.connections.items():
        names = _to_silence(wish, connections.get(name))
        if names:
            blocks.append(_connection_block(name, names))
    if not blocks:
        return "# swanctl.conf needs nothing: no child that is driven here starts by itself\n"
    head = "# /etc/swanctl/conf.d/zz-vici-mif.conf: these children are opened by vici-mif\n"
    return head + "connections {\n" + "".join(blocks) + "}\n"


def _to_silence(wish: ConnectionConfig, connection: Connection | None) -> list[str]:
    """Children that begin by themselves; those of which charon does not tell, too."""
    if wish.connection is not None:
        return []
    if connection is None:
        return list(wish.children)
    driven = [t for t in connection.children if not wish.children or t.name in wish.children]
    return [t.name for t in driven if t.start_action != "none"]


def _connection_block(name: str, children: Iterable[str]) -> str:
    lines = [f"      {child} {{\n        start_action = none\n      }}\n" for child in children]
    return f"  {name} {{\n    children {{\n{''.join(lines)}    }}\n  }}\n"


def _strongswan(config: Config) -> str:
    most = max(_tunnels(wish) for wish in config.connections.values())
    return (
        "# /etc/strongswan.d/zz-vici-mif.conf: how many clones a family may have, here and in\n"
        "# the same way at the peer; read at charon's start\n"
        "charon {\n  clone_ike_sa {\n"
        f"    max_clones = {max(1, most - 1)}\n"
        "  }\n}\n"
    )


def _tunnels(wish: ConnectionConfig) -> int:
    """As many as there may be: patterns can stand for any number of links."""
    exact = len(wish.links) if all(match.exact for match in wish.links) else mode.DEFAULT_TUNNELS
    return mode.tunnels(wish, exact)


# --- what would be done --------------------------------------------------------


def plan(
    config: Config,
    connections: Connections | None,
    links: Sequence[Link],
    names: dict[str, tuple[IPAddress, ...]],
    patched: bool,
    kernel_esp: bool,
) -> list[str]:
    """Lines for people. `connections` is None where no charon answered."""
    numbers = Numbers(config.daemon.tables, config.daemon.rules)
    lines: list[str] = []
    for name, wish in config.connections.items():
        connection = (connections or {}).get(name)
        if wish.connection is not None:
            connection = swan.as_connection(name, wish.connection)
        if connection is None:
            lines += _unknown(name, connections is None)
        else:
            one = _Plan(wish, connection, numbers, patched, kernel_esp)
            lines += one.lines(links, names)
    return lines


def _unknown(name: str, no_charon: bool) -> list[str]:
    why = "no charon answers" if no_charon else "charon does not have it: `swanctl --load-all`"
    return [f"{name}: waits for the connection ({why})"]


class _Plan:
    """One connection's part."""

    def __init__(
        self,
        wish: ConnectionConfig,
        connection: Connection,
        numbers: Numbers,
        patched: bool,
        kernel_esp: bool,
    ) -> None:
        self._wish, self._connection, self._numbers = wish, connection, numbers
        self._patched, self._kernel_esp = patched, kernel_esp

    def lines(self, links: Sequence[Link], names: dict[str, tuple[IPAddress, ...]]) -> list[str]:
        remote = self._wish.remotes.use if self._wish.remotes else self._connection.remote_addrs[:1]
        paths = ranking.candidates(self._wish.links, links, ranking.remotes(remote, names))
        shape = mode.shape(self._wish, self._connection, (), len(paths), self._patched)
        head = f"{self._connection.name}: mode {shape.word}, at most {shape.limit} tunnel(s)"
        lines = [head + (f" ({shape.why})" if shape.why else "")]
        lines += [f"  path {path.rank + 1}: {_path(path)}" for path in paths]
        if not paths:
            lines.append(f"  no path yet: links or an address of {', '.join(remote)} are missing")
        if not self._patched or shape.refused:
            return lines
        return lines + self._steps(shape, paths) + self._kernel(shape, paths, links)

    def _templates(self) -> tuple[ChildTemplate, ...]:
        wanted = self._wish.children
        return tuple(t for t in self._connection.children if not wanted or t.name in wanted)

    def _steps(self, shape: mode.Shape, paths: Sequence[ranking.Path]) -> list[str]:
        usable = [path for path in paths if path.pair is not None][: shape.limit]
        children = ", ".join(t.name for t in self._templates()) or "no child"
        if not usable:
            return []
        lines = [f"  authenticate on {usable[0].name}, the next path after 2 s without an answer"]
        lines += [f"  clone, move to {path.name}" for path in usable[1:]]
        where = "on each tunnel" if shape.per_path else "on the best path"
        return [*lines, f"  open {children} {where}"]

    def _kernel(
        self, shape: mode.Shape, paths: Sequence[ranking.Path], links: Sequence[Link]
    ) -> list[str]:
        usable = [path for path in paths if path.pair is not None]
        wish = dataplane.links(self._numbers, usable)
        if shape.per_path:
            remote = networks(tuple(ts for t in self._templates() for ts in t.remote_ts))
            inner = Inner((), remote, self._kernel_esp, established=False, works=False)
            wish = dataplane.join([wish, dataplane.inner(self._numbers, inner)])
        lines = [f"  {rule_text(rule)}" for rule in wish.rules]
        lines += [f"  table {t.table}: routes of main by {t.link}" for t in wish.link_tables]
        lines += [f"  {route_text(route)}" for route in wish.routes]
        return lines + self._guard(shape, paths, links)

    def _guard(
        self, shape: mode.Shape, paths: Sequence[ranking.Path], links: Sequence[Link]
    ) -> list[str]:
        if shape.per_path:
            return []
        names = [t.name for t in self._templates()]
        guard = dataplane.guard(self._connection, names, paths, links, self._kernel_esp)
        return guard_text(guard) if guard else []


def _path(path: ranking.Path) -> str:
    return f"{path.name} ({path.pair or 'its link is not there'})"


def rule_text(rule: Rule) -> str:
    """As `ip rule` shows it."""
    words = ["ip -6 rule" if rule.family == 6 else "ip rule", f"{rule.priority}:"]
    words.append(f"from {rule.source or 'all'}")
    if rule.destination is not None:
        words.append(f"to {rule.destination}")
    if rule.iif is not None:
        words.append(f"iif {rule.iif}")
    words.append(f"lookup {'main' if rule.table == dataplane.MAIN else rule.table}")
    if rule.suppress_prefixlength is not None:
        words.append(f"suppress_prefixlength {rule.suppress_prefixlength}")
    return " ".join(words)


def route_text(route: Route) -> str:
    """As `ip route` shows it."""
    if route.device is None:
        return f"table {route.table}: unreachable {route.destination} underneath"
    source = f" src {route.prefsrc}" if route.prefsrc else ""
    return f"table {route.table}: {route.destination} dev {route.device}{source}"


def guard_text(guard: GuardWish) -> list[str]:
    """What nft refuses."""
    where = ", ".join(guard.uplinks)
    return [
        f"  nft: {s.local} to {s.remote} never leaves {where} in clear" for s in guard.selectors
    ]
