# SPDX-License-Identifier: Apache-2.0
"""What runs of the matrix found, in Markdown: outcomes by pair, and each cell that did not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from vici_mif.lab.interop.results import Cell, Results

_HELD = ("pass", "fallback")
_WHERE = {"docker": "In containers", "netns": "In network namespaces"}


def draw(runs: Iterable[Results]) -> str:
    """One section for each run."""
    return "\n".join(line for run in runs for line in _section(run)) + "\n"


def _section(run: Results) -> Iterator[str]:
    played = [cell for cell in run.cells if cell.outcome != "unsupported"]
    yield f"## {_WHERE[run.backend]}\n"
    number = f"{len(played)} cells in {run.seconds:.0f} s"
    yield f"{run.began}, {run.kernel}, {number}: {_told(played)}.\n"
    clients, gateways = (
        list(dict.fromkeys(getattr(cell, end) for cell in played)) for end in ("client", "gateway")
    )
    yield f"| client \\ gateway | {' | '.join(gateways)} |"
    yield "|---" * (len(gateways) + 1) + "|"
    for client in clients:
        pairs = ([c for c in played if (c.client, c.gateway) == (client, g)] for g in gateways)
        yield f"| {client} | {' | '.join(_told(cells) or '–' for cells in pairs)} |"
    yield from ("", *(_line(cell) for cell in played if cell.outcome not in _HELD))


def _told(cells: Iterable[Cell]) -> str:
    return ", ".join(f"{n} {outcome}" for outcome, n in Counter(c.outcome for c in cells).items())


def _line(cell: Cell) -> str:
    why = cell.why.strip().replace("\n", " ")
    return f"- {cell.scenario}, {cell.client} to {cell.gateway}: {cell.outcome}: {why}"
