# SPDX-License-Identifier: Apache-2.0
"""Looks at charon and the kernel once, and asks the planner what it would do. Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from vici_mif.core import actions, events
from vici_mif.core.actions import Action
from vici_mif.core.model import Connection, Order
from vici_mif.core.planner import Planner
from vici_mif.core.wish.config import Config
from vici_mif.edges import links
from vici_mif.edges.charon import Charon
from vici_mif.shell import clock, tasks, words

LOOK_DELAY = 5.0
KERNEL = (actions.Steer, actions.Guard)


async def look(vici: str) -> list[events.Event]:
    """Links, charon, connections and SAs as they are; or that there is no charon."""
    facts: list[events.Event] = []
    enough = asyncio.Event()

    def take(event: events.Event) -> None:
        facts.append(event)
        if isinstance(event, events.SasSeen | events.CharonGone):
            enough.set()

    task = asyncio.create_task(Charon(vici, take).run())
    try:
        async with asyncio.timeout(LOOK_DELAY):
            await enough.wait()
    except TimeoutError:
        facts.append(events.CharonGone(why=f"{vici}: no answer within {LOOK_DELAY:g} s"))
    finally:
        await tasks.end([task])
    return [events.LinksSeen(await links.read()), *facts]


def connections(facts: Iterable[events.Event]) -> tuple[Connection, ...]:
    """What charon has loaded."""
    return next((f.connections for f in facts if isinstance(f, events.ConnectionsSeen)), ())


def plan(
    config: Config, config_path: str, kept: tuple[Order, ...], facts: Iterable[events.Event]
) -> list[str]:
    """The actions up to the first whose end only charon can tell, as sentences."""
    planner = Planner(config, str(Path(config_path).resolve().parent))
    now = clock.monotonic()
    wanted: list[Action] = []
    for fact in (events.OrdersRead(kept), *facts):
        wanted += planner.handle(fact, now)
    for action in wanted:  # grows: what stands in the kernel lets the next step be taken
        if isinstance(action, KERNEL):
            wanted += planner.handle(events.ActionDone(action.tag), now)
    return [line for action in wanted for line in words.action(action)]
