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
    # while they come both charons want all of the machine: `lab measure` judges that, at rest
    busy = {"gateway.lag.p99.building": 1000.0}
    judged = [f.model_copy(update={"bound": busy.get(f.name, f.bound)}) for f in found]
    assert [(figure.title, figure.values) for figure in judged if figure.broken] == []
