# SPDX-License-Identifier: Apache-2.0
"""Which paths there are and which is better. Pure functions.

Links rank in the order of the configuration, remotes in theirs, then IPv4 before IPv6 as the
resolver or the operator put them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from vici_mif.core.config import LinkMatch
from vici_mif.core.model import IPAddress, IPInterface, Link, Pair, PathName
from vici_mif.core.path import WORKS, PathState


@dataclass(frozen=True, slots=True)
class Path:
    """Link × remote."""

    name: PathName
    rank: int
    """0 is best."""
    remote: IPAddress
    pair: Pair | None = None
    """None while the link has no usable address of the remote's IP version."""
    locals: frozenset[IPAddress] = frozenset()
    """All addresses of the link: an SA on any of them is on this path."""

    def holds(self, pair: Pair) -> bool:
        return pair.remote == self.remote and pair.local in self.locals


@dataclass(frozen=True, slots=True)
class Remote:
    """One address of the peer and how its paths call it."""

    label: str
    address: IPAddress


def remotes(configured: Sequence[str], names: dict[str, tuple[IPAddress, ...]]) -> list[Remote]:
    """Addresses as configured; names as resolved, `.4` and `.6` where there are both."""
    found: list[Remote] = []
    for entry in configured:
        literal = literal_address(entry)
        if literal is not None:
            found.append(Remote(entry, literal))
        else:
            found.extend(_of_name(entry, names.get(entry, ())))
    return found


def _of_name(name: str, addresses: tuple[IPAddress, ...]) -> list[Remote]:
    first = {version: a for a in reversed(addresses) for version in (a.version,)}
    if len(first) < 2:
        return [Remote(name, address) for address in first.values()]
    ordered = sorted(first.values(), key=addresses.index)
    return [Remote(f"{name}.{address.version}", address) for address in ordered]


def literal_address(text: str) -> IPAddress | None:
    """An address that can be dialled; None for names, prefixes and `%any`."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if address.is_unspecified else address


def without(links: Iterable[Link], inner: Collection[IPAddress]) -> tuple[Link, ...]:
    """The links without inner addresses: kernel-netlink puts them on an uplink.

    Of what is left, host addresses come last: on IPv6 the newest address is listed first, so an
    inner one that is not known as such yet must not become the uplink's address.
    """
    return tuple(replace(link, addresses=_outer(link, inner)) for link in links)


def _outer(link: Link, inner: Collection[IPAddress]) -> tuple[IPInterface, ...]:
    kept = [a for a in link.addresses if a.ip not in inner]
    return tuple(sorted(kept, key=lambda a: a.network.prefixlen == a.max_prefixlen))


def candidates(
    wanted: Sequence[LinkMatch], links: Sequence[Link], peers: Sequence[Remote]
) -> tuple[Path, ...]:
    """All paths, best first; a link named exactly has its paths also while it is away."""
    ordered = _links(wanted, links)
    pairs = [(name, link, remote) for name, link in ordered for remote in peers]
    return tuple(_path(rank, name, link, remote) for rank, (name, link, remote) in enumerate(pairs))


def _links(wanted: Sequence[LinkMatch], links: Sequence[Link]) -> list[tuple[str, Link | None]]:
    found: dict[str, Link | None] = {}
    for match in wanted:
        fitting = sorted((link for link in links if match.fits(link.name)), key=lambda x: x.name)
        for link in fitting:
            found.setdefault(link.name, link)
        if match.exact:
            found.setdefault(match.match, None)
    return list(found.items())


def _path(rank: int, name: str, link: Link | None, remote: Remote) -> Path:
    usable = [
        interface.ip
        for interface in (link.addresses if link is not None and link.up else ())
        if interface.version == remote.address.version
    ]
    pair = Pair(usable[0], remote.address) if usable else None
    return Path(PathName(name, remote.label), rank, remote.address, pair, frozenset(usable))


def quality(state: PathState) -> int:
    """0 works, 1 unknown, 2 did not work when last tried, 3 must not be used."""
    if state in WORKS:
        return 0
    if state in {PathState.IDLE, PathState.TESTING}:
        return 1
    return 3 if state is PathState.DRAINED else 2


def best(
    paths: Iterable[Path], state: Callable[[PathName], PathState], home: PathName | None = None
) -> list[Path]:
    """Usable paths, best first: what works, then what was never tried, then what failed."""
    usable = [p for p in paths if p.pair is not None and quality(state(p.name)) < 3]
    return sorted(usable, key=lambda p: (quality(state(p.name)), p.name != home, p.rank))
