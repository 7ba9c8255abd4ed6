# SPDX-License-Identifier: Apache-2.0
"""Who is here: families of the gateway's connections, kept up to date fact by fact.

There may be thousands, so nothing walks over all of them but a look at everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from vici_mif.core.model import IPAddress, Sa, Source

IKE_PORT = 500
FORMER = 8
"""Addresses a family was at before, the last of them."""


@dataclass(slots=True)
class Family:
    """What descends from one authentication, as far as it is known."""

    id: int
    """clone-family; the unique id of the only IKE_SA where charon knows no families."""
    connection: str
    born_at: float
    members: dict[int, Sa] = field(default_factory=dict)
    """By unique id."""
    former: deque[IPAddress] = field(default_factory=lambda: deque(maxlen=FORMER))

    @property
    def identity(self) -> str:
        """As charon prints it; what the peer authenticated with in EAP comes first."""
        return min(self.identities, default=(0, ""))[1]

    @property
    def identities(self) -> set[tuple[int, str]]:
        """All names it is known by: 0 for EAP's, 1 for the IKE identity."""
        found = {(0, sa.remote_eap_id) for sa in self.members.values()}
        found |= {(1, sa.remote_id) for sa in self.members.values()}
        return {name for name in found if name[1]}

    def is_called(self, identity: str) -> bool:
        return any(name == identity for _, name in self.identities)

    @property
    def addresses(self) -> frozenset[IPAddress]:
        """Where it is, was lately, or said it could be."""
        now = {sa.remote for sa in self.members.values()}
        said = {address for sa in self.members.values() for address in sa.remote_addresses}
        return frozenset(now | said | set(self.former))

    def take(self, sa: Sa) -> None:
        """One of its members, as it is now."""
        before = self.members.get(sa.unique_id)
        if before is not None and before.remote != sa.remote:
            self.left(before.remote)
        self.members[sa.unique_id] = sa

    def left(self, address: IPAddress) -> None:
        if address not in self.former:
            self.former.append(address)


class Families:
    """All of them, by id and by the numbers of their members."""

    def __init__(self, connections: Iterable[str]) -> None:
        self.connections = frozenset(connections)
        self.by_id: dict[int, Family] = {}
        self._of: dict[int, int] = {}
        self.sources: dict[Source, int] = {}
        """Where the ESP of each inbound SPI comes from, with the IKE_SA it belongs to."""
        self.spis: dict[int, int] = {}
        """Inbound SPI to IKE_SA."""
        self.ports: frozenset[int] = frozenset({4500})
        """Local UDP ports where ESP in UDP arrives; none of them is ever taken back."""
        self.version = 0
        """Changes with `sources` and `ports`."""

    @property
    def tunnels(self) -> int:
        return len(self._of)

    def holds(self, unique_id: int) -> bool:
        return unique_id in self._of

    def of(self, unique_id: int) -> Family | None:
        """The family an IKE_SA is of."""
        number = self._of.get(unique_id)
        return None if number is None else self.by_id.get(number)

    def sa(self, unique_id: int) -> Sa | None:
        family = self.of(unique_id)
        return family.members.get(unique_id) if family else None

    def all(self) -> Iterator[Family]:
        return iter(self.by_id.values())

    # --- learning ---------------------------------------------------------------

    def see(self, sa: Sa, now: float) -> None:
        """An established one, new or changed."""
        number = family_of(sa)
        before = self.of(sa.unique_id)
        if before is not None and before.id != number:
            self.gone(sa.unique_id)
        born_at = now - (sa.established_delay or 0.0)
        family = self.by_id.get(number)
        if family is None:
            family = self.by_id[number] = Family(number, sa.name, born_at)
        family.born_at = min(family.born_at, born_at)
        self._move_sources(family.members.get(sa.unique_id), sa)
        family.take(sa)
        self._of[sa.unique_id] = number

    def gone(self, unique_id: int) -> None:
        family = self.of(unique_id)
        if family is None:
            return
        self._move_sources(family.members.get(unique_id), None)
        del family.members[unique_id]
        del self._of[unique_id]
        if not family.members:
            del self.by_id[family.id]

    def clear(self) -> None:
        """There is no charon to be asked; it tells everything anew."""
        self.by_id.clear()
        self._of.clear()
        self.sources.clear()
        self.spis.clear()
        self.version += 1

    def _move_sources(self, before: Sa | None, after: Sa | None) -> None:
        new = dict.fromkeys(sources(after)) if after else {}  # in order, so that replays agree
        for source in sources(before) if before else ():
            if before and source not in new and self.sources.get(source) == before.unique_id:
                self._forget_source(source)
        if after is None:
            return
        for source in new:
            self.version += source not in self.sources
            self.sources[source] = self.spis[source.spi] = after.unique_id
        if after.local_port not in {0, IKE_PORT} | self.ports:
            self.ports |= {after.local_port}
            self.version += 1

    def _forget_source(self, source: Source) -> None:
        self.version += 1
        del self.sources[source]
        self.spis.pop(source.spi, None)


def sources(sa: Sa) -> Iterator[Source]:
    """Where ESP to us comes from, as far as this IKE_SA tells."""
    for child in sa.children:
        with suppress(ValueError):  # none yet
            if child.works:
                yield Source(int(child.spi_in, 16), sa.remote)


def family_of(sa: Sa) -> int:
    """clone-family; the unique id where charon knows no families."""
    return sa.family if sa.family is not None else sa.unique_id


def is_member(sa: Sa, connections: Collection[str]) -> bool:
    """Of a connection of the gateway's, and begun by the peer."""
    return sa.name in connections and not sa.original_initiator
