# SPDX-License-Identifier: Apache-2.0
"""A gateway that was restarted knows nobody; a host that was cut off is still known."""

from __future__ import annotations

import pytest

from tests.simulated import GATEWAY, THREE, World
from vici_mif.core import actions as a

E0, E1, E2 = (f"eth{i}/{GATEWAY}" for i in range(3))
AT_HOME = {E0: E0, E1: E1, E2: E2}
ECHOES = THREE.replace("eth2]", "eth2], probe: {targets: [10.100.0.1]}")
ALL = {"eth0", "eth1", "eth2"}


@pytest.mark.parametrize("text", [THREE, ECHOES], ids=["by IKE", "by echoes"])
def test_a_restarted_gateway_is_found_out(text: str) -> None:
    """Nothing tells: silence is the sign, a new authentication the proof. Within a minute."""
    world = World(text=text).start().run(30)
    before = set(world.sas)
    world.forget_all()
    world.run(60)

    assert before.isdisjoint(world.sas)
    assert world.hq.state == "up"
    assert world.hq.authentications == 2
    assert len(world.working()) >= 3
    assert {sa.family for sa in world.sas.values()} == {world.hq.family}


@pytest.mark.parametrize("text", [THREE, ECHOES], ids=["by IKE", "by echoes"])
@pytest.mark.parametrize("after", [0.3 * i for i in range(1, 11)])
def test_what_the_forgotten_are_asked_blames_no_path(text: str, after: float) -> None:
    """Once another family follows, moves and tests of the old one end in vain: not the path's."""
    world = World(text=text).start().run(30 + after)
    old = world.hq.family
    world.forget_all()
    while world.hq.family == old:
        world.run(0.5)
    before = len(world.told)
    world.run(60)

    assert world.hq.state == "up"
    changes = [c for c in world.told[before:] if c.state == "failed"]
    assert changes == []


def test_a_request_that_was_outstanding_hides_nothing() -> None:
    """Rekeyed as the gateway died: tests are `busy` and moves superseded, which is silence too."""
    world = World(text=ECHOES).start().run(30)
    world.outstanding = {t.ike_id for t in world.hq.tunnels}
    before = set(world.sas)
    world.forget_all()
    world.run(90)

    assert before.isdisjoint(world.sas)
    assert world.hq.state == "up"


@pytest.mark.parametrize("span", [20.0, 60.0, 300.0])
def test_who_was_out_of_reach_is_not_given_up(span: float) -> None:
    """A tunnel under a mountain: the same IKE SAs afterwards, with the same addresses."""
    world = World(text=ECHOES).start().run(30)
    before = set(world.sas)
    world.dead |= ALL
    world.run(span)
    world.dead -= ALL
    world.run(120)

    assert before <= set(world.sas)
    assert world.hq.state == "up"
    assert len(world.working()) >= 3


def test_a_quiet_time_asks_nobody() -> None:
    """Nothing is sent through the tunnels; IKE answers, so nothing is suspected."""
    world = World().start().run(300)

    assert len(world.actions(a.CreateIke)) == 1
