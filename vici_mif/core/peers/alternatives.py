# SPDX-License-Identifier: Apache-2.0
"""Peers that protect the same traffic: which of them carries, which stands by. Pure.

Of peers whose children protect the same, the best-ranked that works carries, and the others
have no IKE SA at all. When it fails on all paths the next begins; a better one that is back first
stands for its hold-down without a child, then opens its children, and only then the other
closes. A peer of which every path is to be drained comes behind all others, in the same way. Peers
of equal rank, and those that protect something of their own, are independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vici_mif.core.model import ChildTemplate, IPNetwork
from vici_mif.core.selectors import networks

LOST_DELAY = 1.0
"""Seconds without a working tunnel after which the next peer begins: a move takes less."""

START_DELAY = 6.0
"""Seconds that a better-ranked peer has for its first tunnel before the next begins, too."""

ABANDON_DELAY = 15.0
"""Seconds without an answer after which IKE_SAs are given up that another peer stands in for:
a gateway that was started anew does not know them, and charon would repeat for minutes."""

LEAVE_DELAY = 2.0
"""Seconds that a peer stays once a better one has taken over: what is on its way arrives."""

Protected = tuple[str, IPNetwork]
"""Our side as the template writes it, and the network behind the peer."""


def protects(templates: Iterable[ChildTemplate]) -> frozenset[Protected]:
    """What the children of a connection carry."""
    return frozenset(
        (local, remote)
        for template in templates
        if template.mode != "PASS"
        for local in template.local_ts or ("dynamic",)
        for remote in networks(template.remote_ts)
    )


@dataclass(frozen=True, slots=True)
class Rival:
    """What has to be known of one peer."""

    name: str
    rank: int
    protects: frozenset[Protected]
    hold_down: float
    wanted: bool
    """Not taken down by hand."""
    carries: bool
    """A tunnel carries traffic on a path that works."""
    stands: bool
    """An IKE_SA of it is on a path that works: something was answered there."""
    alive: bool
    """It has authenticated IKE_SAs, whether anything is answered or not."""
    hopeless: bool
    """Every pair was tried without an answer, or there is none to try."""
    leaves: bool = False
    """Every path of it is to be drained."""

    @property
    def place(self) -> tuple[bool, int]:
        """The lower goes before."""
        return self.leaves, self.rank

    def meets(self, other: Rival) -> bool:
        return bool(self.protects & other.protects)


@dataclass(frozen=True, slots=True)
class Role:
    """What a peer may do now."""

    behind: str = ""
    """The better-ranked peer that carries what this one would: it stands by."""
    instead: str = ""
    """The peer that carries in its place: no child before `free_at`."""
    free_at: float | None = None
    """When it has stood for its hold-down; None while it does not stand."""
    abandons: bool = False
    """Its IKE_SAs are of no use any more: better a new authentication."""
    contested: bool = False
    """It carries, and so does a worse one until this one has proved itself."""
    heir: str = ""
    """It leaves, and this peer carries in its place or is about to."""

    def waits(self, now: float) -> bool:
        """Children are not opened yet."""
        return bool(self.instead) and (self.free_at is None or now < self.free_at)


@dataclass(slots=True)
class Alternatives:
    """Since when which peer may hope and stands, and when it carried last."""

    _hoped_at: dict[str, float] = field(default_factory=dict)
    _stood_at: dict[str, float] = field(default_factory=dict)
    _carried_at: dict[str, float] = field(default_factory=dict)
    _fallen_at: dict[str, float] = field(default_factory=dict)
    _held_at: dict[str, float] = field(default_factory=dict)
    wakes: tuple[float, ...] = ()
    """When to look again."""

    def see(self, rivals: Sequence[Rival], now: float) -> dict[str, Role]:
        """Everybody's role."""
        for rival in rivals:
            self._remember(rival, now)
        self.wakes = tuple(at for rival in rivals for at in self._due(rival))
        return {rival.name: self._role(rival, rivals, now) for rival in rivals}

    def order(self, rivals: Sequence[Rival], now: float) -> list[str]:
        """Whose routes count first, where several protect the same."""

        def key(rival: Rival) -> tuple[bool, bool, bool, int]:
            waited_for = any(w.carries for w in _worse(rival, rivals))
            returning = waited_for and not self._holds(rival, now)
            return not rival.carries, returning, *rival.place

        return [rival.name for rival in sorted(rivals, key=key)]

    def _remember(self, rival: Rival, now: float) -> None:
        name = rival.name
        if rival.protects and rival.wanted and not rival.hopeless:
            self._hoped_at.setdefault(name, now)
        else:
            self._hoped_at.pop(name, None)
        if not rival.wanted:
            self._carried_at.pop(name, None)
        if rival.stands:
            self._stood_at.setdefault(name, now)
        else:
            self._stood_at.pop(name, None)
        if rival.carries:
            self._carried_at[name] = now
        if rival.alive and not rival.stands:
            self._fallen_at.setdefault(name, now)
        else:
            self._fallen_at.pop(name, None)
        if self._holds(rival, now):
            self._held_at.setdefault(name, now)
        else:
            self._held_at.pop(name, None)

    def _due(self, rival: Rival) -> list[float]:
        times = [
            (self._hoped_at, START_DELAY),
            (self._stood_at, START_DELAY),
            (self._stood_at, rival.hold_down),
            (self._carried_at, LOST_DELAY),
            (self._fallen_at, ABANDON_DELAY),
            (self._held_at, LEAVE_DELAY),
        ]
        return [known[rival.name] + delay for known, delay in times if rival.name in known]

    def _role(self, rival: Rival, rivals: Sequence[Rival], now: float) -> Role:
        better = [r for r in rivals if r.wanted and r.place < rival.place and r.meets(rival)]
        before = [r for r in better if self._goes_before(r, rival, now)]
        covered = frozenset(each for r in before for each in r.protects)
        if before and rival.protects <= covered:
            return Role(behind=before[0].name, heir=before[0].name if rival.leaves else "")
        worse = [r for r in _worse(rival, rivals) if r.carries]
        if worse and not rival.carries:
            stood_at = self._stood_at.get(rival.name)
            free_at = None if stood_at is None else stood_at + rival.hold_down
            fallen_at = self._fallen_at.get(rival.name)
            abandons = fallen_at is not None and now >= fallen_at + ABANDON_DELAY
            return Role(instead=worse[0].name, free_at=free_at, abandons=abandons)
        heirs = [r.name for r in better if rival.leaves and not r.hopeless]
        return Role(
            contested=bool(worse) and not self._holds(rival, now), heir=next(iter(heirs), "")
        )

    def _goes_before(self, better: Rival, rival: Rival, now: float) -> bool:
        """Who carries gives way to what has proved itself, who does not to what may work."""
        if rival.carries:
            held_at = self._held_at.get(better.name)
            return held_at is not None and now >= held_at + LEAVE_DELAY
        return self._lives(better, now) or self._may_begin(better, now)

    def _holds(self, rival: Rival, now: float) -> bool:
        stood_at = self._stood_at.get(rival.name)
        return rival.carries and stood_at is not None and now >= stood_at + rival.hold_down

    def _lives(self, rival: Rival, now: float) -> bool:
        """It carries, or did a moment ago and may be between two paths."""
        carried_at = self._carried_at.get(rival.name)
        return carried_at is not None and now < carried_at + LOST_DELAY

    def _may_begin(self, rival: Rival, now: float) -> bool:
        """It has its first try, or authenticated and is about to open its children."""
        stood_at = self._stood_at.get(rival.name)
        if stood_at is not None:
            return now < stood_at + START_DELAY
        fresh = rival.name not in self._carried_at and not rival.hopeless
        return fresh and now < self._hoped_at.get(rival.name, now) + START_DELAY


def _worse(rival: Rival, rivals: Sequence[Rival]) -> list[Rival]:
    return [r for r in rivals if r.place > rival.place and r.meets(rival)]
