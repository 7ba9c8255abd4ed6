# SPDX-License-Identifier: Apache-2.0
"""Links that come and go at random, with a controller that is killed in between.

The seed is printed with a failure; VICI_MIF_SEED gives it back.
"""

from __future__ import annotations

import os
import random
import time

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import on, ping, running
from vici_mif.core.status import PeerStatus

LINKS = ("eth0", "wlan0", "wwan0")
STEPS = 24
PAUSES = (0, 0.02, 0.1, 0.4, 1.2)


def all_home(peer: PeerStatus) -> bool:
    return rig.all_home(peer, LINKS)


def test_random_flapping_ends_where_it_began(make_lab: MakeLab) -> None:
    """However the links flapped: the same family, each tunnel at home, nothing in clear."""
    seed = int(os.environ.get("VICI_MIF_SEED", random.randrange(10**6)))
    print(f"VICI_MIF_SEED={seed}")
    dice = random.Random(seed)
    lab = make_lab(capture=True)
    with running(lab, f"{{links: [{', '.join(LINKS)}], hold_down: 1s, spares: 0}}") as controller:
        before = controller.until(all_home)
        down: set[str] = set()
        for step in range(STEPS):
            link = dice.choice(LINKS)
            (lab.link_up if link in down else lab.link_down)(link)
            down ^= {link}
            if step == STEPS // 2:
                controller.kill()
                controller.start()
            time.sleep(dice.choice(PAUSES))
        for link in down:
            lab.link_up(link)

        after = controller.until(all_home)

        assert after.family == before.family
        assert {t.inner for t in after.tunnels if t.children} == {
            t.inner for t in before.tunnels if t.children
        }
        for tunnel in on(after).values():
            eventually(lambda t=tunnel: ping(lab, "10.100.0.2", t.inner[0], count=1) == 1)
        eventually(lambda: len(rig.sas(lab, "gateway")) == len(rig.sas(lab)))
    assert rig.in_clear(lab) == {}
