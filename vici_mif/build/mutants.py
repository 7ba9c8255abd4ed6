# SPDX-License-Identifier: Apache-2.0
"""Mutants: a line of C made wrong, and the one test that must notice.

Each is a patch on top of the whole series. Its header names the test functions that
fail with it, in a field `Fails:`; any other outcome is an error.
"""

from dataclasses import dataclass
from pathlib import Path

from vici_mif.build import suites, tree
from vici_mif.build.compile import Builder
from vici_mif.build.errors import BuildError
from vici_mif.build.series import Patch


@dataclass(frozen=True)
class Mutant:
    """A mutation and the tests it must break."""

    patch: Patch
    fails: frozenset[str]


def read(directory: Path) -> list[Mutant]:
    """All mutants of a directory. Raises BuildError where there is none: it would prove nothing."""
    texts = {path.name: path.read_text() for path in sorted(directory.glob("*.patch"))}
    if not texts:
        raise BuildError(f"{directory}: no patch is there")
    return [parse(Patch(name, text)) for name, text in texts.items()]


def parse(patch: Patch) -> Mutant:
    """A mutant from its patch; it is one line, and it says what fails."""
    fails = frozenset(patch.trailers.get("Fails", "").replace(",", " ").split())
    if not fails:
        raise BuildError(f"{patch.name}: no field Fails: in the last paragraph of its header")
    body = patch.text[len(patch.header) :].splitlines()
    added = [line for line in body if line.startswith("+") and not line.startswith("+++ ")]
    removed = [line for line in body if line.startswith("-") and not line.startswith("--- ")]
    if max(len(added), len(removed)) != 1:
        raise BuildError(f"{patch.name}: not a mutation of one line")
    return Mutant(patch, fails)


def run(mutant: Mutant, builder: Builder) -> str:
    """Put it in, see who notices, take it out. Returns what was wrong, or nothing."""
    tree.apply(mutant.patch, builder.tree)
    try:
        builder.make(what=f"mutant {mutant.patch.name}")
        outcomes = suites.run(builder)
        failed = {name for outcome in outcomes for name in _noticed(outcome, builder)}
    finally:
        tree.apply(mutant.patch, builder.tree, reverse=True)
    if failed == mutant.fails:
        return ""
    return f"expected to fail: {_names(mutant.fails)}; failed: {_names(failed)}"


def _noticed(outcome: suites.Outcome, builder: Builder) -> set[str]:
    """The tests that fail alone as well: one that fails may spoil others after it."""
    if not outcome.passed and not outcome.failures:
        return {outcome.program}  # it crashed
    suite = next(suite for suite in suites.SUITES if suite.program == outcome.program)
    alone = {
        name: suites.run_one(builder, suite, {"TESTS_FUNCTIONS": name})
        for name in sorted(outcome.failed_tests)
    }
    return {name for name, again in alone.items() if not again.passed}


def _names(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
