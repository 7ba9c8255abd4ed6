# SPDX-License-Identifier: Apache-2.0
"""The watched status in colours: rich draws it, the text is the one that everybody gets.

Only imported where rich is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from vici_mif.shell.render import cut

STYLES = {
    r"(?<=^peer )\S+": "bold",
    r"\b(up|active)\b": "green",
    r"\b(ready|standby|idle|testing)\b": "cyan",
    r"\b(degraded|waiting|drained|denied|poor|to be drained)\b": "yellow",
    r"\b(down|failed|silent)\b": "bold red",
    r"^(PATH|ORDER) .*$": "dim",
    r"^vici-mif .*$": "dim",
}
"""By what stands in a line; of lines that explain the one above, nothing."""


@contextmanager
def screen(console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Draw on the terminal's second page until the end of the block."""
    page = console or Console(highlight=False)
    with Live(console=page, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        yield lambda text: live.update(coloured(text, page.height), refresh=True)


def coloured(text: str, height: int) -> Text:
    """The same characters."""
    lines = [Text(line, no_wrap=True, overflow="crop") for line in cut(text.splitlines(), height)]
    for line in lines:
        if line.plain.startswith(" "):
            line.stylize("dim")
            continue
        for pattern, style in STYLES.items():
            line.highlight_regex(pattern, style)
    return Text("\n", no_wrap=True, overflow="crop").join(lines)
