# SPDX-License-Identifier: Apache-2.0
"""A static page of results: the matrix, and behind each cell its ladder and what was kept.

One file without a script, so that it works wherever a file can be opened; what a cell shows is
there from the start, and the link of the cell makes it visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from vici_mif.lab.interop.results import Cell, Facts, Results
from vici_mif.lab.interop.stage import LADDER

FILE = "index.html"

_STYLE = Path(__file__).with_name("page.css")
_KINDS = {
    "clones": ("Both ends clone", "One authentication, a tunnel for each link (RFC 7791)."),
    "fallback": ("The gateway cannot clone", "What `without_clone` chooses instead."),
    "upgrade": (
        "Upgraded on the way",
        "Once both ends are upgraded they clone, whichever was first.",
    ),
    "old-client": ("The client cannot clone", "Gateways are often upgraded first."),
}
_WORDS = {"pass": "pass", "fallback": "fallback ok", "fail": "fail", "skipped": "skipped"}


def write(results: Results, directory: Path) -> Path:
    """index.html, replaced at one blow; ladders are read from the cells' folders."""
    fresh = directory / f"{FILE}.new"
    fresh.write_text(draw(results, directory))
    return fresh.rename(directory / FILE)


def draw(results: Results, directory: Path) -> str:
    """The whole page."""
    shown = [cell for cell in results.cells if cell.outcome != "unsupported"]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>vici-mif interop</title><style>{_STYLE.read_text()}</style></head><body>",
        *_head(results),
        *(line for kind in _KINDS for line in _matrix(results, kind)),
        *(line for cell in shown for line in _section(cell, results, directory)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def name_of(cell: Cell) -> str:
    """A cell's anchor."""
    return f"{cell.scenario}--{cell.client}--{cell.gateway}"


def _head(results: Results) -> Iterator[str]:
    where = {"docker": "containers", "netns": "network namespaces"}[results.backend]
    yield "<h1>Who clones with whom</h1>"
    yield (
        f'<p class="soft">Played in {where} at {escape(results.began)} on '
        f"{escape(results.kernel)}, {results.seconds:.0f} s. A cell leads to its exchange; "
        '<a href="results.json">results.json</a> has all of it.</p>'
    )


def _matrix(results: Results, kind: str) -> Iterator[str]:
    names = [name for name, played in results.scenarios.items() if played.kind == kind]
    cells = {
        (cell.scenario, cell.client, cell.gateway): cell
        for cell in results.cells
        if cell.scenario in names and cell.outcome != "unsupported"
    }
    if not cells:
        return
    pairs = list(dict.fromkeys((cell.client, cell.gateway) for cell in cells.values()))
    title, about = _KINDS[kind]
    yield f"<h2>{escape(title)}</h2><p>{_code(about)}</p>"
    heads = "".join(f"<th>{escape(a)}<br>→ {escape(b)}</th>" for a, b in pairs)
    yield f'<div class="scroll"><table><thead><tr><th>scenario</th>{heads}</tr></thead><tbody>'
    for name in names:
        row = "".join(f"<td>{_link(cells.get((name, *pair)))}</td>" for pair in pairs)
        about = escape(results.scenarios[name].title, quote=True)
        yield f'<tr><th title="{about}">{escape(name)}</th>{row}</tr>'
    yield "</tbody></table></div>"


def _link(cell: Cell | None) -> str:
    if cell is None:
        return '<span class="none">–</span>'
    return f'<a class="{cell.outcome}" href="#{name_of(cell)}">{_WORDS[cell.outcome]}</a>'


def _section(cell: Cell, results: Results, directory: Path) -> Iterator[str]:
    names = results.implementations
    yield f'<section class="cell" id="{name_of(cell)}">'
    yield f"<h2>{escape(cell.scenario)}</h2>"
    yield f"<p>{escape(results.scenarios[cell.scenario].title)}</p>"
    told = {
        "outcome": f'<b class="{cell.outcome}">{_WORDS[cell.outcome]}</b>',
        "why": escape(cell.why),
        "client": escape(names[cell.client]),
        "gateway": escape(names[cell.gateway]),
        "took": f"{cell.seconds:g} s" if cell.seconds else "",
        **(_seen(cell.facts) if cell.facts else {}),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in told.items() if text)
    yield f"<dl>{rows}</dl>"
    ladder = directory / cell.folder / LADDER
    if cell.folder and ladder.exists():
        yield f"<h3>The exchange</h3><pre>{escape(ladder.read_text())}</pre>"
    if cell.files:
        links = "".join(_file(cell.folder, name) for name in cell.files)
        yield f'<h3>What was kept</h3><ul class="files">{links}</ul>'
    yield '<p><a href="#">back to the matrix</a></p></section>'


def _seen(facts: Facts) -> Mapping[str, str]:
    """Numbers, in words."""
    ends = (
        f"{end}: {c.ike_sas} IKE SAs, {c.packets_in} in, {c.packets_out} out"
        for end, c in facts.counters.items()
    )
    return {
        "IKE messages": escape(", ".join(f"{n} {name}" for name, n in facts.messages.items())),
        "authentications": str(facts.authentications),
        "clones asked for": str(facts.clones),
        "ESP packets": escape(", ".join(f"{place} {n}" for place, n in facts.esp.items())),
        "charons counted": escape("; ".join(ends)),
    }


def _file(folder: str, name: str) -> str:
    path = escape(f"{folder}/{name}", quote=True)
    return f'<li><a href="{path}">{escape(name)}</a></li>'


def _code(text: str) -> str:
    """Backquotes are code."""
    first, *rest = text.split("`")
    inner = (f"<code>{escape(p)}</code>" if i % 2 == 0 else escape(p) for i, p in enumerate(rest))
    return escape(first) + "".join(inner)
