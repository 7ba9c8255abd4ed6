# SPDX-License-Identifier: Apache-2.0
"""Steering: makes the rules, routes and interfaces of ours what is wished, and keeps them so.

What is ours is read from the kernel each time: rules in our range of priorities, routes
in our range of tables, both with our protocol number, and xfrm interfaces named `mif*`.
Missing things are added before superfluous ones go, routes before the rules that lead to
them. Others delete foreign rules as a habit (a network manager that restarts); the
watcher puts ours back. There may be hundreds of thousands of routes of others, which change all
the time: the kernel is asked for those that concern us, and not more often than people notice.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from vici_mif.core.model import LinkTable, Rule, Steering, XfrmInterface
from vici_mif.edges import netlink
from vici_mif.edges.routes import Entry, copied, entry_of, wished, written
from vici_mif.edges.rules import rule_of, rule_written

MAIN = 254
PROTOCOL = 77  # ours, on rules and routes: no number of linux/rtnetlink.h or of a known daemon
PREFIX = "mif"
PAUSE = 0.05  # seconds between two looks: of a burst the beginning and what came of it
FAMILIES = (2, 10)  # AF_INET, AF_INET6
GROUPS = netlink.LINKS | netlink.ADDRESSES | netlink.ROUTES | netlink.RULES
GONE = {errno.ENOENT, errno.ESRCH, errno.ENODEV}
# The device, its carrier or the inner address is not there yet: the watcher comes back.
NOT_YET = {errno.ENODEV, errno.ENETDOWN, errno.EINVAL, errno.ENETUNREACH, errno.EADDRNOTAVAIL}


@dataclass(frozen=True)
class Range:
    """What is ours, by number (both ends included)."""

    tables: tuple[int, int] = (7791, 7890)
    priorities: tuple[int, int] = (150, 169)

    def has_table(self, table: int) -> bool:
        return self.tables[0] <= table <= self.tables[1]

    def has_priority(self, priority: int) -> bool:
        return self.priorities[0] <= priority <= self.priorities[1]


@dataclass
class _Kernel:
    """One look at the kernel."""

    names: dict[int, str]
    interfaces: dict[str, int]
    """Ours, with their if_id."""
    mtus: dict[str, int]
    rules: set[Rule]
    routes: set[Entry]
    main: list[Entry]
    """Of the links whose tables are wished."""


class Steerer:
    """Holds the wish and reconciles the kernel with it."""

    def __init__(self, own: Range) -> None:
        self._own = own
        self._wish: Steering | None = None
        self._lock = asyncio.Lock()
        self._settled: tuple[Steering, set[Entry]] | None = None
        """What stood whole when we looked last: the wish, and the routes that were it then."""
        self.restored = 0
        """How often something of ours had been taken away by others."""

    async def apply(self, wish: Steering) -> list[str]:
        """Make the kernel so; returns what cannot be yet, as sentences. Raises KernelError."""
        async with self._lock:
            self._wish = wish
            self._settled = None
            return await self._reconcile(wish)

    async def watch(self) -> None:
        """Reconcile after changes in the kernel, for ever: after the first at once."""
        async with aclosing(netlink.hints(GROUPS)) as hints:
            async for _ in hints:
                await self._restore()
                await asyncio.sleep(PAUSE)

    async def _restore(self) -> None:
        async with self._lock:
            if self._wish is None or self._settled == (Steering(), set()):
                return  # nothing of ours is there that others could take
            with suppress(netlink.KernelError):  # the next hint, or the next wish, tries again
                await self._reconcile(self._wish)

    async def _reconcile(self, wish: Steering) -> list[str]:
        async with _socket() as socket:
            kernel = await _look(socket, self._own, wish)
            lacks = self._lacks(wish, kernel)
            await _make_interfaces(socket, wish.interfaces, kernel)
            if wish.interfaces:
                kernel.names = await _names(socket)
            routes = _wished_routes(wish, kernel)
            waiting = await _add(socket, wish, routes, kernel)
            if routes - kernel.routes:
                # A replaced route is gone. To delete it once more could hit what replaced it:
                # IPv6 does not compare the preferred source.
                kernel = await _look(socket, self._own, wish)
            await _drop(socket, wish, routes, kernel)
            self.restored += lacks and not waiting
            self._settled = None if waiting else (wish, routes)
            return waiting

    def _lacks(self, wish: Steering, kernel: _Kernel) -> bool:
        """Something that stood and is still wished was taken away. What went with its device or
        its address is no deed of others: that is wished differently now, or waits."""
        if self._settled is None or self._settled[0] != wish:
            return False
        stood = self._settled[1] & _wished_routes(wish, kernel)
        return (
            not kernel.rules >= set(wish.rules)
            or not kernel.routes >= stood
            or not kernel.interfaces.keys() >= {each.name for each in wish.interfaces}
        )


async def clean(own: Range) -> None:
    """Take everything of ours away: `down` without a running controller."""
    await Steerer(own).apply(Steering())


async def stands(own: Range) -> bool:
    """Whether rules or routes of ours are in the kernel."""
    async with _socket() as socket:
        kernel = await _look(socket, own, Steering())
    return bool(kernel.rules or kernel.routes)


async def foreign(own: Range) -> list[str]:
    """What others have where ours would be, as sentences."""
    found = []
    async with _socket() as socket:
        for family in FAMILIES:
            async for message in await socket.rule("dump", family=family):
                rule = rule_of(message)
                if own.has_priority(rule.priority) and message.get("protocol") != PROTOCOL:
                    found.append(f"rule preference {rule.priority} is in use by others: {rule}")
            async for message in await socket.route("dump", family=family):
                table = int(message.get("table") or message["table"])
                if own.has_table(table) and message["proto"] != PROTOCOL:
                    found.append(f"routing table {table} is in use by others")
    return list(dict.fromkeys(found))


@asynccontextmanager
async def _socket() -> AsyncIterator[Any]:
    with netlink.asking("reading the kernel's routing"):
        async with AsyncIPRoute(strict_check=True) as socket:
            yield socket


async def _look(socket: Any, own: Range, wish: Steering) -> _Kernel:
    names: dict[int, str] = {}
    interfaces, mtus = {}, {}
    async for message in await socket.get_links():
        name = str(message.get("ifname"))
        names[int(message["index"])] = name
        if name.startswith(PREFIX) and message.get(("linkinfo", "kind")) == "xfrm":
            interfaces[name] = int(message.get(("linkinfo", "data", "xfrm_if_id")) or 0)
            mtus[name] = int(message.get("mtu") or 0)
    rules: set[Rule] = set()
    for family in FAMILIES:
        async for message in await socket.rule("dump", family=family):
            rule = rule_of(message)
            if message.get("protocol") == PROTOCOL and own.has_priority(rule.priority):
                rules.add(rule)
    ours = {entry async for entry in _routes(socket, proto=PROTOCOL) if own.has_table(entry.table)}
    links = {table.link for table in wish.link_tables}
    main: list[Entry] = []
    for index in (index for index, name in names.items() if name in links):
        main += [entry async for entry in _routes(socket, table=MAIN, oif=index)]
    return _Kernel(names, interfaces, mtus, rules, ours, main)


async def _routes(socket: Any, **fields: int) -> AsyncIterator[Entry]:
    """Those with these fields. The kernel itself leaves out the others where it checks strictly;
    pyroute2 would have them all sent and take each apart, unless its own filter is taken away."""
    for family in FAMILIES:
        async for message in await socket.route("dump", family=family, dump_filter=None, **fields):
            for entry in entry_of(message):
                yield entry


async def _names(socket: Any) -> dict[int, str]:
    links = await socket.get_links()
    return {int(message["index"]): str(message.get("ifname")) async for message in links}


def _link_table(wish: LinkTable, kernel: _Kernel) -> set[Entry]:
    index = next((i for i, name in kernel.names.items() if name == wish.link), None)
    return {copied(entry, wish.table) for entry in kernel.main if index and entry.oif == index}


def _wished_routes(wish: Steering, kernel: _Kernel) -> set[Entry]:
    routes = {wished(route, kernel.names) for route in wish.routes}
    for table in wish.link_tables:
        routes |= _link_table(table, kernel)
    return routes


async def _add(socket: Any, wish: Steering, routes: set[Entry], kernel: _Kernel) -> list[str]:
    waiting = []
    for entry in sorted(routes - kernel.routes, key=Entry.sorting):
        if problem := await _put_route(socket, entry):
            waiting.append(problem)
    for rule in sorted(set(wish.rules) - kernel.rules, key=lambda rule: rule.priority):
        await _change(socket.rule, "add", f"rule {rule}", rule_written(rule, PROTOCOL))
    return waiting


async def _drop(socket: Any, wish: Steering, routes: set[Entry], kernel: _Kernel) -> None:
    for rule in kernel.rules - set(wish.rules):
        await _change(socket.rule, "del", f"rule {rule}", rule_written(rule, PROTOCOL))
    for entry in sorted(kernel.routes - routes, key=Entry.sorting, reverse=True):
        await _change(socket.route, "del", f"route {entry}", written(entry, PROTOCOL))
    keep = {interface.name for interface in wish.interfaces}
    for name in kernel.interfaces.keys() - keep:
        await _change(socket.link, "del", f"interface {name}", {"ifname": name})


async def _make_interfaces(
    socket: Any, interfaces: Iterable[XfrmInterface], kernel: _Kernel
) -> None:
    for wish in interfaces:
        if kernel.interfaces.get(wish.name) != wish.if_id:
            await _make_interface(socket, wish, replace=wish.name in kernel.interfaces)
        elif wish.mtu and kernel.mtus[wish.name] != wish.mtu:
            keys = {"ifname": wish.name, "mtu": wish.mtu}
            await _change(socket.link, "set", f"xfrm interface {wish.name}", keys)


async def _make_interface(socket: Any, wish: XfrmInterface, *, replace: bool) -> None:
    if replace:
        await _change(socket.link, "del", wish.name, {"ifname": wish.name})
    keys: dict[str, Any] = {"ifname": wish.name, "kind": "xfrm", "xfrm_if_id": wish.if_id}
    await _change(socket.link, "add", f"xfrm interface {wish.name}", keys)
    keys = {"ifname": wish.name, "state": "up"} | ({"mtu": wish.mtu} if wish.mtu else {})
    await _change(socket.link, "set", f"xfrm interface {wish.name}", keys)


async def _put_route(socket: Any, entry: Entry) -> str | None:
    """Add or replace; a sentence when that has to wait for its device or address."""
    if entry.missing:
        return f"{entry}: interface {entry.missing} is not there yet"
    try:
        await _change(socket.route, "replace", f"route {entry}", written(entry, PROTOCOL))
    except netlink.KernelError as error:
        if error.number not in NOT_YET:
            raise
        return str(error)
    return None


async def _change(call: Any, verb: str, what: str, keys: dict[str, Any]) -> None:
    try:
        await call(verb, **keys)
    except NetlinkError as error:
        if verb == "del" and error.code in GONE:
            return
        if verb == "add" and error.code == errno.EEXIST:
            return
        raise netlink.refused(what, error) from error
