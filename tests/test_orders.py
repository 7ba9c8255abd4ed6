# SPDX-License-Identifier: Apache-2.0
"""orders.json: kept as given, replaced as a whole, refused where it is not ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import disk
from tests.simulated import World
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.model import Order, OrderKind
from vici_mif.edges import files, orders
from vici_mif.shell import offline

HQ = Order(id=3, kind=OrderKind.DOWN, peer="hq", given="2026-11-20T21:00:00Z")
BRANCH = Order(id=4, kind=OrderKind.DOWN, peer="branch", given="2026-11-20T22:00:00Z", by="swanctl")


def test_kept_as_given(tmp_path: Path) -> None:
    """What is written is what is read."""
    orders.write(tmp_path / "new", [HQ, BRANCH])

    assert orders.read(tmp_path / "new") == (HQ, BRANCH)


def test_no_file_no_orders(tmp_path: Path) -> None:
    """A first start has no orders."""
    assert orders.read(tmp_path) == ()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "vici-mif/orders/2", "orders": []}', '{"schema": 1}']
)
def test_not_ours(tmp_path: Path, text: str) -> None:
    """A file that is no list of orders is named, with what to do about it."""
    (tmp_path / "orders.json").write_text(text)

    with pytest.raises(orders.OrdersError, match=r"orders\.json"):
        orders.read(tmp_path)


def test_replacing_never_shows_a_half(tmp_path: Path) -> None:
    """A failed write leaves the old file and no other."""
    orders.write(tmp_path, [HQ])
    with pytest.raises(TypeError):
        files.replace(tmp_path / "orders.json", None)  # type: ignore[arg-type]

    assert orders.read(tmp_path) == (HQ,)
    assert [file.name for file in tmp_path.iterdir()] == ["orders.json"]


def test_down_and_up_without_a_controller(tmp_path: Path) -> None:
    """An order is kept once, and taken back by its peer's name only."""
    down = OrderKind.DOWN
    offline.keep(tmp_path, down, ["hq"], "", "2026-11-20T21:00:00Z")
    offline.keep(tmp_path, down, ["hq", "branch"], "", "2026-11-20T22:00:00Z")

    assert [(o.id, o.peer) for o in orders.read(tmp_path)] == [(1, "hq"), (2, "branch")]
    assert offline.take_back(tmp_path, down, ["hq"])
    assert not offline.take_back(tmp_path, down, ["hq"])
    assert [o.peer for o in orders.read(tmp_path)] == ["branch"]


# --- a full disk -----------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """64 KB, of which a file of orders takes one page."""
    with disk.small(tmp_path / "disk", "64k") as place:
        yield place


@pytest.mark.real
def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    """0 bytes free: the error names file and cause, the old orders stand, no half file is left."""
    orders.write(small_disk, [HQ])
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(65536))

    with pytest.raises(files.FileError, match=r"orders\.json: No space left on device"):
        orders.write(small_disk, [HQ, BRANCH])
    assert orders.read(small_disk) == (HQ,)
    assert {file.name for file in small_disk.iterdir()} == {"orders.json", "filler"}

    filler.unlink()
    orders.write(small_disk, [HQ, BRANCH])
    assert orders.read(small_disk) == (HQ, BRANCH)


def test_orders_that_could_not_be_kept_are_tried_again() -> None:
    """In force at once, said once, at most 8 attempts in two minutes, kept when there is room."""
    world = World().start().run(20)
    world.disk_full = True
    world.feed(e.OrderGiven(OrderKind.DOWN, "hq", given="2026-11-20T21:00:00Z"))
    before = len(world.actions(a.StoreOrders))
    world.run(120)
    attempts = len(world.actions(a.StoreOrders)) - before + 1
    said = [s for s in world.actions(a.Say) if isinstance(s, a.Say) and "No space" in s.text]

    assert world.hq.state == "down"
    assert 2 <= attempts <= 8
    assert len(said) == 1

    world.disk_full = False
    world.run(120)
    assert world.stored
    stores = len(world.actions(a.StoreOrders))
    world.run(120)
    assert len(world.actions(a.StoreOrders)) == stores
