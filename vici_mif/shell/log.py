# SPDX-License-Identifier: Apache-2.0
"""What the daemon says on stderr, for people and for the journal."""

from __future__ import annotations

import os
import sys
from datetime import datetime

from vici_mif.shell import terminal

LEVELS = {"error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog's numbers


class Log:
    """Lines on stderr. Under systemd the journal adds the time and reads the priority."""

    def __init__(self, *, verbose: bool) -> None:
        self.verbose = verbose
        self._journal = "JOURNAL_STREAM" in os.environ

    def say(self, text: str, level: str = "info") -> None:
        if level == "debug" and not self.verbose:
            return
        for line in text.splitlines():
            print(self._head(level) + terminal.plain(line), file=sys.stderr, flush=True)

    def _head(self, level: str) -> str:
        if self._journal:
            return f"<{LEVELS.get(level, 6)}>"
        time = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        mark = {"error": "error: ", "warning": "warning: "}.get(level, "")
        return f"{time} {mark}"
