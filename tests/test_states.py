# SPDX-License-Identifier: Apache-2.0
"""docs/operating.md explains every state and every reason that `status` can show."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from vici_mif.core.paths.path import TRANSITIONS, TROUBLE, PathState
from vici_mif.core.status import EXIT_CODES, PathStatus, PeerState, PeerStatus

ROOT = Path(__file__).parent.parent
CORE = ROOT / "vici_mif/core"
TELLING = (
    "report.py", "standing.py", "byhand/progress.py", "family/authentication.py",
    "family/growth.py", "family/mode.py", "health/probing.py", "paths/pairing.py",
    "paths/paths.py", "seats/moves.py",
)  # fmt: skip
"""Modules whose sentences become a `why`."""

PARTS = {
    ": …", "…: …", "not connected yet", "an address that is gone", "does not work",
    ", it broke … times", "… and … spares", " and a spare", " and … spares", "… …",
    "`vici-mif path undrain … …`", "rules and routes",
}  # fmt: skip
"""Of sentences that are documented as a whole."""

REFUSALS = {
    "no path or link '…'; known: …", "no … of … is in force…", "any path", "; ordered: …",
    "… (order …)", "there is no order …; `vici-mif orders` shows what there is",
    "order … is about keys that are being closed: it ends by itself",
    "… is not revoked; `vici-mif orders` shows what there is",
}  # fmt: skip
"""Answers to commands: they are no state."""


def section() -> str:
    text = (ROOT / "docs/operating.md").read_text()
    return text.partition("## Every state and reason")[2].partition("\n## ")[0]


def documented() -> set[str]:
    """What stands in the first column as code; two marks where one stands in the text."""
    first = re.findall(r"^\| (`.*?) \|", section(), re.MULTILINE)
    spans = [span for cell in first for span in re.findall(r"`` (.+?) ``|`([^`]+)`", cell)]
    return {long or short for long, short in spans}


def sentences(file: Path) -> Iterator[str]:
    """Texts of more than one word, but for docstrings; `…` for what is filled in."""
    tree = ast.parse(file.read_text())
    silent = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            silent.update(node.values)
    for node in ast.walk(tree):
        text = "" if node in silent else _text(node)
        if " " in text.strip():
            yield text


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [v.value if isinstance(v, ast.Constant) else "…" for v in node.values]
        return "".join(map(str, parts))
    return ""


@pytest.mark.parametrize("module", TELLING)
def test_every_reason_is_explained(module: str) -> None:
    """A sentence that is new, or has changed, stands in the table with what to do."""
    said = set(sentences(CORE / module)) - PARTS - REFUSALS

    assert said - documented() == set()


def choices(model: Any, field: str) -> set[str]:
    """The words a field of the status can have."""
    found: set[str] = set()
    for each in (model.model_fields[field].annotation,):
        found |= {word for word in _words(each) if word}
    return found


def _words(annotation: Any) -> Iterator[str]:
    for each in get_args(annotation):
        if isinstance(each, str):
            yield each
        else:
            yield from _words(each)


@pytest.mark.parametrize(
    ("model", "field"),
    [(PeerStatus, "state"), (PeerStatus, "mode"), (PathStatus, "state"), (PathStatus, "probe"),
     (PathStatus, "order")],
)  # fmt: skip
def test_every_word_is_explained(model: Any, field: str) -> None:
    """States, modes, and who tells the health of a path."""
    text = section()

    assert [word for word in choices(model, field) if f"`{word}`" not in text] == []


def test_the_words_are_those_of_the_code() -> None:
    """The status has no other states than the path's table and the exit codes."""
    assert choices(PathStatus, "state") == {state.value for state in PathState}
    assert choices(PeerStatus, "state") == set(EXIT_CODES) == set(get_args(PeerState))


def test_the_exit_codes_are_those_of_the_code() -> None:
    """The second column of the first table."""
    told = dict(re.findall(r"^\| `(\w+)` \| (\d) \|", section(), re.MULTILINE))

    assert told == {state: str(code) for state, code in EXIT_CODES.items()}


def test_bare_facts_are_explained() -> None:
    """Where nobody says more, a path in trouble says what happened to it."""
    facts = {fact.value for (_, fact), after in TRANSITIONS.items() if after in TROUBLE}

    assert facts <= documented()


def test_every_refusal_is_explained() -> None:
    """The reasons of docs/vici.md."""
    text = (ROOT / "docs/vici.md").read_text()
    table = text.partition("| `reason` | meaning |")[2].partition("\n\n")[0]
    reasons = set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))

    assert len(reasons) > 10
    assert reasons <= documented()
