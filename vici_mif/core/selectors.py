# SPDX-License-Identifier: Apache-2.0
"""Traffic selectors in charon's notation."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network, summarize_address_range

from vici_mif.core.model import ChildTemplate, IPAddress, IPNetwork, Selector


@lru_cache(maxsize=4096)
def host(address: IPAddress) -> IPNetwork:
    """The address alone, as a network."""
    return ip_network(address)


@lru_cache(maxsize=4096)
def network(ts: str) -> IPNetwork | None:
    """The network of `10.1.0.0/16`, `10.1.0.1/32[tcp/80]`; None for `dynamic` and ranges."""
    try:
        return ip_network(ts.partition("[")[0], strict=False)
    except ValueError:
        return None


def networks(selectors: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    """All networks of a list, ranges cut into prefixes; `dynamic` has none."""
    found: list[IPNetwork] = []
    for ts in selectors:
        one = network(ts)
        found.extend([one] if one is not None else _range(ts.partition("[")[0]))
    return tuple(dict.fromkeys(found))


def _range(text: str) -> list[IPNetwork]:
    first, dots, last = text.partition("..")
    if not dots:
        return []
    try:
        return list(summarize_address_range(ip_address(first), ip_address(last)))
    except (ValueError, TypeError):
        return []


def protected(template: ChildTemplate) -> list[Selector]:
    """What a child protects, as far as its template tells without an address of ours."""
    return [
        Selector(local, remote)
        for local in networks(template.local_ts)
        for remote in networks(template.remote_ts)
        if local.version == remote.version
    ]
