# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a path: silent black holes, delay, loss, a low rate.

Delay, jitter and loss are netem's where the kernel has it, else those of a delay line of ours.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from pyroute2 import NetlinkError

from vici_mif.lab import namespaces
from vici_mif.lab.hosts import Host
from vici_mif.lab.topology import CLIENT, MAX_NAME, ROUTER, Topology
from vici_mif.lab.wires.delay import Qualities, Quality

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
    def qualities(self) -> Qualities:
        one = Quality(self.delay_s, self.jitter_s, self.loss_percent)
        return Qualities(one, one)

    @property
    def needs_line(self) -> bool:
        """Something beside the rate."""
        return self.qualities != Qualities()


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
    known = topology.gateway_wires
    wires = known if remote is None else known[remote : remote + 1]
    for near, wire in product((uplink, line_device(uplink)), wires):
        if UP in directions:
            yield f'"{near}" . "{wire.a.name}"'
        if DOWN in directions:
            yield f'"{wire.a.name}" . "{near}"'


def line_device(uplink: str) -> str:
    """The device of an uplink's delay line, in the router."""
    return f"d-{uplink}"[:MAX_NAME]


def _nft(host: Host, rules: str) -> None:
    host.exec(["nft", "-f", "-"], stdin=rules)


def shape(lab: dict[str, Host], uplink: str, impairment: Impairment) -> bool:
    """Shape both ends of an uplink: each end shapes what it sends.

    False where the kernel has no netem and it would be needed: then only the rate is set.
    """
    done = [
        namespaces.netlink(lab[name].namespace, lambda ipr: _shape(ipr, uplink, impairment))
        for name in (CLIENT, ROUTER)
    ]
    return all(done)


def _shape(ipr: Any, interface: str, wish: Impairment) -> bool:
    index = ipr.link_lookup(ifname=interface)[0]
    _clear(ipr, index)
    netem = wish.needs_line and _add_netem(ipr, index, wish)
    if wish.rate_bit:
        ipr.tc(
            "add",
            "tbf",
            index,
            handle=_CHILD,
            rate=f"{wish.rate_bit}bit",
            burst=_BURST,
            latency="100ms",
            **({"parent": _ROOT + 1} if netem else {}),
        )
    return netem or not wish.needs_line


def _clear(ipr: Any, index: int) -> None:
    try:
        ipr.tc("del", index=index, parent=_TC_H_ROOT)
    except NetlinkError as error:
        # there was none
        if error.code != errno.ENOENT:
            raise


def _add_netem(ipr: Any, index: int, wish: Impairment) -> bool:
    """Whether this kernel has it."""
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
        return False
    return True
