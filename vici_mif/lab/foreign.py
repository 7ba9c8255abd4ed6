# SPDX-License-Identifier: Apache-2.0
"""IKE daemons of others: their images know the words `start` and `ready` (docs/interop.md)."""

from __future__ import annotations

import os
import time

from vici_mif.lab.charons import START_PATIENCE, Charon
from vici_mif.lab.errors import LabError


class Foreign(Charon):
    """Implements Charon for a daemon that speaks no VICI."""

    def start(self) -> None:
        """Start it and wait until it listens with its connection. Raises LabError."""
        with self.host.log.open("ab") as log:
            self._child = self.host.spawn(self.role, ["endpoint", "start"], stdout=log, stderr=log)
        patience = START_PATIENCE * float(os.environ.get("VICI_MIF_PATIENCE", "1"))
        deadline = time.monotonic() + patience
        while self.host.exec(["endpoint", "ready"], check=False).returncode:
            if time.monotonic() > deadline or not self.process:
                raise LabError(
                    f"the daemon of {self.host.name} is not ready after {patience:g} s; "
                    f"its last words: {self.last_words()}"
                )
            time.sleep(0.1)

    def initiate(self) -> None:
        """It has one connection, which it brings up; what becomes of it the other end tells."""
        self.host.exec(["endpoint", "initiate"])

    def load(self) -> str:
        """It has its files from the start."""
        return ""
