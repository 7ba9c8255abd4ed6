# SPDX-License-Identifier: Apache-2.0
"""The measuring tool itself, on one sample: `make full` asks for many."""

from __future__ import annotations

from vici_mif.lab.measure import failovers


def test_a_lost_link_is_measured(root: None, patched_charon: object) -> None:
    """Both directions come back within 3 s, and not before the link was gone."""
    said: list[str] = []
    up, down = failovers.link_lost(said.append, 1)

    assert (up.name, down.name) == ("failover.link-lost.up", "failover.link-lost.down")
    assert 0 < up.values[0] < 3000
    assert 0 < down.values[0] < 3000
    assert said
