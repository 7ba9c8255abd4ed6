# SPDX-License-Identifier: Apache-2.0
"""The charon edge beside thousands of IKE SAs: each is read once, and the loop goes round."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.speaker import Speaker, followed, sa, until
from vici_mif.core import events


async def test_many_events_about_one_are_one_look(tmp_path: Path) -> None:
    """A hundred that wait: the IKE SA is read for the last of them, not for each."""
    speaker = Speaker()
    speaker.sas = [sa(1)]
    async with followed(speaker, tmp_path) as told:
        await until(lambda: any(isinstance(x, events.SasSeen) for x in told))
        speaker.before["list-sas"] = asyncio.Event()
        asked = speaker.asked["list-sas"]
        for _ in range(100):
            await speaker.tell("ike-update", sa(1))
        await until(lambda: speaker.asked["list-sas"] > asked)
        await asyncio.sleep(0.2)  # all of them are waiting now
        speaker.before["list-sas"].set()
        await until(lambda: sum(isinstance(x, events.SaSeen) for x in told) >= 2)
        await asyncio.sleep(0.1)

        assert speaker.asked["list-sas"] - asked <= 5
        assert sum(isinstance(x, events.SaSeen) for x in told) <= 5


async def test_a_look_is_not_left_out_for_an_event_that_brings_none(tmp_path: Path) -> None:
    """A refused clone names an IKE SA too, and nothing is read for it."""
    speaker = Speaker()
    speaker.sas = [sa(1), sa(2)]
    refused = {"success": "no", "initiator": "no", "reason": "limit", "ike-id": "1"}
    parent = {"hq": {"parent": sa(1, **{"clones-refused": "7"})["hq"]}}
    async with followed(speaker, tmp_path) as told:
        await until(lambda: any(isinstance(x, events.SasSeen) for x in told))
        speaker.before["list-sas"] = asyncio.Event()
        await speaker.tell("ike-update", sa(2))
        await speaker.tell("ike-update", sa(1))
        await speaker.tell("ike-clone", refused | parent)
        await asyncio.sleep(0.2)
        speaker.before["list-sas"].set()
        await until(lambda: any(isinstance(x, events.CloneRefused) for x in told))

        seen = {x.sa.unique_id for x in told if isinstance(x, events.SaSeen)}
        assert seen == {1, 2}
        assert events.CloneRefused(1, "limit", 7) in told


async def test_the_loop_goes_round_while_thousands_are_read(tmp_path: Path) -> None:
    """4,000 IKE SAs: between two turns of the loop stands a small part of the reading."""
    speaker = Speaker()
    speaker.sas = [sa(number, "crowd") for number in range(4000)]
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with followed(speaker, tmp_path) as told:
        task = asyncio.create_task(turn())
        await until(lambda: any(isinstance(x, events.SasSeen) for x in told), within=60)
        task.cancel()
        (all_of_them,) = (x for x in told if isinstance(x, events.SasSeen))
        assert len(all_of_them.sas) == 4000
        assert turns > 400
