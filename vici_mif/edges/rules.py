# SPDX-License-Identifier: Apache-2.0
"""Routing rules between the model's shape and netlink's."""

from __future__ import annotations

from typing import Any

from vici_mif.core.model import IPNetwork, Rule
from vici_mif.edges.netlink import network

AF = {4: 2, 6: 10}
NO_SUPPRESSION = 0xFFFFFFFF


def rule_of(message: Any) -> Rule:
    """A rule as the kernel has it."""
    suppress = message.get("suppress_prefixlen")
    return Rule(
        priority=int(message.get("priority") or 0),
        family=4 if message["family"] == AF[4] else 6,
        table=int(message.get("table") or message["table"]),
        source=_prefix(message, "src"),
        destination=_prefix(message, "dst"),
        iif=message.get("iifname"),
        suppress_prefixlength=None if suppress in (None, NO_SUPPRESSION) else int(suppress),
    )


def _prefix(message: Any, side: str) -> IPNetwork | None:
    address = message.get(side)
    return network(address, message[f"{side}_len"], message["family"]) if address else None


def rule_written(rule: Rule, protocol: int) -> dict[str, Any]:
    """The keys that add or delete this rule."""
    keys: dict[str, Any] = {
        "family": AF[rule.family],
        "priority": rule.priority,
        "table": rule.table,
        "protocol": protocol,
    }
    for side, prefix in (("src", rule.source), ("dst", rule.destination)):
        if prefix is not None:
            keys |= {side: str(prefix.network_address), f"{side}_len": prefix.prefixlen}
    if rule.iif:
        keys["iifname"] = rule.iif
    if rule.suppress_prefixlength is not None:
        keys["suppress_prefixlen"] = rule.suppress_prefixlength
    return keys
