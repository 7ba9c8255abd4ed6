# SPDX-License-Identifier: Apache-2.0
"""The documents say what the code does: keys, commands, links, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests import readme
from tests.simulated import up
from vici_mif.core.paths import path
from vici_mif.core.wish import config

ROOT = Path(__file__).parent.parent
DOCS = sorted(
    [
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("strongswan-patches/**/*.md"),
        *ROOT.glob("ansible/*.md"),
    ]
)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
NAMED_TEST = re.compile(r"`(?:([a-z_]+):([a-z0-9_]+)|(tests/[\w/.]+\.py)(?:::(\w+))?)`")


def _keys(schema: dict[str, Any], name: str) -> list[str]:
    node = schema if name == "Config" else schema["$defs"][name]
    return list(node["properties"])


@pytest.mark.parametrize(
    "model",
    ["Config", "ConnectionConfig", "DaemonConfig", "LinkMatch", "ProbeConfig", "SecretEntry"],
)
def test_every_key_of_the_configuration_is_explained(model: str) -> None:
    """A key that the parser knows stands in docs/configuration.md."""
    text = (ROOT / "docs/configuration.md").read_text()
    missing = [
        k for k in _keys(config.schema(), model) if f"`{k}" not in text and f".{k}" not in text
    ]

    assert missing == []


def test_keys_of_later_are_named() -> None:
    """What is refused as coming later is listed as such."""
    later = (ROOT / "docs/configuration.md").read_text().partition("## Keys that come later")[2]
    missing = [key[-1] for key in config.LATER if f"{key[-1]}`" not in later]

    assert missing == []


def test_what_the_readme_tells_to_type_is_typed() -> None:
    """Each section with commands has a test that takes them from there by its heading."""
    assert set(readme.headings()) == set(readme.PLAYED) | readme.OURSELVES
    for heading, file in readme.PLAYED.items():
        assert f'readme.commands("{heading}")' in (ROOT / file).read_text(), heading


def test_what_the_readme_tells_in_a_sentence_is_run() -> None:
    """By the tests that are named: their words stand there as arguments."""
    assert readme.inline("Adopt it") == list(readme.RUN_BY)
    for command, file in readme.RUN_BY.items():
        words = ", ".join(f'"{word}"' for word in command.split()[1:])
        assert words in (ROOT / file).read_text(), command


@pytest.mark.parametrize("page", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that is there."""
    broken = [t for t in LINK.findall(page.read_text()) if not (page.parent / t).exists()]

    assert broken == []


def test_the_diagram_is_the_table() -> None:
    """The picture of a path's life in docs/architecture.md is drawn from its table."""
    assert path.mermaid() in (ROOT / "docs/architecture.md").read_text()


def followed() -> str:
    text = (ROOT / "docs/architecture.md").read_text()
    return text.partition("## One fact, followed")[2].partition("\n## ")[0]


def test_the_fact_that_is_followed_goes_this_way() -> None:
    """What docs/architecture.md says that follows, follows: in that order, and nothing else."""
    down, _, back = followed().partition("When `eth0` is back")
    world = up()
    ordered: list[str] = []
    world.watchers.append(lambda action: ordered.append(type(action).__name__))

    world.link_down("eth0")
    assert ordered == re.findall(r"\*\*(\w+)\*\*", down)

    home = world.sas[1]
    ordered.clear()
    world.watchers[:] = [lambda action: ordered.extend(_of(action, home.unique_id))]
    world.link_up("eth0")
    world.run(8)
    assert ordered == re.findall(r"\*\*(\w+)\*\*", back)


def _of(action: object, ike_id: int) -> list[str]:
    return [type(action).__name__] if getattr(action, "ike_id", None) == ike_id else []


def test_files_named_in_the_architecture_exist() -> None:
    """Moved files take their names along."""
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"`((?:vici_mif|tests|docs)/[\w./]+)`", text)

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def _suites() -> dict[str, set[str]]:
    """Suite -> test cases, from the lines that the series adds."""
    found: dict[str, set[str]] = {}
    for patch in sorted(ROOT.glob("strongswan-patches/6.1.0/*.patch")):
        suite = ""
        for line in patch.read_text(errors="replace").splitlines():
            if match := re.match(r"\+\+\+ b/.*/test_(\w+)\.c$", line):
                suite = match[1]
            elif line.startswith("+++ "):
                suite = ""
            elif suite and (match := re.match(r"\+?START_TEST\((\w+)\)", line)):
                found.setdefault(suite, set()).add(match[1].removeprefix("test_"))
    return found


def test_tests_named_in_the_documents_exist() -> None:
    """`suite:case` stands in the series, `tests/file.py::test` in the tree."""
    suites = _suites()
    missing = []
    for page in (ROOT / "docs/conformance.md", ROOT / "docs/seeds.md"):
        for suite, case, file, name in NAMED_TEST.findall(page.read_text()):
            if suite and case not in suites.get(suite, set()):
                missing.append(f"{page.name}: {suite}:{case}")
            if file and not (ROOT / file).exists():
                missing.append(f"{page.name}: {file}")
            elif name and f"def {name}(" not in (ROOT / file).read_text():
                missing.append(f"{page.name}: {file}::{name}")

    assert missing == []
