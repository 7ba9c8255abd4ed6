# SPDX-License-Identifier: Apache-2.0
"""Which paths there are and which is better. Pure functions.

Links and remotes rank in the order of the configuration, IPv4 and IPv6 of a name as the resolver
put them. The first remote comes on every link before the second on any: what an outage takes is
a link more often than a gateway's address, so tunnels are spread over the links first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from vici_mif.core.model import IPAddress, IPInterface, Link, Pair, PathName
from vici_mif.core.paths import pairing
from vici_mif.core.paths.path import WORKS, PathState
from vici_mif.core.paths.remotes import Remote
from vici_mif.core.wish import budget
from vici_mif.core.wish.config import Pairs
from vici_mif.core.wish.links import LinkMatch

EACH_WITH_EACH = Pairs()


@dataclass(frozen=True, slots=True)
class Path:
    """Link × remote."""

    name: PathName
    rank: int
    """0 is best."""
    remote: IPAddress
    pair: Pair | None = None
    """None while the link has no usable address of the remote's IP version, and for a path that
    must not be used."""
    locals: frozenset[IPAddress] = frozenset()
    """All addresses of the link: an SA on any of them is on this path."""
    denied: bool = False
    """By the operator."""

    def holds(self, pair: Pair) -> bool:
        return pair.remote == self.remote and pair.local in self.locals


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
    wanted: Sequence[LinkMatch],
    links: Sequence[Link],
    peers: Sequence[Remote],
    pairs: Pairs = EACH_WITH_EACH,
) -> tuple[Path, ...]:
    """All paths, best first; a link named exactly has its paths also while it is away."""
    ours = _links(wanted, links)
    found = [
        _path(name, link, remote, pairing.denied(pairs, name, remote))
        for remote in peers
        for entry, name, link in ours
        if pairing.belong(pairs, entry, remote)
    ]
    reaching = {path.name.link for path in found if path.locals}
    kept = [path for path in found if path.locals or path.name.link not in reaching]
    return tuple(replace(path, rank=rank) for rank, path in enumerate(kept))


def _links(
    wanted: Sequence[LinkMatch], links: Sequence[Link]
) -> list[tuple[int, str, Link | None]]:
    """Entry of the configuration, name, and the link where it is there; as many as have tables."""
    found: dict[str, tuple[int, Link | None]] = {}
    for entry, match in enumerate(wanted):
        fitting = sorted((link for link in links if match.fits(link.name)), key=lambda x: x.name)
        for link in fitting:
            found.setdefault(link.name, (entry, link))
        if match.exact:
            found.setdefault(match.match, (entry, None))
    all_of_them = [(entry, name, link) for name, (entry, link) in found.items()]
    return all_of_them[: budget.LINKS]


def _path(name: str, link: Link | None, remote: Remote, denied: bool) -> Path:
    usable = [
        interface.ip
        for interface in (link.addresses if link is not None and link.up else ())
        if interface.version == remote.address.version
    ]
    pair = Pair(usable[0], remote.address) if usable and not denied else None
    label = PathName(name, remote.label)
    return Path(label, 0, remote.address, pair, frozenset(usable), denied)


def quality(state: PathState) -> int:
    """0 works, 1 unknown, 2 did not work when last tried, 3 must not be used."""
    if state in WORKS:
        return 0
    if state in {PathState.IDLE, PathState.TESTING}:
        return 1
    return 3 if state is PathState.DRAINED else 2


def best(
    paths: Iterable[Path],
    state: Callable[[PathName], PathState],
    home: PathName | None = None,
    preferred: Collection[PathName] = (),
) -> list[Path]:
    """Usable paths, best first: what works, then what was never tried, then what failed.

    Among equals the one at `home`, then what is preferred by hand, then those over the link of
    `home`: an address of the gateway that went must not send a tunnel over a link that costs more.
    """

    def rank(path: Path) -> tuple[int, bool, bool, bool, int]:
        name = path.name
        elsewhere = home is not None and name.link != home.link
        return (quality(state(name)), name != home, name not in preferred, elsewhere, path.rank)

    usable = [p for p in paths if p.pair is not None and quality(state(p.name)) < 3]
    return sorted(usable, key=rank)
