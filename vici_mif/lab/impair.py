# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a path: silent black holes, delay, loss, a low rate."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pyroute2 import NetlinkError

from vici_mif.lab import namespaces
from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.topology import CLIENT, ROUTER, Topology

TABLE = "lab"
UP, DOWN = "up", "down"
_ROOT, _CHILD = 0x10000, 0x20000
_TC_H_ROOT = 0xFFFFFFFF
_BURST = 32 * 1024


@dataclass(frozen=True, slots=True)
class Impairment:
    """How an uplink behaves, the same in both directions."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss_percent: float = 0.0
    rate_bit: int = 0

    @property
    def needs_netem(self) -> bool:
        return bool(self.delay_s or self.jitter_s or self.loss_percent)


def prepare(router: Host) -> None:
    """A table that forwards everything and drops pairs of interfaces which are in its set."""
    _nft(
        router,
        f"table inet {TABLE} {{\n"
        " set cut { type ifname . ifname; }\n"
        " chain forward {\n"
        "  type filter hook forward priority 0; policy accept;\n"
        "  iifname . oifname @cut counter drop\n"
        " }\n"
        "}\n",
    )


def masquerade(gateway: Host, sources: Iterable[str], outside: Iterable[str]) -> None:
    """The gateway's way to the world for those who send everything through it."""
    ports = ", ".join(outside)
    rules = "".join(
        f"  {'ip6' if ':' in s else 'ip'} saddr {s} oifname {{ {ports} }} masquerade\n"
        for s in sources
    )
    _nft(
        gateway,
        f"table inet {TABLE} {{\n chain postrouting {{\n"
        f"  type nat hook postrouting priority 100;\n{rules} }}\n}}\n",
    )


def cut(
    router: Host,
    topology: Topology,
    uplink: str,
    remote: int | None = None,
    directions: tuple[str, ...] = (UP, DOWN),
) -> None:
    """Drop silently what goes over an uplink, to all remotes or one, in one direction or both.

    Remotes are counted from 0; the second gateway's comes after those of the first.
    """
    pairs = ", ".join(_pairs(topology, uplink, remote, directions))
    _nft(router, f"add element inet {TABLE} cut {{ {pairs} }}\n")


def uncut(router: Host, topology: Topology, uplink: str) -> None:
    """Let everything pass again over an uplink."""
    # adding first makes the removal of what is not there harmless; both are one transaction
    pairs = ", ".join(_pairs(topology, uplink, None, (UP, DOWN)))
    _nft(
        router,
        f"add element inet {TABLE} cut {{ {pairs} }}\n"
        f"delete element inet {TABLE} cut {{ {pairs} }}\n",
    )


def _pairs(
    topology: Topology, uplink: str, remote: int | None, directions: tuple[str, ...]
) -> Iterator[str]:
    topology.port(ROUTER, uplink)
    wires = topology.remotes + topology.standby
    for wire in wires if remote is None else wires[remote : remote + 1]:
        if UP in directions:
            yield f'"{uplink}" . "{wire.a.name}"'
        if DOWN in directions:
            yield f'"{wire.a.name}" . "{uplink}"'


def _nft(host: Host, rules: str) -> None:
    host.exec(["nft", "-f", "-"], stdin=rules)


def apply(lab: dict[str, Host], uplink: str, impairment: Impairment) -> None:
    """Shape both ends of an uplink: each end shapes what it sends."""
    for name in (CLIENT, ROUTER):
        namespaces.netlink(lab[name].namespace, lambda ipr: _shape(ipr, uplink, impairment))


def _shape(ipr: Any, interface: str, wish: Impairment) -> None:
    index = ipr.link_lookup(ifname=interface)[0]
    _clear(ipr, index)
    parent: dict[str, int] = {}
    if wish.needs_netem:
        _add_netem(ipr, index, wish)
        parent = {"parent": _ROOT + 1}
    if wish.rate_bit:
        ipr.tc(
            "add",
            "tbf",
            index,
            handle=_CHILD,
            rate=f"{wish.rate_bit}bit",
            burst=_BURST,
            latency="100ms",
            **parent,
        )


def _clear(ipr: Any, index: int) -> None:
    try:
        ipr.tc("del", index=index, parent=_TC_H_ROOT)
    except NetlinkError as error:
        # there was none
        if error.code != errno.ENOENT:
            raise


def _add_netem(ipr: Any, index: int, wish: Impairment) -> None:
    try:
        ipr.tc(
            "add",
            "netem",
            index,
            handle=_ROOT,
            delay=int(wish.delay_s * 1_000_000),
            jitter=int(wish.jitter_s * 1_000_000),
            loss=wish.loss_percent,
            limit=10_000,
        )
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
        raise LabError(
            "this kernel has no netem, so delay, jitter and loss cannot be had here (a rate can): "
            "run the lab in a guest kernel, `make guest CMD=…`"
        ) from error
