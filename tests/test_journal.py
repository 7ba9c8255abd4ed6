# SPDX-License-Identifier: Apache-2.0
"""The journal as a format: what is written is read as the same, and decided as the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, deque
from ipaddress import IPv4Address
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journals import (
    differing,
    replayed,
    start,
    written,
)
from tests.simulated import SPARE, World
from tests.test_planner_properties import connections, gateways, happen, steps, texts
from tests.thorough import thorough
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core import requests
from vici_mif.core.family import pins
from vici_mif.core.journal import codec, lines, state
from vici_mif.core.journal.codec import CodecError
from vici_mif.core.journal.replay import ReplayError, Skipped
from vici_mif.core.model import FromEnvironment, FromFile, OrderKind, Verdict
from vici_mif.core.status import PathChange
from vici_mif.core.wish.config import Config, Source, parse

DOCS = Path(__file__).parent.parent / "docs"

INLINE = """
version: 1
connections:
  hq:
    links: [eth0, {match: "wwan*", cost: metered, probe: fast}]
    remotes: {learn: [203.0.113.0/24]}
    pairs: {deny: [[eth0, 203.0.113.2]]}
    hold_down: 0.3s
    probe: {profile: fast, targets: [10.1.0.1], loss: 20%, loss_recovery: 2.3%}
    connection:
      remote_addrs: [gw.example.org]
      vips: ["0.0.0.0", "::"]
      local-1: {auth: eap, id: laptop.example.org, certs: client.pem}
      children: {net: {remote_ts: 10.0.0.0/8, esp_proposals: "aes128gcm16, aes256gcm16"}}
      secrets:
        eap-hq: {id: laptop, secret: {env: HQ_PASSWORD}}
daemon: {tables: 1000-1099, rules: 100-119, hooks: {on_path_change: "tell --token geheim"}}
"""


def config(text: str) -> Config:
    return parse([Source("config.yaml", text)])


sources = st.builds(FromFile, st.text()) | st.builds(FromEnvironment, st.text())
single = st.text() | sources
values = st.deferred(lambda: single | st.lists(single).map(tuple) | sections)
sections = st.dictionaries(st.text(), values, max_size=3)
configs = st.sampled_from([config(SPARE), config(INLINE.replace(" --token geheim", ""))])


def _any(kind: type) -> st.SearchStrategy[object]:
    """Whatever its fields may hold."""
    special = {"message": sections, "config": configs}
    names = codec.shape(kind).model_fields
    own = {name: special[name] for name in names if name in special}
    required = {name: st.text() for name, field in names.items() if own and field.is_required()}
    return st.builds(kind, **(required | own))


st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(
    PathChange,
    st.builds(
        PathChange,
        schema_=st.just("vici-mif/path-change/1"),
        **{
            name: st.text() if field.annotation is str else st.none() | st.text()
            for name, field in PathChange.model_fields.items()
            if name != "schema_"
        },
    ),
)


@pytest.mark.parametrize("kind", get_args(e.Event), ids=lambda kind: kind.__name__)
def test_every_event_comes_back(kind: type) -> None:
    """With any fields that its types allow."""

    @thorough(15)
    @given(_any(kind))
    def there_and_back(event: e.Event) -> None:
        assert codec.event(json.loads(json.dumps(codec.dump(event)))) == event

    there_and_back()


@pytest.mark.parametrize("kind", get_args(a.Action), ids=lambda kind: kind.__name__)
def test_every_action_comes_back(kind: type) -> None:
    """With any fields that its types allow, messages of charon among them."""

    @thorough(15)
    @given(_any(kind))
    def there_and_back(action: a.Action) -> None:
        assert codec.action(json.loads(json.dumps(codec.dump(action)))) == action

    there_and_back()


WRONG = {
    "nothing": ({}, "expected one event by its name"),
    "two": ({"Ticked": {}, "Stopping": {}}, "expected one event by its name"),
    "an unknown event": ({"Tocked": {}}, "unknown event `Tocked`"),
    "an action": ({"Unpin": {"tag": "t", "ike_id": 1}}, "unknown event `Unpin`"),
    "an unknown field": ({"SaGone": {"unique_id": 1, "x": 1}}, "SaGone.x: Extra inputs"),
    "a missing field": ({"SaGone": {}}, "SaGone.unique_id: Field required"),
    "a text for a number": ({"SaGone": {"unique_id": "1"}}, "SaGone.unique_id: Input should be"),
    "a number for a time": ({"Woke": {"slept_delay": "5s"}}, "Woke.slept_delay: Input should be"),
    "an address that is none": (
        {"NameResolved": {"name": "gw", "addresses": ["203.0.113.300"]}},
        "NameResolved.addresses.0",
    ),
    "an unknown field inside": (
        {"LinksSeen": {"links": [{"name": "eth0", "colour": "red"}]}},
        "LinksSeen.links.0",
    ),
    "an unknown order": (
        {"OrderGiven": {"kind": "dance", "peer": "hq", "given": ""}},
        "OrderGiven.kind: Input should be",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_what_is_none_of_ours_is_refused(mistake: str) -> None:
    """Neither guessed nor left out."""
    data, said = WRONG[mistake]
    with pytest.raises(CodecError) as error:
        codec.event(data)

    assert str(error.value).startswith(said)


@pytest.mark.parametrize("text", [SPARE, INLINE])
def test_a_configuration_comes_back(text: str) -> None:
    """As it was parsed: times, shares, ranges and prefixes are exact."""
    before = config(text.replace(" --token geheim", ""))

    assert codec.model_load(Config, json.loads(json.dumps(codec.model_dump(before)))) == before


def test_nothing_secret_is_written() -> None:
    """A hook's arguments may be; of inline secrets there is only where they are."""
    kept = config(INLINE)
    text = start(kept, 0.0, of=World(text=SPARE).rooms) + json.dumps(codec.model_dump(kept))
    event = codec.dump(e.ConfigRead(kept))

    assert "geheim" not in text + json.dumps(event)
    assert codec.model_dump(kept)["daemon"]["hooks"] == {"on_path_change": ["tell", "(hidden)"]}
    assert "HQ_PASSWORD" in text


def story() -> World:
    """A family that lost a link, was drained, and saw charon go and come."""
    world = World(text=SPARE + "daemon: {hooks: {on_path_change: tell}}\n")
    world.start().run(30)
    world.link_down("eth0")
    world.run(3)
    world.feed(e.OrderGiven(OrderKind.DRAIN, "hq", "2026-11-20T21:00:00Z", "eth1"))
    world.run(20)
    world.link_up("eth0")
    world.lose_charon(with_sas=True)
    world.run(5)
    world.connect()
    return world.run(60)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """Its journal."""
    return written(story().kept)


def test_the_same_is_decided_again(told: list[str]) -> None:
    """Hundreds of steps with all their actions."""
    assert len(told) > 200
    assert differing(told) == []


@pytest.mark.parametrize("seed", ["1", "2"])
def test_nothing_hangs_on_the_order_of_sets(told: list[str], tmp_path: Path, seed: str) -> None:
    """Another process hashes texts in another way, and decides the same."""
    file = tmp_path / "journal.jsonl"
    file.write_text("".join(told))
    argv = [sys.executable, "-m", "vici_mif", "replay", "-q", str(file)]
    env = os.environ | {"PYTHONHASHSEED": seed}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"the same actions in {len(told) - 1} steps\n"


@pytest.mark.parametrize(
    ("module", "constant", "value"),
    [(requests, "BACKOFF_DELAYS", (1.5,)), (pins, "PIN_DELAY", 31)],
    ids=["back-off", "pins"],
)
def test_a_changed_planner_is_noticed(
    told: list[str], monkeypatch: pytest.MonkeyPatch, module: object, constant: str, value: object
) -> None:
    """A constant of the planner's is another one: some step has other actions."""
    monkeypatch.setattr(module, constant, value)

    assert differing(told)


@thorough(12)
@given(texts, connections, gateways, steps, st.floats(0.1, 0.9))
def test_any_history_is_decided_again(
    text: str, connection: object, gateway: object, happenings: list[object], share: float
) -> None:
    """From its beginning, and from the planner's state in the middle of it."""
    world = World(text=text, connection=connection, gateway=gateway).start()  # type: ignore[arg-type]
    split = int(len(happenings) * share)
    middle, head = 0, ""
    for number, step in enumerate(happenings):
        if number == split:
            middle = len(world.kept)
            head = start(world.planner.config, world.now, "rotated", world.rooms)
        happen(world, step)  # type: ignore[arg-type]
    found = written(world.kept)

    assert differing(found) == []
    if head:
        assert differing([head, *found[middle:]]) == []
        assert differing([*found[:middle], head, *found[middle:]]) == []


def test_questions_change_nothing() -> None:
    """What is not a step need not be noted: status, deadline, whether an order is taken."""
    world = World(text=SPARE).start().run(30)
    before = state.dump(world.rooms)
    assert world.hq.state == "up"
    world.planner.next_deadline()
    world.planner.refuses(e.OrderGiven(OrderKind.DRAIN, "hq", "", "eth0"))
    world.planner.refuses(e.OrderCleared(id=7))

    assert state.dump(world.rooms) == before


def test_a_state_names_classes_of_the_core_only() -> None:
    """Who sends a journal cannot have anything else made."""
    for name in (
        "requests:Book.tag",
        "wish.document:yaml.Node",
        "os:system",
        "model:Nothing",
    ):
        with pytest.raises(CodecError):
            state.load({"is": name, "number": 1, "fields": {}})


def test_what_cannot_be_kept_is_an_error() -> None:
    """A function in the planner would be lost."""
    taken = state.take({"hook": lambda: None})
    with pytest.raises(TypeError, match="cannot stand in a state"):
        taken.written()


def test_collections_come_back() -> None:
    """As what they are, and the same one where it was the same."""
    shared = deque([1, 2], maxlen=2)
    before = {"a": shared, "b": [shared, Counter("aab")], ("c", 1): {Verdict.GOOD, Verdict.POOR}}
    after = state.load(json.loads(json.dumps(state.dump(before))))

    assert after == before
    assert after["a"] is after["b"][0]
    assert after["a"].maxlen == 2
    assert type(after["b"][1]) is Counter


def test_a_state_is_of_its_moment() -> None:
    """It is written later, and the planner has gone on by then."""
    world = World(text=SPARE).start().run(30)
    before, taken = state.dump(world.rooms), state.take(world.rooms)
    world.link_down("eth0")
    world.run(20)

    assert taken.written() == before
    assert state.dump(world.rooms) != before


def test_a_file_that_begins_in_the_middle(told: list[str]) -> None:
    """Nothing can be said of lines before one where a replay may begin."""
    outcomes = replayed(told[50:])

    assert {type(x) for x in outcomes} == {Skipped}


def test_a_step_that_is_missing(told: list[str]) -> None:
    """It is not passed over."""
    with pytest.raises(ReplayError, match=r"journal.jsonl:31: steps 30 to 30 are missing"):
        replayed([*told[:30], *told[31:]])


def test_a_line_that_was_cut(told: list[str]) -> None:
    """A controller that was killed while it wrote: its successor begins a line of its own."""
    half = told[100][:40] + "\n"

    assert [type(x) for x in replayed([*told[:100], half])][-1] is Skipped
    assert differing([*told[:100], half, *told]) == []
    with pytest.raises(ReplayError, match=r"journal.jsonl:101: not a line of JSON"):
        replayed([*told[:100], half, *told[100:]])


def test_a_state_that_is_another_one(told: list[str]) -> None:
    """Where the journal goes on in a new file it says what the planner knew."""
    other = start(config(SPARE), 0.0, "rotated", World(text=SPARE).rooms)
    with pytest.raises(ReplayError, match=r":61: the controller's state is another one"):
        replayed([*told[:60], other, *told[60:]])


def test_what_was_lost_is_passed_over(told: list[str]) -> None:
    """After a full disk it goes on from the state of then."""
    world = World(text=SPARE).start().run(10)
    head = start(world.planner.config, world.now, "resumed", world.rooms)
    begin = len(world.kept)
    world.link_down("eth0")
    world.run(20)
    after = written(world.kept)[begin:]

    assert differing([*told[:60], head, *after]) == []
    assert len(replayed([*told[:60], head, *after])) == 61 + len(after)


def test_a_state_of_another_version(told: list[str]) -> None:
    """Its inside is another one; a journal from the beginning can be tried."""
    head = start(config(SPARE), 0.0, "rotated", World(text=SPARE).rooms)
    old = json.dumps(json.loads(head) | {"version": "0.0.1"})
    with pytest.raises(ReplayError, match=r":1: a state of version 0.0.1; this is"):
        replayed([old, *told[1:]])

    assert differing([*told[:60], old, *told[60:]]) == []


def test_a_planner_that_breaks(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it broke then and breaks now it is the same; where it breaks only once it is not."""
    mistake = "ValueError: a mistake of ours"

    def broken(*_: object) -> None:
        raise ValueError("a mistake of ours")

    with monkeypatch.context() as patched:
        patched.setattr("vici_mif.core.peers.peer.Peer.observe", broken)
        first = differing(told)[0]
        at = first.line.number - 1
        last = {key: value for key, value in json.loads(told[at]).items() if key != "actions"}
        noted = [*told[:at], json.dumps(last | {"raised": mistake})]

        assert first.raised == mistake
        assert differing(noted) == []
    (now,) = differing(noted)
    assert (now.step.raised, now.raised) == (mistake, "")


def test_two_kinds_of_line_and_nothing_else() -> None:
    """Another object is none of ours."""
    with pytest.raises(CodecError, match="neither a start nor a step"):
        lines.parse('{"colour": "red"}')


def test_the_schema_is_current() -> None:
    """`scripts/schemas` writes it."""
    assert json.loads((DOCS / "vici-mif-journal.schema.json").read_text()) == lines.schema()
    names = lines.schema()["$defs"]["Step"]["properties"]["event"]["properties"]
    assert names.keys() == codec.EVENTS.keys()


def test_a_story_needs_little_room(told: list[str]) -> None:
    """Defaults are left out: a step is a few hundred bytes."""
    assert sum(map(len, told[1:])) / len(told[1:]) < 700


def test_an_address_is_a_text() -> None:
    """What people read."""
    event = e.NameResolved("gw", (IPv4Address("203.0.113.1"),))

    assert codec.dump(event) == {"NameResolved": {"name": "gw", "addresses": ["203.0.113.1"]}}
