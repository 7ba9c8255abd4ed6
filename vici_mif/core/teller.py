# SPDX-License-Identifier: Apache-2.0
"""Tells what happened, by listening to the planner's steps. Pure.

Made of facts and actions alone, so a journal tells the same as the controller did.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import get_args

from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.changes import GONE
from vici_mif.core.model import Link, Order, OrderKind, Pair, Sa
from vici_mif.core.notice import Kind, Level, Notice
from vici_mif.core.status import PathChange

REFUSALS = {
    "disabled",
    "limit",
    "no-proposal",
    "not-negotiated",
    "peer-refused",
    "rate",
    "unacceptable-addresses",
}
"""Words of docs/vici.md by which the other end, or this charon, said no."""

VOID = frozenset({"superseded", "busy"})
"""It was not tried, or something newer is."""

ORDERS = {
    OrderKind.DOWN: "down",
    OrderKind.DRAIN: "drained",
    OrderKind.PREFER: "preferred",
    OrderKind.REVOKE: "revoked",
    OrderKind.REVOKE_IDENTITY: "revoked",
    OrderKind.RETIRE: "to be closed, no longer configured,",
}


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An action, and the IKE_SA that it is about as it was then."""

    action: a.Action
    sa: Sa | None

    @property
    def pairs(self) -> frozenset[Pair]:
        """Those that its end may name."""
        there = {self.sa.pair} if self.sa else set()
        begun = {self.action.pair} if isinstance(self.action, a.Migrate | a.CreateIke) else set()
        return frozenset(there | begun)


class Teller:
    """Listens to the planner's steps and remembers what is under way."""

    def __init__(self, peers: Collection[str]) -> None:
        self._peers = frozenset(peers)
        self._sas: dict[int, Sa] = {}
        self._paths: dict[tuple[str, Pair], str] = {}
        """Names of paths: as they are, and of pairs that something still is about."""
        self._pairs: dict[tuple[str, str], Pair] = {}
        """Where each path is, by peer and name."""
        self._links: dict[str, Link] | None = None
        self._orders: tuple[Order, ...] = ()
        self._under_way: dict[str, UnderWay] = {}

    def step(self, event: e.Event, actions: Iterable[a.Action]) -> list[Notice]:
        """What there is to tell of one step, without time and number."""
        found = list(self._of_event(event))
        self._learn(event)
        for action in actions:
            found += self._of_action(action)
        return found

    # --- facts ---------------------------------------------------------------------

    def _of_event(self, event: e.Event) -> Iterator[Notice]:
        match event:
            case e.ActionDone():
                yield from self._done(self._under_way.pop(event.tag, None), event)
            case e.ActionFailed():
                yield from self._failed(self._under_way.pop(event.tag, None), event)
            case e.SaClosed(sa) if sa.name in self._peers:
                yield self._closed(sa)
            case e.LinksSeen(links):
                yield from self._linked({link.name: link for link in links})
            case e.CharonConnected(version, patched):
                series = "with" if patched else "without"
                yield Notice(kind="charon", text=f"charon {version}, {series} the series")
            case e.CharonGone(why):
                yield Notice(kind="charon", level="warning", reason=why, text=f"no charon: {why}")
            case e.ConfigRead():
                yield Notice(kind="configuration", text="another configuration is in force")
            case _:
                pass

    def _learn(self, event: e.Event) -> None:
        match event:
            case e.SaSeen(sa):
                self._sas[sa.unique_id] = sa
            case e.SasSeen(sas):
                self._sas = {sa.unique_id: sa for sa in sas}
            case e.SaGone(number):
                self._sas.pop(number, None)
            case e.SaRekeyed(old, new):
                self._sas.pop(old, None)
                self._sas[new.unique_id] = new
            case e.LinksSeen(links):
                self._links = {link.name: link for link in links}
            case e.OrdersRead(orders):
                self._orders = orders
            case e.CharonGone():
                self._under_way = {}
            case e.ConfigRead(config):
                self._peers = frozenset(config.connections)
            case _:
                pass

    def _linked(self, now: dict[str, Link]) -> Iterator[Notice]:
        before = now if self._links is None else self._links
        for name in sorted(before.keys() | now.keys()):
            link = now.get(name)
            if link == before.get(name):
                continue
            state = "gone" if link is None else "up" if link.up else "down"
            addresses = ", ".join(map(str, link.addresses)) if link else ""
            text = f"link {name} {state}" + (f", {addresses}" if addresses else "")
            yield Notice(kind="link", path=name, state=state, text=text)

    def _closed(self, sa: Sa) -> Notice:
        if not sa.answered:
            text = f"authentication on {self._named(sa.name, sa.pair)}: no answer to IKE_SA_INIT"
            said = _about(sa, "failure", self._named(sa.name, sa.pair), text)
            return said.model_copy(update={"level": "warning", "reason": "timeout"})
        by = "this end" if "IKE_DELETE" in sa.tasks_active else "charon"
        by = "the peer" if "IKE_DELETE" in sa.tasks_passive else by
        path = self._named(sa.name, sa.pair)
        text = f"IKE SA #{sa.unique_id} on {path} was closed by {by}"
        return Notice(
            kind="closed", peer=sa.name, path=path, ike_id=sa.unique_id, reason=by, text=text
        )

    # --- how actions ended ------------------------------------------------------------

    def _done(self, under_way: UnderWay | None, end: e.ActionDone) -> Iterator[Notice]:
        if under_way is None:
            return
        sa = under_way.sa
        match under_way.action:
            case a.Migrate(_, ike_id, pair) if sa:
                before, path = self._named(sa.name, sa.pair), self._named(sa.name, pair)
                text = f"IKE SA #{ike_id} moved from {before} to {path}"
                yield _about(sa, "move", path, text, before=before)
            case a.Clone(_, ike_id) if sa:
                text = f"IKE SA #{end.ike_id} was cloned from #{ike_id}, without authentication"
                told = _about(sa, "clone", self._named(sa.name, sa.pair), text)
                yield told.model_copy(update={"ike_id": end.ike_id})
            case a.CreateChild(_, ike_id, _, name) if sa:
                text = f"child {name} on IKE SA #{ike_id}"
                yield _about(sa, "child", self._named(sa.name, sa.pair), text)
            case a.CreateIke(_, name, pair):
                path = self._named(name, pair)
                text = f"authenticated on {path} as IKE SA #{end.ike_id}"
                yield Notice(
                    kind="authentication", peer=name, path=path, ike_id=end.ike_id, text=text
                )
            case _:
                pass

    def _failed(self, under_way: UnderWay | None, end: e.ActionFailed) -> Iterator[Notice]:
        """Tests of paths fail all the time: the states of the paths tell it."""
        if under_way is None or end.reason in VOID:
            return
        peer = under_way.sa.name if under_way.sa else ""
        match under_way.action:
            case a.Migrate(_, ike_id, pair):
                what = f"move of IKE SA #{ike_id} to {self._named(peer, pair)}"
            case a.Clone(_, ike_id):
                what = f"clone of IKE SA #{ike_id}"
            case a.CreateChild(_, ike_id, _, name):
                what = f"child {name} on IKE SA #{ike_id}"
            case a.CreateIke(_, peer, pair):
                what = f"authentication on {self._named(peer, pair)}"
            case _:
                return
        yield _no(what, peer, end)

    # --- what was begun ------------------------------------------------------------------

    def _of_action(self, action: a.Action) -> Iterator[Notice]:
        match action:
            case a.PathsChanged(_, changes):
                for change in changes:
                    yield self._changed(change)
            case a.Say(_, text, level):
                peer = text.partition(":")[0]
                known = peer if peer in self._peers else ""
                yield Notice(kind="said", peer=known, level=_level(level), text=text)
            case a.StoreOrders(_, orders):
                yield from self._ordered(orders)
            case a.Migrate(tag, ike_id, pair):
                sa = self._sas.get(ike_id)
                if sa is None or sa.pair != pair:  # else its pin is renewed where it stands
                    self._under_way[tag] = UnderWay(action, sa)
            case a.Clone(tag, ike_id) | a.CreateChild(tag, ike_id):
                self._under_way[tag] = UnderWay(action, self._sas.get(ike_id))
            case a.CreateIke(tag):
                self._under_way[tag] = UnderWay(action, None)
            case _:
                pass

    def _changed(self, change: PathChange) -> Notice:
        self._place(change)
        why = f": {change.why}" if change.why else ""
        trouble = change.state in {"failed", "denied"}
        return Notice(
            kind="path",
            peer=change.peer,
            path=change.path,
            before=change.before,
            state=change.state,
            reason=change.why,
            level="warning" if trouble else "info",
            text=f"{change.path} {change.before or 'new'} -> {change.state}{why}",
        )

    def _place(self, change: PathChange) -> None:
        """Each lease may have another address: what no path has is not remembered for long."""
        path = (change.peer, change.path)
        before = self._pairs.get(path)
        if change.state == GONE:
            self._pairs.pop(path, None)
        elif change.local and change.remote:
            pair = Pair(ip_address(change.local), ip_address(change.remote))
            self._pairs[path], self._paths[change.peer, pair] = pair, change.path
        if before != self._pairs.get(path):
            self._forget()

    def _forget(self) -> None:
        needed = {sa.pair for sa in self._sas.values()}
        needed.update(*(each.pairs for each in self._under_way.values()))
        self._paths = {
            (peer, pair): name
            for (peer, pair), name in self._paths.items()
            if pair in needed or self._pairs.get((peer, name)) == pair
        }

    def _ordered(self, orders: tuple[Order, ...]) -> Iterator[Notice]:
        """Also what a terminate by hand left, and an order that has come to its end."""
        before, self._orders = self._orders, orders
        for order in orders:
            if order not in before:
                yield _order(order, f"{ORDERS[order.kind]} by {order.by}")
        for order in before:
            if order not in orders:
                yield _order(order, f"order {order.kind} is over")

    def _named(self, peer: str, pair: Pair) -> str:
        """By the path's name where it was told."""
        return self._paths.get((peer, pair), str(pair))


def _about(sa: Sa, kind: Kind, path: str, text: str, before: str = "") -> Notice:
    return Notice(kind=kind, peer=sa.name, path=path, ike_id=sa.unique_id, before=before, text=text)


def _no(what: str, peer: str, end: e.ActionFailed) -> Notice:
    kind: Kind = "refusal" if end.reason in REFUSALS else "failure"
    why = f"{end.reason}, {end.text}" if end.text else end.reason
    text = f"{what}: {why}"
    return Notice(kind=kind, peer=peer, reason=end.reason, level="warning", text=text)


def _order(order: Order, what: str) -> Notice:
    about = order.identity or " ".join(filter(None, [order.peer or "all peers", order.path]))
    text = f"{about}: {what}"
    return Notice(kind="order", peer=order.peer, path=order.path, reason=order.kind, text=text)


def _level(level: str) -> Level:
    known: tuple[Level, ...] = get_args(Level)
    return next((each for each in known if each == level), "info")
