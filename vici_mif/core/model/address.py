# SPDX-License-Identifier: Apache-2.0
"""Addresses, networks, and an interface's address with its prefix."""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface

Slot = tuple[IPAddress, ...]
"""The inner addresses of one tunnel: one of each IP version the family has."""
