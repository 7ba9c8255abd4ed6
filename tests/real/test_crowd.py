# SPDX-License-Identifier: Apache-2.0
"""1,000 peers with four tunnels each at one gateway: what its controller needs for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from vici_mif.lab.measure import crowd

PEERS = 1000


@pytest.mark.long
def test_a_crowd(root: None, patched_charon: Path) -> None:
    """Memory, answers, the loop's delay, and a restart that finds all of them."""
    said: list[str] = []
    found = {figure.name: figure for figure in crowd.measure(said.append, PEERS)}

    assert found["gateway.memory"].median < 300
    assert found["gateway.status"].median < 1000
    assert found["gateway.lag.p99.rekeying"].median < 100
    assert max(found["gateway.adopted"].values) < 10
