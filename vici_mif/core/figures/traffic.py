# SPDX-License-Identifier: Apache-2.0
"""Bytes of a path that only ever grow. Pure.

charon counts for each CHILD_SA; a rekeyed one begins from nothing and a moved one takes its count
along. So what came to each SA since the last look is credited to the path where it is now.
"""

from __future__ import annotations

from vici_mif.core.model import PathKey
from vici_mif.core.status import ChildStatus, Status


class Traffic:
    """Sent and received on each path, as far as it was looked at."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._sums: dict[PathKey, tuple[int, int]] = {}

    def look(self, status: Status) -> None:
        """Credit what is new. What an SA carried between its last look and its end is lost."""
        seen: dict[tuple[str, str], tuple[int, int]] = {}
        for peer in status.peers:
            for tunnel in peer.tunnels:
                for child in tunnel.children:
                    key = (peer.name, child.spi_in)
                    seen[key] = (child.tx_bytes, child.rx_bytes)
                    if tunnel.current is not None:
                        self._credit((peer.name, tunnel.current), child, self._seen.get(key))
        self._seen = seen
        present = {(peer.name, path.name) for peer in status.peers for path in peer.paths}
        self._sums = {key: value for key, value in self._sums.items() if key in present}

    def _credit(self, key: PathKey, child: ChildStatus, before: tuple[int, int] | None) -> None:
        sent, received = self._sums.get(key, (0, 0))
        old_sent, old_received = before or (0, 0)
        self._sums[key] = (
            sent + max(0, child.tx_bytes - old_sent),
            received + max(0, child.rx_bytes - old_received),
        )

    def of(self, peer: str, path: str) -> tuple[int, int]:
        return self._sums.get((peer, path), (0, 0))
