# SPDX-License-Identifier: Apache-2.0
"""A client that asks for clones faster than it may: what the gateway's charon says of it."""

from __future__ import annotations

import asyncio
import time

from tests.real.conftest import MakeLab
from tests.real.test_family import multihome
from vici_mif.edges.vici import Connection, Tree
from vici_mif.lab.lab import Lab

ASKED = 20
CLONES = 4


async def ask_for_clones(lab: Lab) -> tuple[list[Tree], list[Tree], list[Tree], float]:
    """The client's answers, the gateway's events, its IKE SAs afterwards, and how long it took."""
    client = await Connection.open(str(lab.client.vici_socket))
    gateway = await Connection.open(str(lab.gateway.vici_socket))
    listener = await Connection.open(str(lab.gateway.vici_socket))
    await listener.register("ike-clone", "ike-updown")
    events: list[Tree] = []

    async def listen() -> None:
        async for name, event in listener.events():
            if name == "ike-clone":
                events.append(event)

    listening = asyncio.create_task(listen())
    try:
        root = await client.request("create-ike", {"ike": "hq", "childless": True}, within=30)
        began = time.monotonic()
        answers = []
        for _ in range(ASKED):
            answer = await client.request("clone", {"ike-id": root["ike-id"]})
            answers.append(answer)
            if answer["success"] == "yes":
                await client.request("terminate", {"ike-id": answer["ike-id"]})
        took = time.monotonic() - began
        async with asyncio.timeout(10):
            while not refusals(events) or granted(events) < granted(answers):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        parts = await gateway.stream("list-sas", "list-sa")
    finally:
        listening.cancel()
        client.close()
        gateway.close()
    return answers, events, [sa for part in parts for sa in part.values()], took


def granted(answers: list[Tree]) -> int:
    return sum(answer["success"] == "yes" for answer in answers)


def refusals(events: list[Tree]) -> list[Tree]:
    return [event for event in events if event["success"] == "no"]


async def test_refused_clones_are_counted_and_seldom_told(make_lab: MakeLab) -> None:
    """All in `clones-refused`, and one event a second; the client's own has one each."""
    lab = make_lab(uplinks=1, max_clones=CLONES)
    await asyncio.to_thread(multihome, lab, 4)

    answers, events, (sa,), took = await ask_for_clones(lab)

    refused = ASKED - granted(answers)
    told = refusals(events)
    assert CLONES <= granted(answers) <= CLONES + took + 1
    assert {answer.get("reason") for answer in answers} == {None, "temporary"}
    assert int(sa["clones-refused"]) == refused > 0
    assert sa["clones"] == "0"
    assert {(event["initiator"], event["reason"]) for event in told} == {("no", "rate")}
    assert 1 <= len(told) <= took + 1
