# SPDX-License-Identifier: Apache-2.0
"""What the series is held against: strongSwan's suites in several builds, and mutants."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vici_mif.build import debianflags, mutants, sanitizer, suites, tree
from vici_mif.build.charon import Charon, Request
from vici_mif.build.compile import QUICK, SANITIZED, Builder
from vici_mif.build.series import Series
from vici_mif.build.suites import Outcome

# The slow unwinder would name frames inside OpenSSL too, but the tests run into their
# own timeouts with it.
ASAN = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=0"}


class Failures:
    """Collects what went wrong and shows what went right."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def outcomes(self, outcomes: list[Outcome], where: str = "") -> None:
        """Show the result of some suites; in one line when there is nothing to say."""
        if where and all(outcome.passed for outcome in outcomes):
            cases = sum(outcome.cases for outcome in outcomes)
            self.note(f"all {cases} cases of {len(outcomes)} programs passed", where, True)
            return
        for outcome in outcomes:
            self.note(outcome.summary, where, outcome.passed)

    def note(self, text: str, where: str, good: bool) -> None:
        """Show one result."""
        line = f"{where}: {text}" if where else text
        print(line, flush=True)
        if not good:
            self.found.append(line)


class Proof:
    """Runs of the suites on one series."""

    def __init__(self, charon: Charon, request: Request) -> None:
        self._charon = charon
        self._request = request
        self.failures = Failures()

    def plain(self) -> None:
        """The suites in the tree that the installed programs come from."""
        record = self._charon.build(self._request)
        with self._charon.cache.lock(f"suites-{record.key}"):
            self.failures.outcomes(suites.run(self._charon.builder(record)))

    def sanitized(self) -> None:
        """No finding of AddressSanitizer that the unpatched tree does not have as well."""
        stock = self._sanitized(replace(self._request, stock=True), "sanitizer, unpatched")
        ours = self._sanitized(self._request, "sanitizer, patched")
        for finding in sorted(ours - stock):
            self.failures.note(str(finding), "sanitizer, new", False)
        known = f"{len(ours)} findings, {len(ours - stock)} of them not in the unpatched tree"
        self.failures.note(known, "sanitizer", True)

    def _sanitized(self, request: Request, where: str) -> set[sanitizer.Finding]:
        record = self._charon.build(replace(request, flavour=SANITIZED))
        outcomes = suites.run(self._charon.builder(record), ASAN)
        self.failures.outcomes(outcomes, where)
        return set().union(*(sanitizer.findings(outcome.output) for outcome in outcomes))

    def debian_flags(self) -> None:
        """The suites in a tree configured as Debian does it."""
        series, source = self._charon.pick(self._request)
        flavour, dropped = debianflags.flavour(source)
        if dropped:
            self._charon.progress.step(f"without libraries for: {' '.join(dropped)}")
        record = self._charon.compiled(series, source, flavour)
        self.failures.outcomes(suites.run(self._charon.builder(record)), "Debian's flags")

    def each_patch(self) -> None:
        """Every patch builds and passes on those before it."""
        with self._workshop() as (builder, series):
            for patch in series.patches:
                tree.apply(patch, builder.tree)
                builder.make(what=patch.name)
                self.failures.outcomes(suites.run(builder), patch.name)

    def mutants(self, directory: Path) -> None:
        """Each mutant is noticed by its test and by no other."""
        every = mutants.read(directory)
        with self._workshop() as (builder, series):
            tree.apply_series(series, builder.tree)
            builder.make()
            self.failures.outcomes(suites.run(builder), "before the mutants")
            for mutant in every:
                wrong = mutants.run(mutant, builder)
                named = ", ".join(sorted(mutant.fails))
                self.failures.note(wrong or f"noticed by {named}", mutant.patch.name, not wrong)

    @contextlib.contextmanager
    def _workshop(self) -> Iterator[tuple[Builder, Series]]:
        """A tree without our patches, compiled quickly, that is thrown away afterwards."""
        series, source = self._charon.pick(self._request)
        with self._charon.cache.lock("workshop"):
            place = self._charon.cache.begin("workshop")
            builder = self._charon.prepare(Series(series.base, ()), source, place)
            builder.configure(QUICK, place / "prefix")
            builder.make()
            yield builder, series
            shutil.rmtree(place)
