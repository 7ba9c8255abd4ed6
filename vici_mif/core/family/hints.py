# SPDX-License-Identifier: Apache-2.0
"""Which inner addresses to ask for at an authentication: one per tunnel and spare. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from vici_mif.core import swan
from vici_mif.core.model import IPAddress

_OF: dict[int, type[IPv4Address | IPv6Address]] = {4: IPv4Address, 6: IPv6Address}


def hints(vips: Sequence[str], count: int, held: Sequence[IPAddress] = ()) -> tuple[IPAddress, ...]:
    """Those the living family holds, those the operator names, then distinct hints.

    Never those of a family that is gone: asked for .1 and .2, a memory pool that got both back
    hands out its first free lease (.2) for .1 and, since .2 is this host's now, .2 once more. For
    hints that are no addresses of the pool it gives each of them once (mem_pool.c).
    """
    asked: tuple[IPAddress, ...] = tuple(map(swan.address, vips)) or (IPv4Address(0),)
    found: list[IPAddress] = []
    for version in dict.fromkeys(a.version for a in (*held, *asked)):
        named = [a for a in (*held, *asked) if a.version == version and int(a)]
        fresh: list[IPAddress] = [_OF[version](i + 1) for i in range(count)]
        found.extend([*dict.fromkeys(named), *fresh][:count])
    return tuple(found) if count > 1 or held else ()
