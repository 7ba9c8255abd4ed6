# SPDX-License-Identifier: Apache-2.0
"""A crash in the middle of an action leaves nothing behind: not in charon, not in the kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, all_home
from tests.real.traffic import FAR
from vici_mif.lab.lab import Lab

CONFIG = "{links: [eth0, wlan0], hold_down: 2s}"
FAMILY = 3
"""One tunnel for each uplink and a spare."""

ORPHAN_DELAY = 120.0
"""Seconds after which nothing of a crash may be left at either end."""

DELAYS = (0.0, 0.003, 0.012)
"""Before the request is out, before it is answered, and after that."""


class Mortal(Controller):
    """A controller that kills itself in the middle of an action."""

    def die(self, nth: int, delay: float, kind: str = "any", act: tuple[str, ...] = ()) -> str:
        """Run it until it dies, and say where; empty if it never came so far."""
        script = [sys.executable, "-m", "tests.real.mortal", str(nth), str(delay), kind]
        child = self.lab.client.spawn(
            "mortal",
            [*script, "run", "-c", str(self.file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PYTHONPATH": os.getcwd()},
        )
        try:
            if act:
                eventually(lambda: self.command("status", "--wait", "up").returncode == 0, 60)
                self.command(*act)
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return ""
        assert child.returncode == -signal.SIGKILL
        assert child.stdout is not None
        return child.stdout.read().strip()


@pytest.fixture
def mortal(make_lab: MakeLab) -> Iterator[Mortal]:
    lab = make_lab(uplinks=2)
    controller = Mortal(lab, CONFIG)
    yield controller
    if controller.runs:
        controller.stop()


def kernel(lab: Lab) -> dict[str, list[str]]:
    """Everything in which something of ours could be left."""
    asked = {
        f"ip {version} {what}": ["ip", version, *what.split()]
        for version in ("-4", "-6")
        for what in ("rule", "route show table all", "addr")
    }
    asked |= {"ip link": ["ip", "-o", "link"], "nft": ["nft", "list", "ruleset"]}
    return {name: sorted(lab.client.exec(argv).stdout.splitlines()) for name, argv in asked.items()}


def same_at_both_ends(lab: Lab) -> bool:
    """One family of the right size, and each end knows the same members as the other."""
    here, there = rig.sas(lab), rig.sas(lab, "gateway")
    known = [
        {(sa.spi_in, sa.spi_responder) for sa in end if sa.established} for end in (here, there)
    ]
    return (
        known[0] == known[1]
        and len(here) == len(there) == FAMILY
        and len({sa.family for sa in here}) == 1
    )


def settled(lab: Lab, since: float) -> float:
    """Seconds until nothing is left of a crash at either end."""
    eventually(lambda: same_at_both_ends(lab), within=ORPHAN_DELAY)
    return time.monotonic() - since


def nothing_left(lab: Lab, before: dict[str, list[str]]) -> None:
    eventually(lambda: rig.sas(lab) == [] and rig.sas(lab, "gateway") == [])
    eventually(lambda: kernel(lab) == before)


@pytest.mark.parametrize(
    "delay", [DELAYS[1], *(pytest.param(d, marks=pytest.mark.long) for d in DELAYS[::2])]
)
def test_in_mid_clone(mortal: Mortal, delay: float) -> None:
    """The request is out, its event is not here: the next controller uses what became of it."""
    lab = mortal.lab
    assert "Clone" in mortal.die(1, delay, "Clone")
    died_at = time.monotonic()
    assert len(rig.sas(lab)) >= 1
    mortal.start()
    peer = mortal.until(all_home)

    print(f"killed {delay:g} s into a clone: no orphan after {settled(lab, died_at):.1f} s")
    assert peer.authentications == 0
    eventually(lambda: all(rig.ping(lab, FAR, a, count=1) for a in rig.inner(mortal.peer)))


@pytest.mark.long
@pytest.mark.parametrize("host", ["client", "gateway"])
def test_a_charon_dies_in_mid_clone(mortal: Mortal, host: str) -> None:
    """Its SAs are gone; what the other end has of them goes too."""
    lab = mortal.lab
    mortal.start()
    mortal.until(all_home)
    root = rig.sas(lab)[0]
    rig.request(lab, "clone", {"ike-id": root.unique_id, "timeout": "-1"})
    lab.charons[host].kill()
    died_at = time.monotonic()
    lab.charons[host].start()

    took = settled(lab, died_at)
    print(f"charon of the {host} killed in mid-clone: no orphan after {took:.1f} s")
    mortal.until(all_home)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_after_each_of_the_first_actions(mortal: Mortal) -> None:
    """Killed in each of them: `down` alone leaves nothing, and a start makes all of it whole."""
    lab, before = mortal.lab, kernel(mortal.lab)
    seen = []
    for nth in range(1, 17):
        delay = DELAYS[nth % len(DELAYS)]
        said = mortal.die(nth, delay)
        if not said:
            break
        seen.append(said)
        assert mortal.command("down").returncode == 0
        nothing_left(lab, before)
        assert mortal.command("up").returncode == 3  # there is no controller

        assert mortal.die(nth, delay)
        mortal.start()
        mortal.until(all_home)
        died_at = time.monotonic()
        print(f"{nth}: {said}; whole after {settled(lab, died_at):.1f} s")
        assert mortal.command("down").returncode == 0
        nothing_left(lab, before)
        mortal.stop()
        mortal.command("up")
    assert len(seen) >= 12, seen


@pytest.mark.long
@pytest.mark.timeout(600)
def test_in_the_middle_of_down(mortal: Mortal) -> None:
    """The order is kept before anything follows from it, so the next start ends what was begun."""
    lab, before = mortal.lab, kernel(mortal.lab)
    for nth in range(1, 6):
        said = mortal.die(nth, DELAYS[nth % len(DELAYS)], "StoreOrders", ("down",))
        if not said:
            break
        mortal.start()
        mortal.until(lambda p: p.state == "down" and not p.tunnels)
        print(f"{nth}: {said}")
        nothing_left(lab, before)
        mortal.stop()
        mortal.command("up")
    assert nth > 3
