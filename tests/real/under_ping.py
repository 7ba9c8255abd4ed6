# SPDX-License-Identifier: Apache-2.0
"""A ping that runs while something happens, and how much of it was lost."""

from __future__ import annotations

import re
import signal
import subprocess
from types import TracebackType

from vici_mif.lab.lab import Lab


class Pinging:
    """Fifty a second, from the moment it is entered."""

    def __init__(self, lab: Lab, source: str, target: str, host: str = "client") -> None:
        self._host = lab.host(host)
        self._argv = ["ping", "-n", "-q", "-i", "0.02", *(["-I", source] if source else []), target]
        self.lost = -1
        """Pings without an answer, once it has ended."""
        self.sent = 0

    def __enter__(self) -> Pinging:
        self._child = self._host.spawn(
            "pinging", self._argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.send_signal(signal.SIGINT)
        said = self._child.communicate(timeout=20)[0]
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        assert found is not None, said
        self.sent = int(found[1])
        # the last one may be on its way
        self.lost = max(0, self.sent - int(found[2]) - 1)
        assert self.sent > 20, said
