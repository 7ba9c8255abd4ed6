# SPDX-License-Identifier: Apache-2.0
"""Text on its way to somebody's terminal.

A peer chooses its identity, and charon repeats a peer's words: none of it may move the cursor,
change the colours or turn the direction of the text.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def plain(text: str) -> str:
    """The same lines; what cannot be shown is a `?`."""
    return "\n".join(_shown(line) for line in text.split("\n"))


def _shown(line: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in line)


def escaped(text: str) -> str:
    """A text of JSON that says the same, with what cannot be shown as JSON's own escapes."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


@contextmanager
def open_ended() -> Iterator[None]:
    """Characters that the terminal does not have are no mistake. Raises BrokenPipeError where
    the reader has gone, and then says nothing more at the end of the process."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # who tests may have put something else there
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        raise
