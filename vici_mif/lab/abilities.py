# SPDX-License-Identifier: Apache-2.0
"""What this machine's kernel can do for a lab: asked by doing it in a namespace that goes again."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from pyroute2 import NetlinkError

from vici_mif.lab import namespaces

KERNEL_ESP, VLAN, NAT, OWN_CLOCK = "kernel-esp", "vlan", "nat", "own-clock"
OWN_CLOCK_VARIABLE = "VICI_MIF_OWN_CLOCK"
"""Set where nobody else uses the machine: a guest."""


@functools.cache
def abilities() -> frozenset[str]:
    """Of `kernel-esp`, `vlan`, `nat` and `own-clock`. Needs root."""
    name = f"{namespaces.PROBE}{os.getpid()}"
    namespaces.create(name)
    try:
        found = {word for word, check in _CHECKS.items() if check(name)}
    finally:
        namespaces.remove(name)
    own = os.environ.get(OWN_CLOCK_VARIABLE) == "1"
    return frozenset(found | {OWN_CLOCK}) if own else frozenset(found)


def _has_esp(name: str) -> bool:
    return namespaces.kernel_has_esp(name, 4)


def _has_vlan(name: str) -> bool:
    def work(ipr: Any) -> bool:
        ipr.link("add", ifname="a", kind="veth", peer={"ifname": "b"})
        try:
            ipr.link("add", ifname="v", kind="vlan", vlan_id=7, link=namespaces.index_of(ipr, "a"))
        except NetlinkError:
            return False
        return True

    return namespaces.netlink(name, work)


def _has_nat(name: str) -> bool:
    rules = (
        "table ip x {\n chain y {\n  type nat hook postrouting priority 100;\n  masquerade\n }\n}"
    )
    return namespaces.nft_takes(name, rules)


_CHECKS: dict[str, Callable[[str], bool]] = {
    KERNEL_ESP: _has_esp,
    VLAN: _has_vlan,
    NAT: _has_nat,
}
