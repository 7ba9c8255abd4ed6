# SPDX-License-Identifier: Apache-2.0
"""The import map: core is pure, an edge knows one foreign thing, only the shell knows all."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vici_mif"
DOC = PACKAGE.parent / "docs/architecture.md"
IMPURE = {
    "asyncio",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
    "signal",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "uuid",
    "pyroute2",
    "vici",
}
FOREIGN = {"pyroute2": {"netlink", "links", "steering"}, "vici": {"vici"}}
"""Which edges may know a foreign library."""
HELPERS = {
    "charon": {"ordering", "reading", "requests", "vici"},
    "footprints": {"files"},
    "guard": {"nft"},
    "journal": {"files"},
    "links": {"netlink"},
    "ordering": {"requests", "vici"},
    "orders": {"files"},
    "prober": {"echo"},
    "reading": {"vici"},
    "routes": {"netlink"},
    "rules": {"netlink"},
    "sources": {"nft"},
    "steering": {"netlink", "routes", "rules"},
}
"""An edge in several files: the others are its own parts."""
CLOCKS = {"shell/clock.py", "shell/operate.py", "shell/asking.py"}


def modules(folder: str) -> list[Path]:
    return sorted((PACKAGE / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of what a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def of_ours(path: Path, layer: str) -> set[str]:
    """Modules of one layer of ours that a module imports."""
    prefix = f"vici_mif.{layer}."
    names = {
        name.removeprefix(prefix).partition(".")[0]
        for name in imported(path)
        if name.startswith(prefix)
    }
    return {name for name in names if (PACKAGE / layer / f"{name}.py").exists()}


def identify(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", modules("core"), ids=identify)
def test_core_is_pure(path: Path) -> None:
    """No IO, no clock, no loop, no edge, no shell."""
    names = imported(path)

    assert not {name.partition(".")[0] for name in names} & IMPURE
    assert not of_ours(path, "edges") | of_ours(path, "shell") | of_ours(path, "lab")


def rooms(path: Path) -> set[str]:
    """Rooms of the core, which are its folders and the files beside them, that a module needs."""
    names = (name.split(".") for name in imported(path) if name.startswith("vici_mif.core."))
    return {parts[2] for parts in names}


def needs() -> dict[str, set[str]]:
    """Each room of the core with those that it needs."""
    found: dict[str, set[str]] = {}
    for path in modules("core"):
        room = path.relative_to(PACKAGE / "core").parts[0].removesuffix(".py")
        found[room] = found.get(room, set()) | rooms(path) - {room}
    return {room: needed for room, needed in found.items() if room != "__init__"}


def test_the_rooms_of_the_core_stand_on_each_other() -> None:
    """As docs/architecture.md has them: each needs only rooms that stand above it there."""
    table = DOC.read_text().partition("| room | about |\n")[2].partition("\n\n")[0]
    lines = [re.findall(r"`(\w+)/?`", line.split("|")[1]) for line in table.splitlines()[1:]]
    told = {room: number for number, line in enumerate(lines) for room in line}
    upside = [(a, b) for a, needed in needs().items() for b in needed if told[a] < told[b]]

    assert told.keys() == needs().keys()
    assert not upside


def test_no_two_rooms_of_the_core_need_each_other() -> None:
    """There is a ground floor, and a next one: no way leads back."""
    floors = list(TopologicalSorter(needs()).static_order())

    assert floors.index("model") < floors.index("events") < floors.index("planner")


@pytest.mark.parametrize("path", modules("core"), ids=identify)
def test_core_asks_no_time(path: Path) -> None:
    """`datetime` is a shape there, never a clock."""
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }

    assert not calls & {"now", "utcnow", "today", "monotonic"}


@pytest.mark.parametrize("path", modules("edges"), ids=identify)
def test_an_edge_knows_its_own_parts_only(path: Path) -> None:
    """Edges never know each other, nor who decides, nor the shell."""
    assert of_ours(path, "edges") - {path.stem} <= HELPERS.get(path.stem, set())
    assert not of_ours(path, "shell") | of_ours(path, "lab")
    assert not of_ours(path, "core") & {"planner", "rooms"}


@pytest.mark.parametrize("path", modules("edges"), ids=identify)
def test_a_foreign_library_has_one_edge(path: Path) -> None:
    """What comes from pyroute2 or vici stays where it came in."""
    roots = {name.partition(".")[0] for name in imported(path)}

    for library, edges in FOREIGN.items():
        assert library not in roots or path.stem in edges


@pytest.mark.parametrize("path", modules("shell"), ids=identify)
def test_the_shell_uses_edges_and_one_clock(path: Path) -> None:
    """Foreign libraries stay behind the edges, and time behind clock.py."""
    roots = {name.partition(".")[0] for name in imported(path)}

    assert not roots & FOREIGN.keys()
    assert "time" not in roots or identify(path) in CLOCKS


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=identify)
def test_modules_stay_small(path: Path) -> None:
    """Above 400 lines a module is two nouns."""
    assert len(path.read_text().splitlines()) <= 400


CORE_LIBRARIES = {
    "yaml": {"document"},
    "pydantic": {
        "codec",
        "config",
        "daemon",
        "gateway",
        "inline",
        "lines",
        "links",
        "notice",
        "profile",
        "state",
        "status",
        "values",
    },
    "pydantic_core": {"codec", "config", "daemon", "inline", "links", "profile", "values"},
}
"""YAML ends in one module; pydantic describes formats and nothing else."""


@pytest.mark.parametrize("path", modules("core"), ids=identify)
def test_core_knows_few_libraries(path: Path) -> None:
    """A library stays in the modules that are about its subject."""
    roots = {name.partition(".")[0] for name in imported(path)}

    for library, users in CORE_LIBRARIES.items():
        assert library not in roots or path.stem in users


@pytest.mark.parametrize("path", modules("core"), ids=identify)
def test_core_never_waits(path: Path) -> None:
    """Nothing is awaited where decisions are made."""
    waits = (ast.AsyncFunctionDef, ast.Await)

    assert not [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, waits)]


@pytest.mark.parametrize(
    "path", [p for folder in ("core", "edges", "shell") for p in modules(folder)], ids=identify
)
def test_the_controller_needs_neither_lab_nor_builder(path: Path) -> None:
    """Their commands are there where they are installed: the shell asks by name."""
    words = {tuple(name.split(".")[:2]) for name in imported(path)}

    assert not words & {("vici_mif", "lab"), ("vici_mif", "build")}


def test_only_the_loop_its_journal_and_the_dry_run_join_planner_and_edges() -> None:
    """Three files know both sides."""
    both = {p.stem for p in modules("shell") if of_ours(p, "core") & {"planner", "rooms"}}

    assert both == {"daemon", "dry", "journal"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=identify)
def test_modules_say_what_they_are(path: Path) -> None:
    """A licence, and a docstring."""
    text = path.read_text()

    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert ast.get_docstring(ast.parse(text))


def test_no_mocks() -> None:
    """Worlds in memory and real daemons; nothing that pretends to have been called."""
    word = "unittest" + ".mock"

    assert [str(p) for p in Path(__file__).parent.rglob("*.py") if word in p.read_text()] == []


@pytest.mark.parametrize("path", modules(""), ids=lambda path: path.stem)
def test_nothing_is_raised_within_except_star(path: Path) -> None:
    """Python 3.11.2, which is Debian 12's, makes a group of it that nobody expects."""
    tries = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.TryStar)]
    within = [n for one in tries for part in one.handlers for n in ast.walk(part)]

    assert not [node.lineno for node in within if isinstance(node, ast.Raise)]
