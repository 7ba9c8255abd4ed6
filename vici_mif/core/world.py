# SPDX-License-Identifier: Apache-2.0
"""What is known of the outside right now. It only learns; it decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vici_mif.core import events as e
from vici_mif.core.model import Connection, IPAddress, Link, Sa
from vici_mif.core.orders import Orders

LIBIPSEC = "kernel-libipsec"


@dataclass(slots=True)
class World:
    """The last word about everything, newest fact wins."""

    charon: e.CharonConnected | None = None
    last: e.CharonConnected | None = None
    """The charon of now, or the one that went: what it left in the kernel is still there."""
    charon_why: str = ""
    connections: dict[str, Connection] | None = None
    """None until charon was asked."""
    connections_at: float = 0.0
    sas: dict[int, Sa] | None = None
    """By unique id; None until charon was asked."""
    sas_at: float = 0.0
    """When all of them were read last."""
    links: tuple[Link, ...] | None = None
    names: dict[str, tuple[IPAddress, ...]] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    """Connections that are driven as part of a peer of another name, and that peer."""
    orders: Orders = field(default_factory=Orders)
    keys: dict[str, set[str]] = field(default_factory=dict)
    """Private keys that inline connections brought into charon, by charon's id: for which peers."""

    @property
    def patched(self) -> bool:
        return self.charon is not None and self.charon.patched

    @property
    def steered(self) -> bool:
        """The charon of now, or the one that went, can be steered: it has the series."""
        return self.last is not None and self.last.patched

    @property
    def kernel_esp(self) -> bool:
        return self.last is None or LIBIPSEC not in self.last.plugins

    @property
    def inner(self) -> frozenset[IPAddress]:
        """Inner addresses of all IKE_SAs, also of other connections."""
        return frozenset(vip for sa in (self.sas or {}).values() for vip in sa.local_vips)

    @property
    def known(self) -> bool:
        """Charon and the links were both looked at."""
        return None not in (self.charon, self.connections, self.sas, self.links)

    def peer_of(self, connection: str) -> str:
        """The peer that a connection belongs to, if there is such a peer."""
        return self.parts.get(connection, connection)

    def named(self, peer: str) -> tuple[Sa, ...]:
        """All IKE_SAs of a peer, oldest first."""
        found = [sa for sa in (self.sas or {}).values() if self.peer_of(sa.name) == peer]
        return tuple(sorted(found, key=lambda sa: sa.unique_id))

    def learn(self, event: e.Event, now: float) -> None:
        match event:
            case e.CharonConnected():
                self._forget_charon("")
                self.charon = self.last = event
            case e.CharonGone(why):
                self._forget_charon(why)
            case e.ConnectionsSeen(connections):
                self.connections = {c.name: c for c in connections}
                self.connections_at = now
            case e.LinksSeen(links):
                self.links = links
            case e.NameResolved(name, addresses):
                self.names[name] = self._in_use_first(name, addresses)
            case e.OrdersRead(orders):
                self.orders = Orders(orders)
            case e.OrderGiven():
                self.orders = self.orders.give(event)
            case e.OrderCleared():
                self.orders = self.orders.clear(event)
            case e.SasSeen(sas):
                self.sas, self.sas_at = {sa.unique_id: sa for sa in sas}, now
            case _:
                self._learn_sa(event)

    def _in_use_first(self, name: str, found: tuple[IPAddress, ...]) -> tuple[IPAddress, ...]:
        """Resolvers rotate and zones change: an address that works is not left for that."""
        used = {sa.remote for sa in (self.sas or {}).values() if sa.established}
        kept = [a for a in self.names.get(name, ()) if a in used]
        return tuple(dict.fromkeys([*kept, *found]))

    def _learn_sa(self, event: e.Event) -> None:
        match event:
            case e.SaSeen(sa):
                self._known_sas()[sa.unique_id] = sa
            case e.SaClosed(sa):
                # the event shows the state in which it went; what matters is that it goes
                self._known_sas()[sa.unique_id] = replace(sa, state="DELETING")
            case e.SaGone(unique_id):
                self._known_sas().pop(unique_id, None)
            case e.SaRekeyed(old_id, new):
                self._known_sas().pop(old_id, None)
                self._known_sas()[new.unique_id] = new
            case _:
                pass

    def _known_sas(self) -> dict[int, Sa]:
        """An event may overtake the first snapshot; the snapshot then has the same SA."""
        return self.sas if self.sas is not None else {}

    def _forget_charon(self, why: str) -> None:
        self.charon, self.charon_why = None, why
        self.connections, self.sas = None, None
        self.keys.clear()
