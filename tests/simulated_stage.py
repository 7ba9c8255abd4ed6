# SPDX-License-Identifier: Apache-2.0
"""The stage without packets: scenarios on the simulated world, whose clock jumps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_interface

from tests import journals
from tests.simulated import Gateway, World
from tests.simulated_streams import Streams, carries
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.model import ChildTemplate, Connection, Link, OrderKind, Pair, Sa, Steering
from vici_mif.core.status import Status, TunnelStatus
from vici_mif.lab import conf
from vici_mif.lab.errors import LabError
from vici_mif.lab.scenario.model import Scenario
from vici_mif.lab.scenario.model import Topology as Told
from vici_mif.lab.scenario.words import seconds
from vici_mif.lab.topology import CLIENT, Profile, Topology, Wish, bare, design
from vici_mif.lab.wires.impair import DOWN, UP
from vici_mif.shell import replay

GRAIN = 1.0
"""Seconds until the runner looks again where nothing happens by itself."""


ORDERS = {
    "down": (OrderKind.DOWN, False, False),
    "up": (OrderKind.DOWN, True, False),
    "path drain": (OrderKind.DRAIN, False, True),
    "path undrain": (OrderKind.DRAIN, True, True),
    "path prefer": (OrderKind.PREFER, False, True),
    "tunnel revoke": (OrderKind.REVOKE, False, True),
    "peer revoke": (OrderKind.REVOKE, False, False),
}
"""What an operator types -> its kind, whether it takes one back, whether it names a path."""


class Absent:
    """Stands where a killed controller's planner was: hears nothing, wants nothing."""

    def __init__(self, before: World) -> None:
        self.config = before.planner.config

    def handle(self, event: e.Event, now: float) -> list[a.Action]:
        return []

    def next_deadline(self) -> None:
        return None


class SimulatedStage:
    """Implements `vici_mif.lab.scenario.stage.Telling`."""

    name = "the simulated stage"
    real = False
    gateways = 1
    has: frozenset[str] = frozenset()
    patience = 1.0

    def __init__(self) -> None:
        self._world: World | None = None
        self._links: dict[str, Link] = {}
        self._streams = Streams()
        self._moves = 0
        self._pinned_until: dict[int, float] = {}

    # --- the stage ---------------------------------------------------------------------

    def open(self, scenario: Scenario) -> None:
        top = scenario.story.topology
        plan = design(top.wish(scenario.name.replace("_", "-")))
        self._links = {
            wire.a.name: _link(wire.a.name, i, plan) for i, wire in enumerate(plan.uplinks)
        }
        self._world = World(
            text=_text(scenario),
            connection=_connection(plan),
            links={name: link for name, link in self._links.items() if name not in top.absent},
            gateway=_gateway(top),
            patched=top.client == "patched",
        )
        inside = [port for wire in plan.inside for port in (wire.a, wire.b)]
        self._world.natted = set(top.nat)
        self._world.echoes.alive = {bare(address) for p in inside for address in p.addresses}
        self._world.watchers.append(self._watch)
        self._world.start()

    def close(self) -> None:
        self._world = None

    def now(self) -> float:
        return self._world.now if self._world else 0.0

    def rest(self, most: float) -> None:
        """To the next happening, or a grain on."""
        world = self.world
        world.run(min(most, max(world.until_next(), 0.0), GRAIN))
        self._roam()
        self._streams.look(world)

    def status(self) -> Status | None:
        return None if self._gone else self.world.status

    def sas(self) -> Sequence[Sa]:
        return list(self.world.sas.values())

    def verdict(self) -> list[str]:
        """Everything that was decided is decided again, from its journal."""
        found = journals.differing(journals.written(self.world.kept))
        return ["\n".join(replay.difference(each)) for each in found[:1]]

    # --- what it can tell ----------------------------------------------------------------

    def moves(self) -> int:
        return self._moves

    def pins(self) -> int:
        known = self.world.sas.keys() & self._pinned_until.keys()
        return sum(self._pinned_until[ike_id] > self.world.now for ike_id in known)

    def carrier(self, tunnel: TunnelStatus) -> str | None:
        sa = self.world.sas.get(tunnel.ike_id)
        return self.world.link_of(sa.local) if sa and carries(self.world, sa) else None

    def silences(self, since: float) -> Mapping[str, float]:
        self._streams.look(self.world)
        return self._streams.longest(since)

    def broken(self) -> list[str]:
        return [f"{inner} is gone" for inner in self._streams.lost(self.world)]

    def left(self) -> list[str]:
        wishes = (self.world.steering, self.world.guard)
        return [str(wish) for wish in wishes if wish not in (None, Steering())]

    # --- links -----------------------------------------------------------------------------

    def do_link_down(self, link: str) -> None:
        self._change(link, up=False, addresses=())

    def do_link_up(self, link: str) -> None:
        self.world.links[link] = self._designed(link)
        self.world.see_links()

    def do_link_remove(self, link: str) -> None:
        self._known(link)
        del self.world.links[link]
        self.world.see_links()

    def do_link_add(self, link: str) -> None:
        new = replace(self._designed(link), index=max(x.index for x in self._links.values()) + 1)
        self._links[link] = self.world.links[link] = new
        self.world.see_links()

    def do_link_rename(self, link: str, name: str) -> None:
        self.do_link_down(link)
        for links in (self.world.links, self._links):
            links[name] = replace(links.pop(link), name=name)
        self.world.see_links()
        self.do_link_up(name)

    def do_carrier_lost(self, link: str) -> None:
        self._change(link, up=False)

    def do_carrier_back(self, link: str) -> None:
        self._change(link, up=True)

    def do_address_add(self, link: str, address: str) -> None:
        self._change(link, addresses=(*self._known(link).addresses, ip_interface(address)))

    def do_address_remove(self, link: str, address: str) -> None:
        kept = (x for x in self._known(link).addresses if x != ip_interface(address))
        self._change(link, addresses=tuple(kept))

    def do_address_renew(self, link: str, address: str) -> None:
        new = ip_interface(address)
        kept = (x for x in self._known(link).addresses if x.version != new.version)
        self._change(link, addresses=())
        self._change(link, addresses=(new, *kept))

    def do_vlan(self, link: str, number: str) -> None:
        name = f"{link}.{number}"
        self._known(link)
        index = max(x.index for x in self._links.values()) + 1
        new = Link(name, index, True, 1500, (ip_interface(f"192.168.1{int(number):02}.100/24"),))
        self._links[name] = self.world.links[name] = new
        self.world.see_links()

    # --- paths -----------------------------------------------------------------------------

    def do_cut(self, link: str, direction: str) -> None:
        self._known(link)
        if direction in {UP, DOWN}:
            self.world.one_way[link] = direction
        else:
            self.world.dead.add(link)
        self._streams.look(self.world)

    def do_uncut(self, link: str) -> None:
        self.world.dead.discard(link)
        self.world.one_way.pop(link, None)
        self._streams.look(self.world)

    def do_loss(self, link: str, percent: str) -> None:
        every = self.world.echoes.every
        every.pop(link, None)
        if int(percent):
            every[link] = 100 // int(percent) | 1  # odd, else always the same target

    def do_mtu(self, link: str, number: str) -> None:
        self._change(link, mtu=int(number))

    def do_rebind(self, link: str) -> None:
        self.world.rebind(link)
        self._streams.look(self.world)

    def do_remote_down(self, address: str) -> None:
        self.world.dead_remotes.add(address)

    def do_remote_up(self, address: str) -> None:
        self.world.dead_remotes.discard(address)

    # --- daemons and operators ---------------------------------------------------------------

    def do_kill_controller(self) -> None:
        self.world.planner = Absent(self.world)  # type: ignore[assignment]

    def do_start_controller(self) -> None:
        self.world.restart_controller()

    def do_kill_charon(self) -> None:
        self.world.lose_charon(with_sas=True)

    def do_start_charon(self) -> None:
        self.world.connect()

    def do_load_all(self) -> None:
        self.world.feed(e.ConnectionsSeen((self.world.connection,)))  # type: ignore[arg-type]

    def do_suspend(self, time: str) -> None:
        self.world.feed(e.Woke(seconds(time)))

    def do_clock_forward(self, time: str) -> None:
        self._set_clock(seconds(time))

    def do_clock_back(self, time: str) -> None:
        self._set_clock(-seconds(time))

    def _set_clock(self, by: float) -> None:
        self.world.wall += timedelta(seconds=by)
        self.world.feed(e.DayBegan(self.world.wall.date().isoformat()))

    def do_order(self, words: str) -> None:
        given = next((x for x in ORDERS if words.startswith(f"{x} ") or words == x), None)
        if given is None:
            raise LabError(f"the simulated stage does not know the order `{words}`")
        kind, cleared, on_path = ORDERS[given]
        names = words.removeprefix(given).split()
        path = names.pop() if on_path and names else ""
        peer = "".join(names[:1])
        if cleared:
            self.world.feed(e.OrderCleared(kind=kind, peer=peer, path=path))
        else:
            self.world.feed(e.OrderGiven(kind, peer, "2026-01-01T00:00:00Z", path))

    def do_terminate_by(self, which: str, side: str) -> None:
        if side == "client" and which == "all":
            self.world.swanctl_terminate()
            return
        if side == "client":
            raise LabError("the simulated stage knows `terminate all by client` only")
        for sa in self._which(which):
            self.world.peer_deletes(sa.unique_id)

    def do_rekey_by(self, which: str, side: str) -> None:
        for sa in self._which(which):
            self.world.rekey(sa.unique_id)

    def do_rekey_children_by(self, side: str) -> None:
        self.world.rekey_children()

    def do_traffic_start(self) -> None:
        self.world.streaming = True
        self._streams.start(self.world)

    # --- inside ------------------------------------------------------------------------------

    @property
    def world(self) -> World:
        assert self._world is not None
        return self._world

    @property
    def _gone(self) -> bool:
        return isinstance(self.world.planner, Absent)

    def _known(self, link: str) -> Link:
        if link not in self.world.links:
            raise LabError(f"there is no link {link}")
        return self.world.links[link]

    def _designed(self, link: str) -> Link:
        if link not in self._links:
            raise LabError(f"there is no link {link} in this topology")
        return self._links[link]

    def _change(self, link: str, **changes: object) -> None:
        self.world.links[link] = replace(self._known(link), **changes)  # type: ignore[arg-type]
        self.world.see_links()

    def _which(self, which: str) -> list[Sa]:
        found = [
            sa
            for sa in self.world.sas.values()
            if which == "all" or sa.cloned == (which == "clone")
        ]
        return found[:1] if which == "clone" else found

    def _watch(self, action: a.Action) -> None:
        """Before it is carried out."""
        if isinstance(action, a.Migrate):
            sa = self.world.sas.get(action.ike_id)
            self._moves += sa is not None and sa.pair != action.pair
            self._pinned_until[action.ike_id] = self.world.now + action.pin_delay
        elif isinstance(action, a.Unpin):
            self._pinned_until.pop(action.ike_id, None)

    def _roam(self) -> None:
        """charon by itself, once a killed controller's pins have run out."""
        up = [x for x in self.world.links.values() if x.up and x.addresses]
        for sa in list(self.world.sas.values()) if self._gone and up else ():
            if self._pinned_until.get(sa.unique_id, 0) <= self.world.now and self._stranded(
                sa.pair
            ):
                self.world.sas[sa.unique_id] = replace(sa, local=up[0].addresses[0].ip)

    def _stranded(self, pair: Pair) -> bool:
        return not self.world.link_of(pair.local)


def _gateway(top: Told) -> Gateway:
    """It gives no more inner addresses than a family may have members: 0044 of the series."""
    if top.gateway != "patched":
        return Gateway(clones=False)
    return Gateway(max_clones=top.max_clones, addresses=top.max_clones + 1)


def _link(name: str, index: int, plan: Topology) -> Link:
    addresses = plan.port(CLIENT, name).addresses
    return Link(name, index + 2, True, 1500, tuple(ip_interface(x) for x in addresses))


def _connection(plan: Topology) -> Connection:
    wish: Wish = plan.wish
    near, far = conf.selectors(wish)
    roams = wish.profile is Profile.ROADWARRIOR
    dual = wish.ipv6 or wish.outer == 6
    vips = ("0.0.0.0", "::") if dual else ("0.0.0.0",)
    return Connection(
        name="hq",
        remote_addrs=tuple(str(ip_address(bare(x))) for x in plan.remote_addresses),
        vips=vips if roams else (),
        children=(ChildTemplate(conf.CHILD, local_ts=near or ("dynamic",), remote_ts=far),),
    )


def _text(scenario: Scenario) -> str:
    """The controller's configuration; JSON is YAML."""
    return json.dumps(scenario.configuration)
