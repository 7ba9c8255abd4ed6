# SPDX-License-Identifier: Apache-2.0
"""The delay line by itself: who waits how long, what is lost, and in which order it comes out."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from vici_mif.lab.wires.delay import Line, Qualities, Quality

INSIDE = (ip_network("192.168.1.0/24"), ip_network("2001:db8:1::/64"))


def packet(source: str, destination: str) -> bytes:
    src, dst = ip_address(source).packed, ip_address(destination).packed
    return b"\x45" + bytes(11) + src + dst if len(src) == 4 else b"\x60" + bytes(7) + src + dst


UP = packet("192.168.1.100", "203.0.113.1")
DOWN = packet("203.0.113.1", "192.168.1.100")
UP6 = packet("2001:db8:1::100", "2001:db8:100::1")
DOWN6 = packet("2001:db8:100::1", "2001:db8:1::100")


NOTHING = Quality()


def line(up: Quality = NOTHING, down: Quality = NOTHING) -> Line:
    made = Line(INSIDE, random.Random(7791))
    made.qualities = Qualities(up, down)
    return made


@pytest.mark.parametrize(("one", "due"), [(UP, 1.02), (UP6, 1.02), (DOWN, 1.1), (DOWN6, 1.1)])
def test_each_direction_has_its_delay(one: bytes, due: float) -> None:
    made = line(Quality(0.02), Quality(0.1))
    made.take(one, 1.0)

    assert made.left(1.0) == pytest.approx(due - 1)
    assert made.due(due - 0.001) is None
    assert made.due(due) == one
    assert made.left(due) is None


def test_order_is_kept() -> None:
    """Also among those that came at the same moment."""
    made = line(Quality(0.02))
    packets = [UP + bytes([number]) for number in range(50)]
    for one in packets:
        made.take(one, 1.0)

    assert [made.due(2.0) for _ in packets] == packets


def test_a_new_quality_is_for_what_comes_from_now_on() -> None:
    made = line(Quality(0.1))
    made.take(UP, 1.0)
    made.qualities = Qualities()
    made.take(DOWN, 1.01)

    assert made.due(1.01) == DOWN
    assert made.due(1.01) is None
    assert made.due(1.1) == UP


def test_loss_is_of_one_direction() -> None:
    made = line(Quality(loss_percent=25))
    for _ in range(4000):
        made.take(UP, 1.0)
        made.take(DOWN, 1.0)
    out = [made.due(1.0) for _ in range(8000)]

    assert out.count(DOWN) == 4000
    assert 2850 < out.count(UP) < 3150


def test_jitter_stays_within_its_bound() -> None:
    made = line(Quality(0.02, 0.01))
    for _ in range(500):
        made.take(UP, 1.0)

    assert made.due(1.0099) is None
    assert sum(made.due(1.0301) is not None for _ in range(500)) == 500


def test_qualities_survive_their_file(tmp_path: Path) -> None:
    wanted = Qualities(Quality(0.02, 0.001, 3.0), Quality(0.1))
    wanted.write(tmp_path / "line.json")

    assert Qualities.read(tmp_path / "line.json") == wanted
