# SPDX-License-Identifier: Apache-2.0
"""What is said of samples, and where the table goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vici_mif.lab.errors import LabError
from vici_mif.lab.measure import figures
from vici_mif.lab.measure.figures import (
    BEGIN,
    END,
    GATEWAY_BEGIN,
    GATEWAY_END,
    Behaviour,
    Figure,
    Machine,
)
from vici_mif.lab.measure.measure import MEASUREMENTS

DOCS = Path(__file__).parent.parent.parent / "docs"


def run(*values: float) -> Behaviour:
    figure = Figure(name="failover.up", title="a link is lost: up", unit="ms", values=values)
    machine = Machine(kernel="Linux 6.1", cores=2, load=0.5)
    return Behaviour(
        date="2026-11-21",
        version="0",
        quick=True,
        machine=machine,
        figures=(figure,),
        failed={"drain": "no controller"},
    )


@pytest.mark.parametrize(
    ("values", "expected"), [((7,), 7), (tuple(range(1, 21)), 19), (tuple(range(100, 0, -1)), 95)]
)
def test_95_per_cent_were_not_slower(values: tuple[float, ...], expected: float) -> None:
    """By nearest rank, whatever order they came in."""
    assert run(*values).figures[0].p95 == expected


def test_a_row_shows_the_spread() -> None:
    """Number, least, median, 95 % and most; what failed is not left out."""
    table = figures.table(run(3, 1, 250.4))

    assert "| a link is lost: up | ms | 3 | 1 | 3 | 250 | 250 |" in table
    assert "Not measured: drain: no controller." in table


def test_the_table_goes_between_its_marks(tmp_path: Path) -> None:
    """What is around stays; a second run replaces the first; without marks nothing is written."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    figures.write(page, run(1))
    figures.write(page, run(2))
    text = page.read_text()

    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert text.count("| a link is lost") == 1
    assert "| 2 | 2 | 2 | 2 |" in text

    page.write_text("no marks")
    with pytest.raises(LabError, match="no place"):
        figures.write(page, run(1))
    assert page.read_text() == "no marks"


def test_a_gateways_figures_have_a_table_of_their_own(tmp_path: Path) -> None:
    """Each table is replaced only by a run that measured something of it."""
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n{GATEWAY_BEGIN}\n{GATEWAY_END}\n")
    figure = run(1).figures[0]
    of_gateway = figure.model_copy(update={"name": "gateway.status", "title": "a crowd"})
    figures.write(page, run(1))
    figures.write(page, run(1).model_copy(update={"figures": (of_gateway,)}))
    text = page.read_text()

    assert text.count("| a link is lost") == text.count("| a crowd") == 1
    assert text.index("| a link is lost") < text.index(GATEWAY_BEGIN) < text.index("| a crowd")


def test_json_comes_back() -> None:
    """As it was written, by the name of its schema."""
    text = run(1, 2).to_json()

    assert Behaviour.model_validate_json(text) == run(1, 2)
    assert json.loads(text)["schema"] == "vici-mif/behaviour/1"


def test_the_schema_is_written_down() -> None:
    """`scripts/schemas` writes it."""
    written = json.loads((DOCS / "vici-mif-behaviour.schema.json").read_text())

    assert written == json.loads(json.dumps(figures.schema()))


def test_the_page_has_a_place_for_the_table() -> None:
    """And no measurement has the name of another."""
    text = (DOCS / "behaviour.md").read_text()
    names = [m.name for m in MEASUREMENTS]

    assert text.index(BEGIN) < text.index(END)
    assert len(names) == len(set(names))
    assert all(m.quick <= m.full for m in MEASUREMENTS)


def test_a_run_of_a_part_keeps_the_rest(tmp_path: Path) -> None:
    """Samples lie beside the page; a figure that is new stands beside those of its kind."""
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    up = run(1).figures[0]
    down = up.model_copy(update={"name": "failover.down", "title": "a link is lost: down"})
    other = up.model_copy(update={"name": "drain.lost", "title": "a drain"})
    figures.write(page, run(1).model_copy(update={"figures": (up, other)}))
    figures.write(page, run(2).model_copy(update={"figures": (down,), "date": "2026-11-22"}))
    rows = [line.split(" | ") for line in page.read_text().splitlines() if "ms |" in line]

    assert [(row[0], row[-1]) for row in rows] == [
        ("| a link is lost: up", "2026-11-21, 0.5 |"),
        ("| a link is lost: down", "2026-11-22, 0.5 |"),
        ("| a drain", "2026-11-21, 0.5 |"),
    ]


@pytest.mark.parametrize(
    ("unit", "values", "broken"),
    [
        ("ms", (1,) * 95 + (900,) * 5, False),
        ("ms", (1,) * 94 + (900,) * 6, True),
        ("packets", (0,) * 99 + (1,), True),
        ("packets", (0,) * 100, False),
    ],
)
def test_a_bound_is_of_95_per_cent_or_of_each_packet(
    unit: str, values: tuple[float, ...], broken: bool
) -> None:
    """`lab measure` ends with 1 where one is broken."""
    bound = 0 if unit == "packets" else 350
    figure = run(*values).figures[0].model_copy(update={"unit": unit, "bound": bound})

    assert figure.broken is broken
    assert not figure.model_copy(update={"bound": None}).broken
