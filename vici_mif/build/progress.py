# SPDX-License-Identifier: Apache-2.0
"""What the operator sees while something takes long."""

import sys
import time
from typing import TextIO


class Progress:
    """Steps on a stream of their own, so that standard output carries results only."""

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._every = every
        self._began = time.monotonic()
        self._shown_at = 0.0
        self._open = False

    def step(self, text: str) -> None:
        """A new step begins."""
        self._close()
        print(f"[{self._elapsed():4.0f} s] {text}", file=self._stream, flush=True)

    def count(self, text: str) -> None:
        """A running count: in place on a terminal, every ten seconds elsewhere."""
        now = time.monotonic()
        terminal = self._stream.isatty()
        if now - self._shown_at < (0.2 if terminal else self._every):
            return
        self._shown_at = now
        line = f"[{self._elapsed():4.0f} s]   {text}"
        print(f"\r{line}" if terminal else line, end="" if terminal else "\n", file=self._stream)
        self._stream.flush()
        self._open = terminal

    def _close(self) -> None:
        if self._open:
            print(file=self._stream)
        self._open = False

    def _elapsed(self) -> float:
        return time.monotonic() - self._began
