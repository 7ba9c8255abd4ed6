# SPDX-License-Identifier: Apache-2.0
"""A ping that runs while something happens, and how much of it was lost."""

from __future__ import annotations

import itertools
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from tempfile import TemporaryFile
from types import TracebackType

from tests.pings import answers, counted
from vici_mif.lab.lab import Lab

INTERVAL = 0.02
ON_THE_WAY = 0.5
"""Seconds that an answer may take: what was sent that shortly before the end is not judged."""


def gaps(said: str) -> Iterator[str]:
    """Which were not answered, between which times of day."""
    for (one, before), (two, after) in itertools.pairwise(sorted(answers(said).items())):
        if two > one + 1:
            times = [datetime.fromtimestamp(at).time().isoformat() for at in (before, after)]
            yield f"{one + 1} to {two - 1} lost between {' and '.join(times)}"


class Pinging:
    """Fifty a second, from the moment it is entered."""

    def __init__(self, lab: Lab, source: str, target: str, host: str = "client") -> None:
        self._host = lab.host(host)
        self._argv = ["ping", "-n", "-D", "-i", str(INTERVAL)]
        self._argv += [*(["-I", source] if source else []), target]
        self.lost = -1
        """Pings without an answer, once it has ended; those of the last moment do not count."""
        self.sent = 0
        self._gaps: list[str] = []

    def __repr__(self) -> str:
        return f"<{' '.join(self._argv)}: {', '.join(self._gaps)}>"

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
        time.sleep(ON_THE_WAY)
        self._child.send_signal(signal.SIGINT)
        self._child.wait(20)
        self._said.seek(0)
        with self._said:
            said = self._said.read()
        self.sent, answered = counted(said, round(ON_THE_WAY / INTERVAL))
        self.lost = self.sent - answered
        self._gaps = list(gaps(said))
        assert self.sent > 20, said
