# SPDX-License-Identifier: Apache-2.0
"""The charon edge against answers that no charon should give, and against too much of them.

Every test names its bound: attempts in a time, exchanges, or bytes.
"""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.simulated import World
from tests.speaker import (
    ANSWER,
    EVENT,
    Speaker,
    answer,
    connection,
    event,
    followed,
    sa,
    segment,
    until,
)
from vici_mif.core import actions, events
from vici_mif.edges.charon import BACKLOG, Charon

Fact = TypeVar("Fact")
MB = 1024 * 1024


def of(told: list[events.Event], kind: type[Fact]) -> list[Fact]:
    return [fact for fact in told if isinstance(fact, kind)]


@contextmanager
def at_most(megabytes: float) -> Iterator[None]:
    """What Python has allocated on top, at its worst."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < megabytes * MB, f"{peak / MB:.1f} MB"


def listed(keys: dict[str, object]) -> Callable[[], bytes]:
    return lambda: event("list-sa", keys) + answer()


def raw(data: bytes) -> Callable[[], bytes]:
    return lambda: data


WHOLE = event("list-sa", sa(1)) + answer()
BROKEN: dict[str, Callable[[], bytes]] = {
    "number is a word": listed(sa(1, uniqueid="one")),
    "number is a list": listed(sa(1, uniqueid=["1", "2"])),
    "no number": listed({"hq": {"uniqueid": ""}}),
    "address is a name": listed(sa(1, **{"remote-host": "gateway"})),
    "address is a section": listed(sa(1, **{"remote-host": {"a": "b"}})),
    "no address": listed(sa(1, **{"local-host": None})),
    "yes is perhaps": listed(sa(1, cloned="perhaps")),
    "children are a value": listed(sa(1, **{"child-sas": "none"})),
    "a child is a value": listed(sa(1, **{"child-sas": {"net-1": "up"}})),
    "a child has no number": listed(sa(1, **{"child-sas": {"net-1": {"state": "INSTALLED"}}})),
    "segment lies, longer": raw(struct.pack("!I", 400) + WHOLE[4:40]),
    "segment lies, shorter": raw(struct.pack("!I", 9) + WHOLE[4:]),
    "segment of a gigabyte": raw(struct.pack("!I", 2**30) + b"x" * 64),
    "segment of nothing": raw(struct.pack("!I", 0)),
    "event name lies": raw(segment(bytes([EVENT, 200]) + b"list-sa")),
    "value lies": raw(segment(bytes([ANSWER]) + b"\x03\x01k\xff\xffv")),
    "section never ends": raw(segment(bytes([ANSWER]) + b"\x01\x01s" * 500)),
    "twenty thousand sections deep": raw(
        segment(bytes([ANSWER]) + b"\x01\x01s" * 20_000 + b"\x02" * 20_000)
    ),
    "ends in the middle": raw(WHOLE[: len(WHOLE) // 2]),
    "no bytes at all": raw(b""),
    "command unknown": raw(segment(b"\x02")),
    "not a packet of VICI": raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "refused": lambda: answer(success="no", errmsg="not today"),
}
SHORT = {"segment lies, longer", "ends in the middle", "no bytes at all"}
"""charon closes after them."""


async def test_a_broken_snapshot_is_an_absent_charon(tmp_path: Path) -> None:
    """Of every kind: told with its reason, at most 6 attempts in 2 s, and then it goes on."""
    folders = [tmp_path / str(number) for number in range(len(BROKEN))]
    for folder in folders:
        folder.mkdir()
    await asyncio.gather(*map(_broken, BROKEN, folders))


async def _broken(kind: str, folder: Path) -> None:
    speaker = Speaker()
    speaker.instead["list-sas"] = BROKEN[kind]
    speaker.hangs_up = kind in SHORT
    async with followed(speaker, folder) as told:
        await until(lambda: of(told, events.CharonGone))
        await asyncio.sleep(2)  # what is bounded is the number of attempts in it
        assert 1 <= speaker.asked["version"] <= 6, kind
        assert len(of(told, events.CharonGone)) <= len(of(told, events.CharonConnected)), kind
        assert all(len(gone.why) > 10 for gone in of(told, events.CharonGone)), kind
        assert not of(told, events.SasSeen), kind

        del speaker.instead["list-sas"]
        await until(lambda: of(told, events.SasSeen))


# --- too much of what is right ---------------------------------------------------


def updown(number: int, filling: int = 200) -> dict[str, object]:
    """An event of another connection; a peer chooses how long its identity is."""
    return {"up": "yes", **sa(number, "other", **{"remote-id": "x" * filling})}


async def test_a_backlog_is_cut_and_everything_read_instead(tmp_path: Path) -> None:
    """6,000 events of 1 KB while charon answers nothing: 16 MB, BACKLOG + 100 readings."""
    speaker = Speaker()
    speaker.sas = [sa(1)]
    async with followed(speaker, tmp_path) as told:
        await until(lambda: of(told, events.SasSeen))
        speaker.before["list-sas"] = asyncio.Event()
        asked = speaker.asked["list-sas"]
        with at_most(16):
            for number in range(6_000):
                await speaker.tell("ike-updown", updown(number % 7 + 100, 800))
            speaker.sas.append(sa(2))
            told.clear()
            speaker.before["list-sas"].set()
            await until(lambda: of(told, events.SasSeen), within=60)

        assert speaker.asked["list-sas"] - asked <= BACKLOG + 100
        assert {found.unique_id for found in of(told, events.SasSeen)[-1].sas} == {1, 2}


async def test_the_end_of_an_order_survives_the_backlog(tmp_path: Path) -> None:
    """Its event comes after 5,000 others that are left out: the order still has its one end."""
    speaker = Speaker()
    speaker.sas = [sa(1)]
    tags: list[str] = []
    path = str(tmp_path / "charon.vici")
    told: list[events.Event] = []
    speaker.takes = tags.append
    async with await asyncio.start_unix_server(speaker.serve, path):
        charon = Charon(path, told.append)
        edge = asyncio.create_task(charon.run())
        try:
            await until(lambda: of(told, events.SasSeen))
            await charon.execute(actions.Clone("t1", 1))
            await until(lambda: tags)
            speaker.before["list-sas"] = asyncio.Event()
            for number in range(5_000):
                await speaker.tell("ike-updown", updown(number, 10))
            tagged = {"tag": tags[0], "success": "yes", "clone-id": "2"}
            await speaker.tell("ike-clone", tagged)
            speaker.before["list-sas"].set()
            await until(lambda: of(told, events.ActionDone), within=60)
        finally:
            edge.cancel()
            await asyncio.gather(edge, return_exceptions=True)

    assert [(done.tag, done.ike_id) for done in of(told, events.ActionDone)] == [("t1", 2)]


async def test_a_huge_answer_is_taken_within_its_bound(tmp_path: Path) -> None:
    """2,000 SAs, and identities of 64 KB for ten of them: 40 MB, one exchange."""
    speaker = Speaker()
    speaker.sas = [sa(n, "other", **{"remote-id": "y" * 200}) for n in range(1, 2_000)]
    speaker.sas += [sa(n, "other", **{"remote-id": "z" * 65_000}) for n in range(2_000, 2_010)]
    with at_most(40):
        async with followed(speaker, tmp_path) as told:
            await until(lambda: of(told, events.SasSeen), within=60)

    assert len(of(told, events.SasSeen)[0].sas) == 2_009
    assert speaker.asked["list-sas"] == 1


async def test_unknown_keys_and_events_change_nothing(tmp_path: Path) -> None:
    """A charon of tomorrow says more than we know: 4 exchanges to know all, none is lost."""
    speaker = Speaker()
    more: dict[str, object] = {"new-key": "1", "new-list": ["a", "b"], "new-section": {"k": "v"}}
    speaker.sas = [sa(1, **more)]
    async with followed(speaker, tmp_path) as told:
        await until(lambda: of(told, events.SasSeen))
        assert sum(speaker.asked.values()) == 4
        await speaker.tell("ike-updown", {"up": "yes", "new-key": "2", **sa(1, **more)})
        await until(lambda: of(told, events.SaSeen))

    assert of(told, events.SaSeen)[0].sa.unique_id == 1
    assert not of(told, events.CharonGone)


async def test_a_hundred_connections_of_others(tmp_path: Path) -> None:
    """With 400 SAs of theirs: 4 exchanges to know all; ours comes up, theirs are never named."""
    speaker = Speaker()
    speaker.connections += [connection(f"other{n}") for n in range(100)]
    speaker.sas = [sa(1000 + n, f"other{n % 100}") for n in range(400)]
    async with followed(speaker, tmp_path) as told:
        await until(lambda: of(told, events.SasSeen))
    assert sum(speaker.asked.values()) == 4

    world = World().start()
    (loaded,), (present,) = of(told, events.ConnectionsSeen), of(told, events.SasSeen)
    world.beside = (loaded.connections[1:], present.sas)
    world.connect()
    world.run(30)

    assert (world.hq.state, len(world.hq.tunnels)) == ("up", 3)
    assert len(world.log) <= 80
    named = {getattr(action, "ike_id", 0) for _, action in world.log}
    assert not named & {present.unique_id for present in present.sas}
