# SPDX-License-Identifier: Apache-2.0
"""What is told of what happened: by the planner's steps, over the socket, and by a journal."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.journals import Asked, written
from tests.namespace import ip, own_namespace
from tests.simulated import GATEWAY, SPARE, THREE, Gateway, World
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core import notice
from vici_mif.core.model import Order, OrderKind
from vici_mif.core.notice import Notice
from vici_mif.core.status import PathChange
from vici_mif.core.teller import Teller
from vici_mif.shell import bulletin
from vici_mif.shell.bulletin import MOST, Bulletin
from vici_mif.shell.cli import main

ROOT = Path(__file__).parent.parent
PATIENCE = 30.0
E0 = f"eth0/{GATEWAY}"
GIVEN = "2026-11-20T21:00:00Z"


def told(world: World) -> list[Notice]:
    """All that a teller makes of it."""
    teller = Teller(["hq"])
    steps = [x for x in world.kept if isinstance(x, Asked)]
    return [found for step in steps for found in teller.step(step.event, step.actions)]


def texts(world: World, kind: str) -> list[str]:
    return [x.text for x in told(world) if x.kind == kind]


def test_a_family_is_born() -> None:
    """One authentication, the rest cloned, a child each; the states of the paths and the peer."""
    world = World(text=SPARE).start().run(30)

    assert texts(world, "charon") == ["charon 6.1.0, with the series"]
    assert texts(world, "authentication") == ["authenticated on eth0/203.0.113.1 as IKE SA #1"]
    assert len(texts(world, "clone")) == 3
    assert "IKE SA #3 was cloned from #1, without authentication" in texts(world, "clone")
    assert len(texts(world, "child")) == 4
    assert "eth1/203.0.113.1 ready -> active" in texts(world, "path")
    assert texts(world, "said")[-1] == "hq: up"
    assert {x.peer for x in told(world) if x.kind not in {"charon", "link"}} == {"hq"}


def test_moves_are_told_and_renewed_pins_are_not() -> None:
    """From which path to which; hours of renewals say nothing."""
    world = World(text=SPARE).start().run(30)
    before = texts(world, "move")
    world.run(600)
    assert texts(world, "move") == before
    world.link_down("eth0")
    world.run(3)
    moved = [x for x in told(world) if x.kind == "move" and x.text not in before]

    assert {x.ike_id for x in moved} == {1, 7}
    assert {x.before for x in moved} == {"eth0/203.0.113.1"}
    assert moved[0].text == "IKE SA #1 moved from eth0/203.0.113.1 to eth1/203.0.113.1"
    assert texts(world, "link") == ["link eth0 down"]


def test_refusals_have_their_reason() -> None:
    """A gateway that gives one clone, one that gives nobody anything."""
    world = World(text=THREE, gateway=Gateway(max_clones=1)).start().run(30)
    refused = [x for x in told(world) if x.kind == "refusal"]
    assert refused
    assert {x.reason for x in refused} == {"limit"}
    assert refused[0].text.startswith("clone of IKE SA #1: limit")
    assert refused[0].level == "warning"

    world = World(text=THREE, gateway=Gateway(refuses=True)).start().run(30)
    refused = [x for x in told(world) if x.kind == "refusal"]
    assert refused[0].text == "authentication on eth0/203.0.113.1: peer-refused"


def test_failures_have_their_reason() -> None:
    """An authentication that nobody answers, on one path after the other."""
    world = World(text=THREE)
    world.dead = set(world.links)
    world.start().run(400)
    failed = [x for x in told(world) if x.kind == "failure"]

    assert failed
    assert failed[0].text.startswith("authentication on eth")
    assert failed[0].reason == "timeout"


def test_an_end_says_whose_it_was() -> None:
    """The peer's delete, an operator's terminate; nothing of other connections."""
    world = World(text=SPARE).start().run(30)
    world.peer_deletes(3)
    other = replace(world.sas[1], unique_id=99, name="another")
    world.feed(e.SaClosed(other))
    world.swanctl_terminate()
    world.run(10)
    ends = [(x.ike_id, x.reason) for x in told(world) if x.kind == "closed"]

    assert ends[0] == (3, "the peer")
    assert set(ends[1:]) >= {(1, "this end")}
    assert 99 not in {number for number, _ in ends}
    assert texts(world, "order") == ["hq: down by swanctl"]


def test_addresses_that_no_path_has_any_more_are_forgotten() -> None:
    """A lease with another address each day, and a tunnel that still stands on the first one."""
    world = World(text=THREE).start().run(10)
    teller, old = Teller(["hq"]), world.sas[1]
    teller.step(e.SaSeen(old), ())

    def placed(local: str, state: str = "ready") -> list[Notice]:
        change = PathChange(
            peer="hq", path=E0, link="eth0", local=local, remote=GATEWAY, state=state, why=""
        )
        return teller.step(e.Ticked(), [a.PathsChanged("t", (change,))])

    for number in range(2, 202):
        placed(f"198.18.0.{number}")
    moved = a.Migrate("m", 1, replace(old.pair, local=ip_address("198.18.0.201")), 30)
    teller.step(e.Ticked(), [moved])
    placed("198.18.0.202")

    assert len(teller._paths) == 3
    (failed,) = teller.step(e.ActionFailed("m", "timeout"), ())
    assert failed.text == f"move of IKE SA #1 to {E0}: timeout"
    (closed,) = teller.step(e.SaClosed(old), ())
    assert closed.path == E0
    teller.step(e.SaGone(1), ())
    placed("198.18.0.202", "gone")
    assert teller._paths == {}


def test_orders_come_and_go() -> None:
    """Also those of before this start, which are told when they end."""
    world = World(text=SPARE)
    world.start().run(30)
    world.feed(e.OrderGiven(OrderKind.DRAIN, "hq", GIVEN, "eth1"))
    world.run(5)
    world.feed(e.OrderCleared(kind=OrderKind.DRAIN, peer="hq", path="eth1"))
    world.run(5)

    assert texts(world, "order") == ["hq eth1: drained by operator", "hq eth1: order drain is over"]


# --- in memory ------------------------------------------------------------------------


def fed(kept: Bulletin, number: int, begin: int = 0) -> None:
    for n in range(begin, begin + number):
        kept.step(e.CharonGone(f"reason {n}"), ())


def ask(kept: Bulletin, **question: object) -> dict[str, object]:
    return asyncio.run(kept.asked({"ask": "events", **question}))


def test_the_last_ones_are_kept() -> None:
    """A thousand; who was away longer is told how many are gone."""
    kept = Bulletin(["hq"])
    fed(kept, MOST + 7)
    first = ask(kept, last=3)
    assert [x["number"] for x in first["events"]] == [MOST + 5, MOST + 6, MOST + 7]  # type: ignore[attr-defined,index]
    late = ask(kept, run=first["run"], after=2)

    assert late["missed"] == 5
    assert len(late["events"]) == MOST  # type: ignore[arg-type]
    assert ask(kept, last=0)["events"] == []


def test_who_waits_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And after a while that there was nothing."""
    kept = Bulletin(["hq"])
    run = ask(kept)["run"]

    async def waiting() -> tuple[dict[str, object], dict[str, object]]:
        one = asyncio.create_task(kept.asked({"ask": "events", "run": run, "after": 0}))
        two = asyncio.create_task(kept.asked({"ask": "events", "run": run, "after": 0}))
        await asyncio.sleep(0)
        kept.step(e.CharonGone("refused"), ())
        return await one, await two

    for answer in asyncio.run(waiting()):
        assert [x["text"] for x in answer["events"]] == ["no charon: refused"]  # type: ignore[attr-defined]
    monkeypatch.setattr(bulletin, "WAIT_DELAY", 0.01)
    assert ask(kept, run=run, after=1)["events"] == []


def test_another_controller_tells_from_its_beginning() -> None:
    """Numbers of its predecessor mean nothing to it."""
    before, after = Bulletin(["hq"]), Bulletin(["hq"])
    fed(before, 5)
    fed(after, 2)
    answer = ask(after, run=ask(before)["run"], after=5, last=sys.maxsize)

    assert [x["number"] for x in answer["events"]] == [1, 2]  # type: ignore[attr-defined]


def test_questions_that_are_none() -> None:
    """What is no number is refused."""
    assert ask(Bulletin(["hq"]), last="all")["ok"] is False
    assert ask(Bulletin(["hq"]), after="x")["ok"] is False


# --- the command ------------------------------------------------------------------------


class Machine:
    """A controller without a charon, in a namespace of its own, and who watches it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "config.yaml"
        self.file.write_text(
            "version: 1\nconnections:\n  hq: {links: [eth0]}\n"
            f"daemon: {{vici: {directory}/none, run_dir: {directory}/run, "
            f"state_dir: {directory}/state, journal: {directory}/journal}}\n"
        )
        self.children: list[subprocess.Popen[str]] = []

    def begin(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-u", "-m", "vici_mif", *words, "-c", str(self.file)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        child = subprocess.Popen(argv, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]
        self.children.append(child)
        return child  # type: ignore[no-any-return]

    def command(self, *words: str) -> str:
        child = self.begin(*words)
        return child.communicate(timeout=PATIENCE)[0]  # type: ignore[no-any-return]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with own_namespace():
        found = Machine(tmp_path)
        try:
            yield found
        finally:
            for child in found.children:
                child.kill()
                child.communicate()


def heard(child: subprocess.Popen[str], wanted: Callable[[Notice], bool]) -> Notice:
    """The next one that is meant."""
    assert child.stdout
    for line in child.stdout:
        found = Notice.model_validate_json(line)
        if wanted(found):
            return found
    raise AssertionError("it ended")


def test_following(machine: Machine) -> None:
    """Links, orders and refusals as they come; a controller that is killed has a successor."""
    controller = machine.begin("run")
    until_asked(machine)
    child = machine.begin("events", "--follow", "--json")
    assert heard(child, lambda x: x.kind == "charon").level == "warning"
    ip("link add eth0 type veth peer name far0")
    ip("link set eth0 up")
    ip("link set far0 up")
    assert heard(child, lambda x: x.path == "eth0" and x.state == "up").kind == "link"
    machine.command("path", "drain", "hq", "eth0")
    assert heard(child, lambda x: x.kind == "order").text == "hq eth0: drained by operator"
    machine.command("path", "undrain", "hq", "eth9")
    refused = heard(child, lambda x: x.kind == "refusal")
    assert refused.text.startswith("undrain: ")
    controller.kill()
    controller.communicate()
    machine.begin("run")
    again = heard(child, lambda x: x.kind == "charon")

    assert again.number < refused.number


def test_the_last_of_a_controller(machine: Machine) -> None:
    """Without following: a line each, for people; as many as wanted."""
    machine.begin("run")
    until_asked(machine)
    machine.file.write_text("version: 2\n")
    place = ["--run-dir", str(machine.file.parent / "run")]
    machine.command("reload", *place)
    said = machine.command("events", "-n", "1", *place)

    assert " refusal: ! reload: " in said
    assert said.count("\n") == 1
    assert f"{machine.file}:1:10: version: expected 1, found 2" in said


def until_asked(machine: Machine) -> None:
    end = time.monotonic() + PATIENCE
    while "charon" not in machine.command("events"):
        assert time.monotonic() < end


def test_nobody_to_ask(tmp_path: Path) -> None:
    """Exit status 3."""
    assert main(["events", "--run-dir", str(tmp_path)]) == 3


def test_a_journal_tells_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`replay --events`: what happened, in the words of `events`."""
    world = World(text=SPARE).start().run(30)
    file = tmp_path / "journal.jsonl"
    file.write_text("".join(written(world.kept)))
    assert main(["replay", "--events", str(file)]) == 0
    *lines, verdict = capsys.readouterr().out.splitlines()

    assert verdict.startswith("the same actions")
    assert [line.partition(" ")[2].partition(": ")[2] for line in lines] == [
        ("! " if x.level == "warning" else "") + x.text for x in told(world)
    ]


def test_the_schema_is_current() -> None:
    """`scripts/schemas` writes it."""
    kept = json.loads((ROOT / "docs/vici-mif-event.schema.json").read_text())

    assert kept == notice.schema()


@pytest.mark.parametrize("kind", list(OrderKind))
def test_every_kind_of_order_can_be_told(kind: OrderKind) -> None:
    """Also one that came in since: who is revoked at a gateway is named."""
    order = Order(1, kind, "", GIVEN, identity="eve" if kind is OrderKind.REVOKE_IDENTITY else "")
    (only,) = Teller(["hq"]).step(None, [a.StoreOrders("t", (order,))])

    assert only.kind == "order"
    assert only.reason == kind
    assert ("eve" in only.text) == (kind is OrderKind.REVOKE_IDENTITY)
