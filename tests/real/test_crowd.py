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
    found = crowd.measure(said.append, PEERS)

    assert {figure.name.removeprefix("gateway.") for figure in found} >= set(crowd.BOUNDS)
    assert [(figure.title, figure.values) for figure in found if figure.broken] == []
