# SPDX-License-Identifier: Apache-2.0
"""A ping that runs while something happens, and how much of it was lost."""

from __future__ import annotations

import signal
import subprocess
from tempfile import TemporaryFile
from types import TracebackType

from tests.pings import counted
from vici_mif.lab.lab import Lab


class Pinging:
    """Fifty a second, from the moment it is entered."""

    def __init__(self, lab: Lab, source: str, target: str, host: str = "client") -> None:
        self._host = lab.host(host)
        self._argv = ["ping", "-n", "-i", "0.02", *(["-I", source] if source else []), target]
        self.lost = -1
        """Pings without an answer, once it has ended; the last one does not count."""
        self.sent = 0

    def __enter__(self) -> Pinging:
        self._said = TemporaryFile("w+")  # a pipe that nobody reads would hold it up
        self._child = self._host.spawn(
            "pinging", self._argv, stdout=self._said, stderr=subprocess.STDOUT
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.send_signal(signal.SIGINT)
        self._child.wait(20)
        self._said.seek(0)
        with self._said:
            said = self._said.read()
        self.sent, answered = counted(said)
        self.lost = self.sent - answered
        assert self.sent > 20, said
