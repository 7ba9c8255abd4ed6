# SPDX-License-Identifier: Apache-2.0
"""The paths of one peer with their lives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from vici_mif.core.model import Pair, PathName
from vici_mif.core.paths import pairing
from vici_mif.core.paths.departed import Departed
from vici_mif.core.paths.holddown import HoldDown
from vici_mif.core.paths.path import WORKS, PathFact, PathLife, PathState
from vici_mif.core.paths.ranking import Path, best, quality

NO_LINK = "the link is down, absent or has no usable address"


class Paths:
    """All that there are, and those whose links went away: they are still spoken of."""

    def __init__(self) -> None:
        self._paths: dict[PathName, Path] = {}
        self._lives: dict[PathName, PathLife] = {}
        self._holds: dict[PathName, HoldDown] = {}
        self._doubts: dict[PathName, PathLife] = {}
        """Failed paths that are tested, as they were before."""
        self._tested_at: dict[PathName, float] = {}
        self._rtt_delay: dict[PathName, float] = {}
        self._remotes: Collection[str] = ()
        self._drained: frozenset[PathName] = frozenset()
        self._preferred_at: dict[PathName, float] = {}
        self.leaving: frozenset[PathName] = frozenset()
        """To be drained, and a tunnel has not left yet."""
        self._configured: Callable[[str], bool] | None = None
        self._exact: Collection[str] = ()
        self._departed = Departed()
        self._withdrawn: frozenset[PathName] = frozenset()
        self._trouble: dict[PathName, str] = {}
        self._poor_at: dict[PathName, float] = {}
        self._spent: dict[PathName, int] = {}

    def see(
        self,
        candidates: Iterable[Path],
        now: float,
        remotes: Collection[str] = (),
        homes: Collection[PathName | None] = (),
    ) -> list[PathName]:
        """Take in what there is now; returns the paths whose link came back.

        `remotes`: what the peer's addresses are called now, where that is known. A path to another
        one is forgotten. `homes`: of tunnels; these are never forgotten.
        """
        self._remotes = remotes
        seen = {path.name: path for path in candidates}
        gone = [name for name in self._paths if name not in seen and self.possible(name)]
        over = self._departed.over([name for name in gone if self._may_go(name, homes)], now)
        for name in gone:
            if name not in over:
                path = self._paths[name]
                rank = path.rank + len(seen)
                seen[name] = replace(path, pair=None, locals=frozenset(), rank=rank)
        returned = [path.name for path in seen.values() if self._see(path, now)]
        self._forget(self._paths.keys() - seen.keys())
        self._paths = dict(sorted(seen.items(), key=lambda item: item[1].rank))
        return returned

    def _may_go(self, name: PathName, homes: Collection[PathName | None]) -> bool:
        """Nobody named it: neither the configuration, nor an order, nor a tunnel."""
        ordered = name in self._drained or name in self._preferred_at
        return name not in homes and name.link not in self._exact and not ordered

    def _forget(self, names: Iterable[PathName]) -> None:
        for name in names:
            for known in (self._lives, self._holds, self._doubts, self._tested_at, self._rtt_delay):
                known.pop(name, None)
            for told in (self._trouble, self._poor_at, self._spent):
                told.pop(name, None)

    def _see(self, path: Path, now: float) -> bool:
        before = self._paths.get(path.name)
        usable = path.pair is not None
        if path.denied:
            self._deny(path.name, now)
        elif before is None or before.denied:
            state = PathState.IDLE if usable else PathState.FAILED
            self._lives[path.name] = PathLife(state, now, "" if usable else NO_LINK)
            self._holds[path.name] = HoldDown(now if usable else None)
        elif usable and before.pair is None:
            self.fact(path.name, PathFact.LINK_FOUND, now)
            return True
        elif not usable and before.pair is not None:
            self.fact(path.name, PathFact.LINK_LOST, now, NO_LINK)
            self._trouble.pop(path.name, None)
        return False

    def _deny(self, name: PathName, now: float) -> None:
        if name not in self._lives or self._lives[name].why != pairing.DENIED:
            self._lives[name] = PathLife(PathState.DENIED, now, pairing.DENIED)
            self._holds[name] = HoldDown(None)

    def fact(self, name: PathName, fact: PathFact, now: float, why: str = "") -> None:
        life = self._lives.get(name)
        if life is None or self._paths[name].denied or self._doubted(name, life, fact):
            return
        if fact is PathFact.TEST_PASSED and self._paths[name].pair is None:
            return  # the link went before the answer was told
        self._lives[name] = life.after(fact, now, why)
        self._holds[name] = _held(self._holds[name], fact, now)
        if fact in {PathFact.TEST_PASSED, PathFact.TEST_FAILED}:
            self._tested_at[name] = now

    def _doubted(self, name: PathName, life: PathLife, fact: PathFact) -> bool:
        """Of a path that failed only an answer says that it works: neither a tunnel that stands
        there while it is tested, nor a test without result."""
        if fact is PathFact.TEST_BEGUN and life.state in {PathState.FAILED, PathState.DENIED}:
            self._doubts[name] = life
        elif fact is PathFact.TEST_VOID and name in self._doubts:
            self._lives[name] = self._doubts.pop(name)
            return True
        elif fact not in {PathFact.SEATED, PathFact.TEST_BEGUN}:
            self._doubts.pop(name, None)
        return fact is PathFact.SEATED and name in self._doubts

    def is_doubted(self, name: PathName) -> bool:
        """It failed, and is tested."""
        return name in self._doubts

    def measured(self, name: PathName, rtt_delay: float | None) -> None:
        if rtt_delay is not None:
            self._rtt_delay[name] = rtt_delay

    def configure(
        self,
        configured: Callable[[str], bool],
        exact: Collection[str],
        withdrawn: Collection[PathName],
    ) -> None:
        """Which links are configured, which of them by their name, and the paths that are left
        because they no longer are."""
        self._configured, self._exact = configured, exact
        self._withdrawn = frozenset(withdrawn)

    # --- by hand -------------------------------------------------------------

    def obey(
        self, drained: Collection[PathName], preferred: Collection[PathName], now: float
    ) -> None:
        """What is ordered now. A drain comes into force in `drain`, its end at once."""
        before, self._drained = self._drained, self._withdrawn.union(drained)
        for name in before - self._drained:
            self._undrain(name, now)
        self._preferred_at = {name: self._preferred_at.get(name, now) for name in preferred}

    def drain(self, occupied: Collection[PathName], now: float) -> None:
        """A path on which a tunnel is, or to which one may have to return, is not given up."""
        self.leaving = self._drained.intersection(occupied)
        for name in self._drained:
            if name not in self.leaving:
                self.fact(name, PathFact.DRAIN_ORDERED, now)
            elif self.state(name) is PathState.DRAINED:
                self._undrain(name, now)  # charon roamed there by itself

    def _undrain(self, name: PathName, now: float) -> None:
        self.fact(name, PathFact.DRAIN_CLEARED, now)
        path = self.get(name)
        if path is None or path.pair is None:
            self.fact(name, PathFact.LINK_LOST, now, NO_LINK)

    def is_drained(self, name: PathName) -> bool:
        """Ordered, whether it is in force yet or not: nothing new comes here."""
        return name in self._drained

    @property
    def wholly_drained(self) -> bool:
        """Every path there is, or was and may come back, is ordered out of use."""
        allowed = [p.name for p in self._paths.values() if not p.denied]
        wished = [name for name in allowed if name not in self._withdrawn]
        return bool(wished) and self._drained.issuperset(wished)

    def is_withdrawn(self, name: PathName) -> bool:
        """No longer configured, and a tunnel is still there."""
        return name in self._withdrawn

    def strand(self, occupied: Collection[PathName | None]) -> bool:
        """Tunnels are only where they should no longer be, and every other path has failed."""
        others = [path for path in self.seats() if quality(self.state(path.name)) < 2]
        return bool(occupied) and self._withdrawn.issuperset(occupied) and not others

    def preferred_at(self, name: PathName) -> float | None:
        """Since when it ranks first by order."""
        return self._preferred_at.get(name)

    # --- which there are -------------------------------------------------------

    def all(self) -> tuple[Path, ...]:
        """Best rank first."""
        return tuple(self._paths.values())

    @property
    def count(self) -> int:
        """How many may be used, once their links are there."""
        return sum(not path.denied for path in self._paths.values())

    @property
    def links(self) -> int:
        """Over how many links they lead: those that are there or are awaited by their name."""
        able = (path for path in self._paths.values() if self.possible(path.name))
        return len({p.name.link for p in able if p.pair is not None or p.name.link in self._exact})

    @property
    def first(self) -> Path | None:
        """The best that may be used by rank and order, whether its link is there or not."""
        allowed = [path for path in self._paths.values() if not path.denied]
        key = lambda p: (self.is_drained(p.name), p.name not in self._preferred_at)  # noqa: E731
        return min(allowed, key=key, default=None)

    def possible(self, name: PathName) -> bool:
        """A tunnel may have its home there: the operator allows it, the peer has the address."""
        path = self._paths.get(name)
        if (path is not None and path.denied) or name in self._withdrawn:
            return False
        if self._configured and not self._configured(name.link):
            return False
        return not self._remotes or name.remote in self._remotes

    def usable(self) -> tuple[Path, ...]:
        """Those whose link is there."""
        return tuple(p for p in self._paths.values() if p.pair is not None)

    def seats(self) -> tuple[Path, ...]:
        """Those on which a tunnel may be put."""
        return tuple(path for path in self.usable() if not self.is_drained(path.name))

    def best(self, home: PathName | None = None) -> list[Path]:
        """Seats by what is known of them; among equals `home`, then what is preferred.

        Among those that work the poor ones come last.
        """
        found = best(self.seats(), self.state, home, self._preferred_at)
        return sorted(found, key=lambda p: (quality(self.state(p.name)), p.name in self._trouble))

    def refuge(self, home: PathName | None = None) -> list[Path]:
        """The same for a tunnel that works nowhere: then also what is to be drained."""
        last = [p for p in self.usable() if p.name in self.leaving]
        return [*self.best(home), *(p for p in last if self.state(p.name) in WORKS)]

    def get(self, name: PathName | None) -> Path | None:
        return self._paths.get(name) if name is not None else None

    def __contains__(self, name: PathName) -> bool:
        return name in self._paths

    def life(self, name: PathName) -> PathLife:
        return self._lives[name]

    def state(self, name: PathName) -> PathState:
        return self._lives[name].state

    # --- how well it works -------------------------------------------------

    def poor(self, name: PathName, now: float, why: str) -> None:
        """It works, and loses or delays too much: to leave it is worth a move."""
        if name not in self._trouble and name in self._holds:
            self._holds[name] = self._holds[name].failed(now)
            self._poor_at[name] = now
        self._trouble[name] = why

    def poor_at(self, name: PathName) -> float:
        """When it became poor."""
        return self._poor_at[name]

    def good(self, name: PathName, now: float) -> None:
        """It keeps the recovery values: the hold-down counts from now on."""
        if self._trouble.pop(name, None) is not None:
            hold = replace(self._holds[name], works_at=None)
            self._holds[name] = hold.works(now, proven=True)

    def trouble(self, name: PathName | None) -> str:
        """What is poor about it; empty where nothing is."""
        return self._trouble.get(name, "") if name is not None else ""

    def spend(self, name: PathName, count: int) -> None:
        """Bytes on the link that only measured it."""
        self._spent[name] = self._spent.get(name, 0) + count

    def spent(self, name: PathName) -> int:
        """Such bytes of this UTC day."""
        return self._spent.get(name, 0)

    def day_began(self) -> None:
        self._spent.clear()

    # --- times ---------------------------------------------------------------

    def hold(self, name: PathName) -> HoldDown:
        """Since when it works, and how often it broke."""
        return self._holds[name]

    def tested_at(self, name: PathName) -> float | None:
        return self._tested_at.get(name)

    def rtt_delay(self, name: PathName) -> float | None:
        return self._rtt_delay.get(name)

    def of(self, pair: Pair) -> PathName | None:
        """The path on which an SA with this pair is; None where the address is not ours."""
        return next((p.name for p in self._paths.values() if p.holds(pair)), None)

    def void_tests(self, now: float) -> None:
        """charon went away: no test under way will have a result."""
        for name in self._lives:
            self.fact(name, PathFact.TEST_VOID, now)


def _held(hold: HoldDown, fact: PathFact, now: float) -> HoldDown:
    match fact:
        case PathFact.LINK_FOUND:
            return hold.works(now, proven=False)
        case PathFact.TEST_PASSED | PathFact.SEATED:
            return hold.works(now, proven=True)
        case PathFact.LINK_LOST:
            return hold.link_lost(now)
        case PathFact.TEST_FAILED | PathFact.REFUSED:
            return hold.failed(now)
        case _:
            return hold
