# SPDX-License-Identifier: Apache-2.0
"""Looks at charon and the kernel once, and asks the planner what it would do. Changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable
from pathlib import Path

from vici_mif.core import actions, events
from vici_mif.core.actions import Action
from vici_mif.core.config import Config
from vici_mif.core.model import Connection, GuardWish, Route, Rule
from vici_mif.core.planner import Planner
from vici_mif.edges import links
from vici_mif.edges.charon import Charon
from vici_mif.shell import clock

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
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return [events.LinksSeen(await links.read()), *facts]


def connections(facts: Iterable[events.Event]) -> tuple[Connection, ...]:
    """What charon has loaded."""
    return next((f.connections for f in facts if isinstance(f, events.ConnectionsSeen)), ())


def plan(config: Config, config_path: str, facts: Iterable[events.Event]) -> list[str]:
    """The actions up to the first whose end only charon can tell, as sentences."""
    planner = Planner(config, str(Path(config_path).resolve().parent))
    now = clock.monotonic()
    wanted: list[Action] = []
    for fact in (events.OrdersRead(()), *facts):
        wanted += planner.handle(fact, now)
    for action in wanted:  # grows: what stands in the kernel lets the next step be taken
        if isinstance(action, KERNEL):
            wanted += planner.handle(events.ActionDone(action.tag), now)
    return [line for action in wanted for line in _lines(action)]


def _lines(action: Action) -> list[str]:
    match action:
        case actions.Say(_, text, _):
            return [f"# {text}"]
        case actions.Steer(_, wish):
            lines = [f"rule {rule.priority}: {_rule(rule)}" for rule in wish.rules]
            lines += [f"table {table.table}: routes of {table.link}" for table in wish.link_tables]
            lines += [_route(route) for route in wish.routes]
            return lines + [f"xfrm interface {i.name} if_id {i.if_id}" for i in wish.interfaces]
        case actions.Guard(_, wish):
            return _guard(wish)
        case _:
            return [_order(action)]


def _rule(rule: Rule) -> str:
    parts = [
        f"from {rule.source}" if rule.source else "from all",
        f"to {rule.destination}" if rule.destination else "",
        f"iif {rule.iif}" if rule.iif else "",
        f"lookup {rule.table}",
        ""
        if rule.suppress_prefixlength is None
        else f"suppress_prefixlength {rule.suppress_prefixlength}",
    ]
    return " ".join(part for part in parts if part)


def _route(route: Route) -> str:
    how = f"dev {route.device}" if route.device else "unreachable"
    source = f" src {route.prefsrc}" if route.prefsrc else ""
    return f"table {route.table}: {route.destination} {how}{source}"


def _guard(wish: GuardWish | None) -> list[str]:
    if wish is None:
        return ["no guard"]
    uplinks = ", ".join(wish.uplinks)
    return [f"guard: {s.local} to {s.remote} only as IPsec on {uplinks}" for s in wish.selectors]


def _order(action: Action) -> str:
    """The action's name and its fields; a secret is only named in it, never there."""
    fields = [
        f"{field.name}={getattr(action, field.name)}"
        for field in dataclasses.fields(action)
        if field.name not in {"tag", "message"}
    ]
    return f"{type(action).__name__} {' '.join(fields)}"
