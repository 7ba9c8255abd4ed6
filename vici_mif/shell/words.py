# SPDX-License-Identifier: Apache-2.0
"""Facts and actions in one line each, for `run --verbose` and `check --plan`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from vici_mif.core import actions, events
from vici_mif.core.actions import Action
from vici_mif.core.events import Event, MembersSeen
from vici_mif.core.model import GuardWish, Link, ProbeWish, Route, Rule, Sa, SourceChange, Steering

QUIET = {"tag", "message"}  # a tag means nothing to people; a message may name secrets


def action(wanted: Action) -> list[str]:
    """What is asked for; the kernel's part is listed as `ip` would say it."""
    match wanted:
        case actions.Say(_, text, _):
            return [f"# {text}"]
        case actions.Steer(_, wish):
            return steering(wish) or ["nothing of ours in the kernel's routing"]
        case actions.Guard(_, wish):
            return guard(wish)
        case actions.CheckSources(_, change):
            return [sources(change)]
        case actions.PathsChanged(_, changes):
            return [f"tell: {c.peer}: {c.path} {c.before or 'new'} -> {c.state}" for c in changes]
        case actions.Watch(_, wishes):
            return [watch(each) for each in wishes] or ["no tunnel watched from inside"]
        case actions.StoreOrders(_, orders):
            return [f"store {len(orders)} orders"]
        case actions.KeepFootprints(_, footprints):
            return ["keep for the next boot: " + _listed(each.peer for each in footprints)]
        case _:
            return [_named(type(wanted).__name__, wanted)]


def sources(change: SourceChange | None) -> str:
    """Numbers only: there may be thousands."""
    if change is None:
        return "no check of outer sources"
    act = "drop" if change.drop else "count"
    more = f"{len(change.more)} {'known' if change.whole else 'more'}, {len(change.fewer)} fewer"
    return f"{act} strange outer sources: {more}, {len(change.refused)} refused"


def event(fact: Event) -> str:
    """What happened."""
    match fact:
        case events.FootprintsRead(found):
            return "FootprintsRead " + _listed(each.peer for each in found)
        case events.ConnectionsSeen(found):
            return "ConnectionsSeen " + _listed(
                f"{c.name} ({', '.join(child.name for child in c.children)})" for c in found
            )
        case events.ConfigRead(config):
            return "ConfigRead " + ", ".join(config.connections)
        case events.LinksSeen(found):
            return "LinksSeen " + _listed(map(link, found))
        case events.PathHealth(wish, verdict, proof):
            said = f"PathHealth {wish.peer} {wish.path} {verdict}"
            return said + (", others are answered" if proof else "")
        case events.CharonConnected(version, patched, _):
            return f"CharonConnected {version}, " + ("with" if patched else "without") + " series"
        case _:
            return _about_sas(fact) or _named(type(fact).__name__, fact)


def _about_sas(fact: Event) -> str:
    match fact:
        case events.SaSeen(seen) | events.SaClosed(seen):
            return f"{type(fact).__name__} {sa(seen)}"
        case events.SaRekeyed(old, new):
            return f"SaRekeyed #{old} is now {sa(new)}"
        case events.SasSeen(found):
            return "SasSeen " + _listed(map(sa, found))
        case events.MembersSeen():
            return members(fact)
        case _:
            return ""


def members(fact: MembersSeen) -> str:
    """Of a gateway's peers: what is new, and how many were quiet."""
    found = [_listed(map(sa, fact.seen))] if fact.seen else []
    found += [f"#{old} is now #{new}" for old, new in fact.rekeyed]
    found += [f"gone: {' '.join(f'#{number}' for number in fact.gone)}"] if fact.gone else []
    found += [f"{len(fact.quiet)} quiet"] if fact.quiet is not None else []
    return "MembersSeen " + "; ".join(found)


def sa(seen: Sa) -> str:
    """`#3 hq ESTABLISHED 192.0.2.1 -> 203.0.113.1 [net@eth0/203.0.113.1 INSTALLED]`."""
    children = ", ".join(f"{child.name} {child.state}" for child in seen.children)
    return f"#{seen.unique_id} {seen.name} {seen.state} {seen.pair} [{children}]"


def link(seen: Link) -> str:
    """`eth0 up 192.0.2.1/24`."""
    state = "up" if seen.up else "down"
    return " ".join([seen.name, state, *map(str, seen.addresses)])


def steering(wish: Steering) -> list[str]:
    """Rules, tables, routes and interfaces."""
    lines = [f"rule {each.priority}: {rule(each)}" for each in wish.rules]
    lines += [f"table {each.table}: routes of {each.link}" for each in wish.link_tables]
    lines += [route(each) for each in wish.routes]
    return lines + [f"xfrm interface {each.name} if_id {each.if_id}" for each in wish.interfaces]


def rule(wish: Rule) -> str:
    """As `ip rule` shows it."""
    suppress = wish.suppress_prefixlength
    parts = [
        f"from {wish.source or 'all'}",
        f"to {wish.destination}" if wish.destination else "",
        f"iif {wish.iif}" if wish.iif else "",
        f"lookup {wish.table}",
        "" if suppress is None else f"suppress_prefixlength {suppress}",
    ]
    return " ".join(part for part in parts if part)


def route(wish: Route) -> str:
    """As `ip route` shows it."""
    how = f"dev {wish.device}" if wish.device else "unreachable"
    source = f" src {wish.prefsrc}" if wish.prefsrc else ""
    mtu = f" mtu {wish.mtu}" if wish.mtu else ""
    return f"table {wish.table}: {wish.destination} {how}{source}{mtu}"


def watch(wish: ProbeWish) -> str:
    """One tunnel that is watched from inside."""
    echoes = ", ".join(f"{echo.source} to {echo.target}" for echo in wish.echoes)
    pace = f"every {wish.interval_delay:g} s, {wish.multiplier} in a row"
    return f"watch {wish.peer} on {wish.path}: echoes {echoes}, {pace}"


def guard(wish: GuardWish | None) -> list[str]:
    """What is refused in clear."""
    if wish is None:
        return ["no guard"]
    uplinks = ", ".join(wish.uplinks)
    said = [f"guard: {s.local} to {s.remote} only as IPsec on {uplinks}" for s in wish.selectors]
    return said + [f"mss: {c.selector.local} and {c.selector.remote} {c.mss}" for c in wish.clamps]


def _named(name: str, thing: Action | Event) -> str:
    """The name and the fields that say something."""
    values = ((f.name, getattr(thing, f.name)) for f in dataclasses.fields(thing))
    said = [f"{n}={_value(v)}" for n, v in values if n not in QUIET and v not in (None, (), "")]
    return " ".join([name, *said])


def _value(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _listed(items: Iterable[str]) -> str:
    return "; ".join(items) or "none"
