# SPDX-License-Identifier: Apache-2.0
"""The configuration in force, and what became of the last attempt to replace it."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from vici_mif.core.status import DaemonStatus
from vici_mif.core.wish import reload
from vici_mif.core.wish.config import Config, ConfigError, Source
from vici_mif.edges import files
from vici_mif.edges.files import FileError
from vici_mif.shell import clock, material


class Configured:
    """The operator's files as they were read last, if they were good."""

    def __init__(self, config: Config, path: str) -> None:
        self.config = config
        self.path = path
        self.renewed: frozenset[str] = frozenset()
        """Peers whose files and variables had another content the last time."""
        self._salt = os.urandom(16)
        self._seen = self._look(config)
        self._since = clock.stamp()
        self._refused = ""

    def read(self, up: Collection[str]) -> bool:
        """Read the files again; whether there is a difference. `up`: peers that have tunnels.

        Raises ConfigError and FileError; what was in force stays so then.
        """
        try:
            sources = [Source(name, text) for name, text in files.read_config(Path(self.path))]
            config = reload.read(sources, self.config, up)
            material.weigh(config, self.path)
        except (ConfigError, FileError) as error:
            self._refused = str(error)
            raise
        self._refused = ""
        before, self._seen = self._seen, self._look(config)
        self.renewed = frozenset(n for n in before if self._seen.get(n, before[n]) != before[n])
        if config == self.config and not self.renewed:
            return False
        self.config, self._since = config, clock.stamp()
        return True

    def _look(self, config: Config) -> dict[str, str]:
        """What the files and variables of inline connections hold, by peer; nothing to read."""
        wanted = material.loads(config, self.path)
        return {name: material.digest(loads, self._salt) for name, loads in wanted.items()}

    def shown(self, daemon: DaemonStatus) -> DaemonStatus:
        """For the status."""
        said = {"config_since": self._since, "config_refused": self._refused}
        return daemon.model_copy(update=said)
