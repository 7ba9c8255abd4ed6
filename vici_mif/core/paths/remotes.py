# SPDX-License-Identifier: Apache-2.0
"""The peer's addresses: what the operator or the connection names, resolved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from vici_mif.core.model import IPAddress


@dataclass(frozen=True, slots=True)
class Remote:
    """One address of the peer and how its paths call it."""

    label: str
    address: IPAddress
    entry: int = 0
    """Its place in the configuration, from 0: both IP versions of a name have the same."""


def remotes(
    configured: Sequence[str], names: Mapping[str, tuple[IPAddress, ...]]
) -> tuple[Remote, ...]:
    """Addresses as configured; names as resolved, `.4` and `.6` where there are both.

    An address that two entries mean belongs to the first.
    """
    found: dict[IPAddress, Remote] = {}
    for entry, text in enumerate(configured):
        literal = literal_address(text)
        known = [literal] if literal is not None else _first_of_each(names.get(text, ()))
        for address in known:
            label = f"{text}.{address.version}" if len(known) > 1 else text
            found.setdefault(address, Remote(label, address, entry))
    return tuple(found.values())


def _first_of_each(addresses: Iterable[IPAddress]) -> list[IPAddress]:
    """Of each IP version the first one, in the resolver's order."""
    found: dict[int, IPAddress] = {}
    for address in addresses:
        found.setdefault(address.version, address)
    return list(found.values())


def literal_address(text: str) -> IPAddress | None:
    """An address that can be dialled; None for names, prefixes, ranges and `%any`."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if address.is_unspecified else address


def dialable(texts: Iterable[str]) -> tuple[str, ...]:
    """Addresses and names. A connection may also hold prefixes, ranges and `%any` as
    `remote_addrs`: whom it lets in, not whom it calls."""
    return tuple(text for text in texts if literal_address(text) is not None or is_name(text))


def is_name(text: str) -> bool:
    """Something that has to be resolved."""
    first, dash, _ = text.partition("-")
    is_range = bool(dash) and _is_address(first)
    return not (text.startswith("%") or "/" in text or is_range or _is_address(text))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
