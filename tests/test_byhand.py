# SPDX-License-Identifier: Apache-2.0
"""`path`, `tunnel` and `peer` as commands: over the real socket, to a simulated world."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.simulated import GATEWAY, World
from tests.test_cli import answering
from vici_mif.core.model import OrderKind
from vici_mif.edges import orders
from vici_mif.edges.control import Answer, Question, refusal
from vici_mif.shell import questions
from vici_mif.shell.cli import main

E0, E1 = (f"eth{i}/{GATEWAY}" for i in range(2))
GIVEN = "2026-11-20T21:00:00Z"


@contextmanager
def controller(world: World, run_dir: Path) -> Iterator[None]:
    """The sockets of a controller whose time goes on with every question, in a thread."""

    async def handle(question: Question) -> Answer:
        world.run(0.3)
        if question["ask"] not in {"status", "orders"}:
            event = questions.order(question, GIVEN)
            if said := world.planner.refuses(event):
                return refusal(said)
            world.feed(event)
        return {"ok": True, "status": world.status.model_dump(mode="json", by_alias=True)}

    with answering(run_dir, handle):
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    up = World().start().run(5)
    with controller(up, tmp_path):
        yield up


@pytest.fixture
def here(tmp_path: Path) -> list[str]:
    """Options that lead to the test's own controller and files."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "version: 1\nconnections:\n  hq: {links: [eth0, eth1, eth2]}\n"
        f"daemon: {{run_dir: {tmp_path}, state_dir: {tmp_path}, vici: {tmp_path}/vici}}\n"
    )
    return ["-c", str(file)]


Output = pytest.CaptureFixture[str]


def test_drain_and_undrain(world: World, here: list[str], capsys: Output) -> None:
    """The command ends when the tunnel has left."""
    assert main(["path", "drain", "hq", "eth0", *here]) == 0
    assert capsys.readouterr().out == f"drained: {E0}\n"
    assert world.seats()[E0] != E0

    assert main(["path", *here, "undrain", E0]) == 64
    assert "eth0 (order 1)" in capsys.readouterr().err
    assert main(["path", "undrain", "eth0", *here]) == 0
    world.run(10)
    assert world.seats()[E0] == E0


def test_a_drain_that_waits_is_said(world: World, here: list[str], capsys: Output) -> None:
    """Exit 1, and the reason."""
    for link in ("eth1", "eth2"):
        world.link_down(link)

    assert main(["path", "drain", "eth0", *here]) == 1
    assert f"{E0}: the drain waits: no other path works" in capsys.readouterr().err


def test_prefer_and_clear(world: World, here: list[str], capsys: Output) -> None:
    """With and without the peer's name."""
    assert main(["path", "prefer", "eth1", *here]) == 0
    assert main(["path", "prefer", "hq", "eth2", *here]) == 0
    assert [o.path for o in world.status.orders] == ["eth2"]
    assert main(["path", "prefer", "--clear", *here]) == 0
    assert world.status.orders == ()
    assert main(["path", "prefer", "hq", "--clear", *here]) == 64
    assert main(["path", "prefer", *here]) == 64
    assert "no prefer of any path is in force" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["drain", "prefer"])
def test_an_unknown_path(world: World, here: list[str], capsys: Output, word: str) -> None:
    """64, with the names that are known."""
    assert main(["path", word, "eth9", *here]) == 64
    assert E1 in capsys.readouterr().err
    assert world.status.orders == ()


def test_tunnel_revoke_says_what_was_done(world: World, here: list[str], capsys: Output) -> None:
    """Which IKE SA went, when, and which one took its place."""
    old = next(t.ike_id for t in world.hq.tunnels if t.home == E1)

    assert main(["tunnel", "revoke", "eth1", *here]) == 0
    gone, new = capsys.readouterr().out.splitlines()
    assert gone.startswith(f"{E1}: IKE SA #{old} was closed, its keys are gone, 20")
    now = next(t.ike_id for t in world.hq.tunnels if t.home == E1)
    assert new.startswith(f"{E1}: new keys in IKE SA #{now}, 20")
    assert main(["tunnel", "revoke", "eth9", *here]) == 64


def test_peer_revoke(world: World, here: list[str], capsys: Output) -> None:
    """All of them, then all anew."""
    assert main(["peer", "revoke", "hq", *here]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [("closed" in line, "new keys" in line) for line in lines] == [(True, False)] * 3 + [
        (False, True)
    ] * 3


def test_orders_lists_the_path(world: World, here: list[str], capsys: Output) -> None:
    """And `orders clear` takes it back by number."""
    assert main(["path", "drain", "eth0", *here]) == 0
    capsys.readouterr()
    assert main(["orders", *here]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["1", "drain", "hq", "eth0"]
    assert main(["orders", "clear", "1", *here]) == 0
    assert main(["orders", "clear", "1", *here]) == 64


def test_without_a_controller(here: list[str], tmp_path: Path, capsys: Output) -> None:
    """Kept for the next start, which exit 3 says; what makes no sense is refused as well."""
    assert main(["path", "drain", "eth0", *here]) == 3
    assert main(["path", "prefer", "eth1", *here]) == 3
    kept = [(o.kind, o.peer, o.path) for o in orders.read(tmp_path)]
    assert kept == [(OrderKind.DRAIN, "hq", "eth0"), (OrderKind.PREFER, "hq", "eth1")]
    assert main(["path", "prefer", "--clear", *here]) == 3
    assert main(["path", "undrain", "eth0", *here]) == 3
    assert orders.read(tmp_path) == ()
    assert main(["path", "undrain", "eth0", *here]) == 64
    assert main(["path", "drain", "eth9", *here]) == 64
    assert main(["path", "drain", "nobody", "eth0", *here]) == 64
    assert "known: hq" in capsys.readouterr().err


def test_revoke_without_controller_and_charon(here: list[str], capsys: Output) -> None:
    """There is nobody to ask: said, not kept."""
    assert main(["tunnel", "revoke", "eth0", *here]) == 1
    assert "vici" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["path"], ["tunnel"], ["peer", "revoke"], ["path", "drain"]])
def test_usage(words: list[str]) -> None:
    """64 where a word is missing."""
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 64
