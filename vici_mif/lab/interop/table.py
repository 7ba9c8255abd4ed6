# SPDX-License-Identifier: Apache-2.0
"""What runs of the matrix found, in Markdown: outcomes by pair, and each cell that did not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from vici_mif.lab.interop.results import Cell, Results

_HEAD = """\
# The rig's matrix, as it was played

Cells by outcome, for each client and gateway ([interop.md](../interop.md)); what is unsupported is
not counted. A cell that does not hold stands below the table with its reason.
"""
_HELD = ("pass", "fallback")
_WHERE = {"docker": "In containers", "netns": "In network namespaces"}


def draw(runs: Iterable[Results]) -> str:
    """One section for each backend; its runs may have played a part of the matrix each."""
    by_backend: dict[str, list[Results]] = {}
    for run in runs:
        by_backend.setdefault(run.backend, []).append(run)
    lines = (line for part in by_backend.items() for line in _section(*part))
    return "\n".join([_HEAD, *lines]) + "\n"


def _section(backend: str, runs: list[Results]) -> Iterator[str]:
    played = [cell for run in runs for cell in run.cells if cell.outcome != "unsupported"]
    yield f"## {_WHERE[backend]}\n"
    for run in runs:
        own = [cell for cell in run.cells if cell.outcome != "unsupported"]
        yield f"{run.began}, {run.kernel}, {run.seconds:.0f} s: {len(own)} cells, {_told(own)}.\n"
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
