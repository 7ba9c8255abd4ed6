# SPDX-License-Identifier: Apache-2.0
"""A small world in memory: a charon, a gateway, links and a clock that jumps.

It is no mock: it has IKE_SAs with hosts and children, answers requests as docs/vici.md says and
loses what is sent on a dead link. The planner under test sees facts only.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_address, ip_interface
from itertools import count

from tests.echoes import Echoes
from tests.journals import BASE, Asked, Kept, Started
from vici_mif.core import actions as a
from vici_mif.core import events as e
from vici_mif.core.health.watching import Watching
from vici_mif.core.model import (
    Child,
    ChildTemplate,
    Connection,
    Footprint,
    GuardWish,
    IPAddress,
    Link,
    Order,
    Pair,
    Sa,
    Steering,
)
from vici_mif.core.planner import Planner
from vici_mif.core.rooms import Rooms
from vici_mif.core.status import PathChange, PeerStatus, Status, TunnelStatus
from vici_mif.core.wish.config import Source, parse
from vici_mif.lab.wires.impair import DOWN, UP

GATEWAY = "203.0.113.1"
RTT = 0.02
GIVE_UP = 165.0  # charon's retransmissions with their defaults
RETURN = 30.0  # until a move without an answer goes back

ROAD_WARRIOR = Connection(
    name="hq",
    remote_addrs=(GATEWAY,),
    vips=("0.0.0.0",),
    children=(ChildTemplate("net", local_ts=("dynamic",), remote_ts=("10.100.0.0/16",)),),
)
SITE = Connection(
    name="hq",
    remote_addrs=(GATEWAY,),
    children=(
        ChildTemplate("lan", local_ts=("10.1.0.0/16",), remote_ts=("10.2.0.0/16",)),
        ChildTemplate("voip", local_ts=("10.1.9.0/24",), remote_ts=("10.3.0.0/16",)),
    ),
)
THREE = "version: 1\nconnections:\n  hq: {links: [eth0, eth1, eth2], spares: 0}\n"
SPARE = THREE.replace("spares: 0", "spares: 1")


def link(index: int, *, up: bool = True, name: str | None = None) -> Link:
    """eth0 has 192.0.2.0's neighbour 198.18.0.2/24, eth1 198.18.1.2/24 ..."""
    address = ip_interface(f"198.18.{index}.2/24")
    return Link(name or f"eth{index}", index + 2, up, 1500, (address,) if up else ())


@dataclass
class Gateway:
    """The other end, and how it was configured."""

    clones: bool = True
    max_clones: int = 8
    mobike: bool = True
    childless: bool = True
    addresses: int = 8
    """Inner addresses it has to give; 0: none."""
    refuses: bool = False
    """AUTHENTICATION_FAILED for everybody."""
    leases: bool = False
    """A lease in use is given again where exactly that is asked for from a member's address."""
    replaces: bool = False
    """A new authentication closes what the same identity had (`unique = replace`)."""
    denied: frozenset[str] = frozenset()
    """Links whose addresses it answers with UNACCEPTABLE_ADDRESSES."""


@dataclass
class World:
    """Drive it with `run` and by changing links; look at `status` and `log`."""

    text: str = THREE
    connection: Connection | None = ROAD_WARRIOR
    links: dict[str, Link] = field(default_factory=lambda: {f"eth{i}": link(i) for i in range(3)})
    gateway: Gateway = field(default_factory=Gateway)
    patched: bool = True
    plugins: frozenset[str] = frozenset({"kernel-libipsec"})
    now: float = 1000.0
    secrets_missing: bool = False
    late: float = 0.0
    """Seconds by which charon's events about moves are late: a busy host."""
    disk_full: bool = False
    more: dict[str, tuple[Connection, Gateway]] = field(default_factory=dict)
    """More connections in the same charon, and their gateways."""
    reauth: float | None = None
    """charon's reauth_time in seconds: it closes the family and authenticates again."""

    def __post_init__(self) -> None:
        self.rooms = Rooms(parse([Source("config.yaml", self.text)]), BASE)
        self.kept: list[Kept] = [Started(self.planner.config)]
        """All that the planner was asked, and what it answered."""
        self.sas: dict[int, Sa] = {}
        self.forgotten: set[int] = set()
        self.dead: set[str] = set()
        """Links that are up and lose everything."""
        self.one_way: dict[str, str] = {}
        """Links that are up and lose one direction, as the client sees it: UP or DOWN."""
        self.natted: set[str] = set()
        """Links behind a NAT."""
        self.unmapped: set[int] = set()
        """IKE_SAs whose NAT forgot: IKE passes, and what the peer sends on the children is lost."""
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)
        """The clock of the day, which stands still."""
        self.streaming = False
        """Something is sent through every tunnel, from both ends."""
        self._came: dict[int, int] = {}
        self.names: dict[str, tuple[IPAddress, ...]] = {}
        self.dead_remotes: set[str] = set()
        """Addresses of the gateway that are gone: nothing answers there."""
        self.steering = Steering()
        self.guard: GuardWish | None = None
        self.log: list[tuple[float, a.Action]] = []
        self.loaded: list[a.LoadSecret | a.LoadConnection] = []
        self.unloaded: list[a.Unload] = []
        self.keys: set[str] = set()
        """Private keys in charon."""
        self.told: list[PathChange] = []
        self.stored: tuple[Order, ...] = ()
        self.footprints: tuple[Footprint, ...] = ()
        self.watchers: list[Callable[[a.Action], None]] = []
        self.beside: tuple[tuple[Connection, ...], tuple[Sa, ...]] = ((), ())
        """What others have in the same charon."""
        self.full_window = "busy"
        self.outstanding: set[int] = set()
        """IKE_SAs with an exchange under way: without an answer their window stays full."""
        self.charon_up = False
        self.echoes = Echoes(self)
        self.really: set[str] = set()
        """Tags of moves to another pair."""
        self.probe_rtt: dict[str, float] = {}
        """By link; seconds."""
        self._good: dict[int, Pair] = {}
        self._born_at: dict[int, float] = {}
        self.own_reauths = 0
        """Times charon itself broke a family to make it again."""
        self._moving: dict[int, str] = {}
        self._probes: dict[int, list[str]] = {}
        """Tests under way: a move ends those of its IKE_SA."""
        self._authenticating: dict[int, str] = {}
        self._ids = count(1)
        self._serial = count()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []

    # --- driving ---------------------------------------------------------------

    def start(self) -> World:
        self.feed(e.OrdersRead(self.stored))
        self.feed(e.FootprintsRead(self.footprints))
        self.see_links()
        self.connect()
        return self

    def connect(self) -> None:
        self.charon_up = True
        self.feed(e.CharonConnected("6.1.0", self.patched, self.plugins))
        self._seen_all()

    def lose_charon(self, *, with_sas: bool) -> None:
        """The VICI connection, or charon itself with all its SAs."""
        self.charon_up = False
        self._queue.clear()
        self._moving.clear()
        if with_sas:
            self.sas.clear()
        self.feed(e.CharonGone("connection refused"))

    @property
    def planner(self) -> Planner:
        return self.rooms.planner

    @planner.setter
    def planner(self, planner: Planner) -> None:
        self.rooms.planner = planner

    def restart_controller(self) -> None:
        """A killed controller and its successor: nothing is left but charon and the kernel."""
        self.rooms = Rooms(self.planner.config, BASE)
        self.kept.append(Started(self.planner.config))
        self.echoes.watching = Watching()
        self._queue.clear()
        self._moving.clear()
        self.start()

    def run(self, span: float) -> World:
        """Let `span` seconds pass; the clock jumps from one happening to the next."""
        end = self.now + span
        while (at := self._next()) is not None and at <= end:
            self.now = max(self.now, at)
            if self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            else:
                self.feed(e.Ticked())
        self.now = end
        return self

    def _next(self) -> float | None:
        known = [self.rooms.next_deadline()]
        if self._queue:
            known.append(self._queue[0][0])
        return min((at for at in known if at is not None), default=None)

    def until_next(self) -> float:
        """Seconds until something happens by itself."""
        at = self._next()
        return float("inf") if at is None else at - self.now

    def later(self, delay: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._serial), act))

    def feed(self, event: e.Event) -> list[a.Action]:
        wanted = self.rooms.handle(event, self.now)
        if isinstance(self.planner, Planner):
            self.kept.append(Asked(event, self.now, tuple(wanted)))
        for action in wanted:
            if not isinstance(action, a.PathsChanged):  # that is in `told`
                self.log.append((self.now, action))
            for watch in self.watchers:
                watch(action)
            self._execute(action)
        return wanted

    # --- the outside -------------------------------------------------------------

    def see_links(self) -> None:
        self.feed(e.LinksSeen(tuple(self.links.values())))

    def link_down(self, name: str) -> None:
        self.links[name] = replace(self.links[name], up=False, addresses=())
        self.see_links()

    def link_up(self, name: str) -> None:
        self.links[name] = link(int(name[-1]))
        self.see_links()

    def forget_all(self) -> None:
        """The gateway was restarted: it answers, but nothing of what there is."""
        self.forgotten |= set(self.sas)

    def rebind(self, name: str) -> None:
        """The NAT of a link gives other ports from now on."""
        self.unmapped |= {i for i, sa in self.sas.items() if self.link_of(sa.local) == name}

    def answered(self, sa: Sa, pair: Pair) -> bool:
        """What is sent on an IKE_SA or its children by this pair comes back."""
        return sa.unique_id not in self.forgotten and self.reaches(pair)

    def reaches(self, pair: Pair) -> bool:
        """An exchange takes a way there and a way back."""
        return self.passes(pair, UP) and self.passes(pair, DOWN)

    def passes(self, pair: Pair, direction: str) -> bool:
        """What is sent in this direction arrives."""
        if str(pair.remote) in self.dead_remotes:
            return False
        for one in self.links.values():
            if one.up and pair.local in [i.ip for i in one.addresses]:
                return one.name not in self.dead and self.one_way.get(one.name) != direction
        return False

    def delivers(self, sa: Sa, direction: str) -> bool:
        """Payload of an IKE_SA's children arrives: what a NAT forgot is the way down."""
        known = direction == UP or sa.unique_id not in self.unmapped
        return sa.unique_id not in self.forgotten and known and self.passes(sa.pair, direction)

    def link_of(self, address: IPAddress) -> str:
        found = (x.name for x in self.links.values() if address in [i.ip for i in x.addresses])
        return next(found, "")

    def peer_deletes(self, ike_id: int) -> None:
        sa = self.sas.pop(ike_id)
        self.feed(e.SaClosed(replace(sa, state="DELETING", tasks_passive=("IKE_DELETE",))))

    def swanctl_terminate(self) -> None:
        """`swanctl --terminate --ike hq`: one after the other."""
        for ike_id in list(self.sas):
            sa = self.sas.pop(ike_id)
            gone = replace(sa, state="DELETING", tasks_active=("IKE_DELETE",))
            self.feed(e.SaClosed(gone, given="2026-01-01T00:00:00Z"))

    def rekey(self, ike_id: int) -> int:
        new_id = next(self._ids)
        self.sas[new_id] = replace(self.sas.pop(ike_id), unique_id=new_id, spi_in=f"{new_id:016x}")
        self._good[new_id] = self._good.get(ike_id, self.sas[new_id].pair)
        self.feed(e.SaRekeyed(ike_id, self.sas[new_id]))
        return new_id

    def rekey_children(self) -> None:
        """All CHILD_SAs get new SPIs and numbers; name and selectors stay."""
        for ike_id, sa in list(self.sas.items()):
            fresh = tuple(self._rekeyed(child) for child in sa.children)
            self.sas[ike_id] = replace(sa, children=fresh)
            self._seen(ike_id)

    def _rekeyed(self, child: Child) -> Child:
        number = next(self._ids)
        return replace(child, unique_id=number, spi_in=f"{number:08x}")

    # --- looking -----------------------------------------------------------------

    @property
    def status(self) -> Status:
        return self.planner.status(self.now, self.wall, "config.yaml")

    @property
    def hq(self) -> PeerStatus:
        return self.status.peers[0]

    def actions(self, *kinds: type[a.Action]) -> list[a.Action]:
        return [action for _, action in self.log if isinstance(action, kinds)]

    def seats(self) -> dict[str, str | None]:
        """Where each tunnel is that has a home."""
        return {t.home: t.current for t in self.hq.tunnels if t.home is not None}

    def spares(self) -> list[TunnelStatus]:
        """Tunnels without a home."""
        return [t for t in self.hq.tunnels if t.home is None]

    def working(self) -> list[Sa]:
        return [
            sa
            for sa in self.sas.values()
            if sa.established and sa.children and self.answered(sa, sa.pair)
        ]

    # --- carrying out --------------------------------------------------------------

    def _execute(self, action: a.Action) -> None:
        handler = getattr(self, f"_do_{type(action).__name__}", None)
        assert handler is not None, action
        handler(action)

    def _done(self, tag: str, delay: float = 0.001, **facts: object) -> None:
        self.later(delay, lambda: self._tell(e.ActionDone(tag, **facts)))  # type: ignore[arg-type]

    def _failed(self, tag: str, reason: str, delay: float = 0.001) -> None:
        self.later(delay, lambda: self._tell(e.ActionFailed(tag, reason)))

    def _tell(self, event: e.Event) -> None:
        self.feed(event)

    def _seen(self, ike_id: int) -> None:
        if ike_id in self.sas:
            self.feed(e.SaSeen(self._shown(self.sas[ike_id])))

    def _shown(self, sa: Sa) -> Sa:
        """With what charon counts, and what it knows of NATs."""
        children = tuple(self._counted(sa, child) for child in sa.children)
        sa = replace(sa, nat_local=self.link_of(sa.local) in self.natted, children=children)
        born_at = self._born_at.get(sa.family or 0)
        if born_at is None or self.reauth is None:
            return sa
        age = self.now - born_at
        return replace(sa, established_delay=age, reauth_delay=self.reauth - age)

    def _counted(self, sa: Sa, child: Child) -> Child:
        """Packets both ways while streams run; what is sent where nothing passes does not come."""
        if not self.streaming:
            return child
        sent = int(10 * self.now)
        if self.delivers(sa, DOWN):
            self._came[child.unique_id] = sent
        came = self._came.get(child.unique_id, 0)
        return replace(child, packets_in=came, packets_out=sent)

    def _reauthenticate(self, family: int) -> None:
        """As charon does by default: break, then make."""
        members = [sa for sa in self.sas.values() if sa.family == family]
        for sa in members:
            del self.sas[sa.unique_id]
            gone = replace(sa, state="DELETING", reauth_delay=0.0, tasks_active=("IKE_DELETE",))
            self.feed(e.SaClosed(gone))
        self.own_reauths += bool(members)

    def _seen_all(self) -> None:
        connections, sas = self.beside
        own = (self.connection,) if self.connection else ()
        own += tuple(connection for connection, _ in self.more.values())
        self.feed(e.ConnectionsSeen((*own, *connections)))
        self.feed(e.SasSeen((*map(self._shown, self.sas.values()), *sas)))

    def _do_PathsChanged(self, action: a.PathsChanged) -> None:  # noqa: N802
        self.told += action.changes

    def _do_Say(self, action: a.Say) -> None:  # noqa: N802
        pass

    def _do_Steer(self, action: a.Steer) -> None:  # noqa: N802
        self.steering = action.wish
        self._done(action.tag)

    def _do_Guard(self, action: a.Guard) -> None:  # noqa: N802
        self.guard = action.wish
        self._done(action.tag)

    def _do_Watch(self, action: a.Watch) -> None:  # noqa: N802
        self.echoes.watch(action.wish)
        self._done(action.tag)

    def _do_StoreOrders(self, action: a.StoreOrders) -> None:  # noqa: N802
        if self.disk_full:
            full = e.ActionFailed(action.tag, "failed", "orders.json: No space left on device")
            self.later(0.001, lambda: self._tell(full))
            return
        self.stored = action.orders
        self._done(action.tag)

    def _do_Resolve(self, action: a.Resolve) -> None:  # noqa: N802
        def answer() -> None:
            found = self.names.get(action.name, (IPv4Address(GATEWAY),))
            self.feed(e.NameResolved(action.name, found))
            self.feed(e.ActionDone(action.tag))

        self.later(0.01, answer)

    def _do_LoadSecret(self, action: a.LoadSecret) -> None:  # noqa: N802
        if self.secrets_missing:
            missing = e.ActionFailed(action.tag, "failed", "hq.psk: No such file or directory")
            self.later(0.01, lambda: self.feed(missing))
            return
        self.loaded.append(action)
        if action.command == "load-key":
            name = str(action.message["data"])
            new = name not in self.keys
            self.keys.add(name)
            self._done(action.tag, key_id=name, is_new=new)
        else:
            self._done(action.tag)

    def _do_LoadConnection(self, action: a.LoadConnection) -> None:  # noqa: N802
        self.loaded.append(action)
        self.connection = replace(ROAD_WARRIOR, name=action.name)
        self._done(action.tag)

    def _do_KeepFootprints(self, action: a.KeepFootprints) -> None:  # noqa: N802
        self.footprints = action.footprints
        self._done(action.tag)

    def _do_ReadAll(self, action: a.ReadAll) -> None:  # noqa: N802
        def answer() -> None:
            self._seen_all()
            self.feed(e.ActionDone(action.tag))

        self.later(0.002, answer)

    def _do_ReadSa(self, action: a.ReadSa) -> None:  # noqa: N802
        def answer() -> None:
            if action.ike_id in self.sas:
                self._seen(action.ike_id)
            else:
                self.feed(e.SaGone(action.ike_id))
            self.feed(e.ActionDone(action.tag))

        self.later(0.002, answer)

    def _do_Initiate(self, action: a.Initiate) -> None:  # noqa: N802
        self._done(action.tag)
        taken = [sa for sa in self.sas.values() if sa.name == action.connection]
        usable = [x for x in self.links.values() if x.up and x.addresses]
        own = self._of(action.connection)[0]
        asked = own.local_addrs if own else ()
        usable = [x for x in usable if not asked or str(x.addresses[0].ip) in asked]
        if taken or not usable:
            return
        ike_id = next(self._ids)
        pair = Pair(usable[0].addresses[0].ip, ip_address(GATEWAY))
        child = self._child(action.connection, action.child, action.child, ("10.9.0.1/32",))
        sa = Sa(ike_id, action.connection, "CONNECTING", pair.local, pair.remote)
        if self.reaches(pair):
            sa = replace(sa, state="ESTABLISHED", children=(child,))
        self.sas[ike_id] = sa
        self.later(4 * RTT, lambda: self._seen(ike_id))

    def _do_CreateIke(self, action: a.CreateIke) -> None:  # noqa: N802
        ike_id, pair = next(self._ids), action.pair
        self.sas[ike_id] = Sa(
            ike_id,
            action.connection,
            "CONNECTING",
            pair.local,
            pair.remote,
            spi_in=f"{ike_id:016x}",
            spi_responder="0000000000000000",
        )
        self._authenticating[ike_id] = action.tag
        self.later(0.001, lambda: self._tell(e.ActionTaken(action.tag, ike_id)))
        if self.reaches(pair):
            self.later(RTT, lambda: self._answered(ike_id))
            self.later(3 * RTT, lambda: self._authenticated(ike_id, action))
        else:
            self.later(GIVE_UP, lambda: self._not_authenticated(ike_id, action.tag, "timeout"))

    def _of(self, name: str) -> tuple[Connection | None, Gateway]:
        return self.more.get(name, (self.connection, self.gateway))

    def _answered(self, ike_id: int) -> None:
        if ike_id in self.sas:
            self.sas[ike_id] = replace(self.sas[ike_id], spi_responder="00c0ffee00c0ffee")

    def _authenticated(self, ike_id: int, action: a.CreateIke) -> None:
        if ike_id not in self.sas:
            return
        _, gateway = self._of(action.connection)
        if gateway.refuses:
            self._not_authenticated(ike_id, action.tag, "peer-refused")
        elif action.childless and not gateway.childless:
            self._not_authenticated(ike_id, action.tag, "not-negotiated")
        else:
            self._establish(ike_id, action)

    def _establish(self, ike_id: int, action: a.CreateIke) -> None:
        _, gateway = self._of(action.connection)
        vips = tuple(self._inner(action))[: gateway.addresses]
        children: tuple[Child, ...] = ()
        if action.child:
            children = (
                self._child(action.connection, action.child, action.child, ("10.1.0.0/16",)),
            )
        self.sas[ike_id] = replace(
            self.sas[ike_id],
            state="ESTABLISHED",
            family=ike_id,
            clone_supported=gateway.clones,
            mobike=gateway.mobike,
            original_initiator=True,
            local_vips=vips,
            children=children,
        )
        self._good[ike_id] = action.pair
        self._born_at[ike_id] = self.now
        if self.reauth is not None:
            self.later(self.reauth, lambda: self._reauthenticate(ike_id))
        if self.gateway.replaces:
            for old in [i for i, sa in self.sas.items() if sa.family not in {None, ike_id}]:
                self.peer_deletes(old)
        del self._authenticating[ike_id]
        self._seen(ike_id)
        self.feed(e.ActionDone(action.tag, ike_id=ike_id))

    def _inner(self, action: a.CreateIke) -> Iterator[IPAddress]:
        """What a pool of each version gives to who asks."""
        connection, gateway = self._of(action.connection)
        names = list(self.more)
        site = 9 + 10 * (names.index(action.connection) + 1 if action.connection in names else 0)
        asked = action.vips or tuple(map(ip_address, connection.vips if connection else ()))
        used = {vip for sa in self.sas.values() for vip in sa.local_vips}
        if gateway.leases:
            here = [sa for sa in self.sas.values() if sa.established and sa.pair == action.pair]
            used -= {vip for sa in here for vip in sa.local_vips if vip in asked}
        for number, vip in enumerate(asked):
            first = ip_address(f"10.{site}.0.1" if vip.version == 4 else f"fd00:{site}::1")
            pool = [first + i for i in range(64) if first + i not in used]
            given = vip if vip in pool else (first + number if first + number in pool else pool[0])
            used.add(given)
            yield given

    def _not_authenticated(self, ike_id: int, tag: str, reason: str) -> None:
        if self.sas.pop(ike_id, None) is not None:
            self.feed(e.SaGone(ike_id))
            self.feed(e.ActionFailed(tag, reason))

    def _child(self, of: str, name: str, template: str, local_ts: tuple[str, ...]) -> Child:
        number = next(self._ids)
        connection = self._of(of)[0]
        known = connection.children if connection else ()
        remote = next((t.remote_ts for t in known if t.name == template), ("10.2.0.0/16",))
        spi = f"{number:08x}"
        return Child(
            name, number, "INSTALLED", local_ts, remote, spi_in=spi, encryption="AES_GCM_16"
        )

    def _do_Clone(self, action: a.Clone) -> None:  # noqa: N802
        parent = self.sas.get(action.ike_id)
        gateway = self._of(parent.name if parent else "")[1]
        if parent is None:
            self._failed(action.tag, "sa-gone")
        elif not gateway.clones:
            self._failed(action.tag, "not-negotiated")
        elif sum(sa.family == parent.family for sa in self.sas.values()) > gateway.max_clones:
            self._failed(action.tag, "limit", RTT)
        elif self.answered(parent, parent.pair):
            self.later(2 * RTT, lambda: self._cloned(action))
        else:
            self._failed(action.tag, "timeout", GIVE_UP)

    def _cloned(self, action: a.Clone) -> None:
        parent = self.sas.get(action.ike_id)
        if parent is None:
            self.feed(e.ActionFailed(action.tag, "sa-gone"))
            return
        ike_id = next(self._ids)
        self.sas[ike_id] = replace(
            parent, unique_id=ike_id, spi_in=f"{ike_id:016x}", cloned=True, children=()
        )
        self._good[ike_id] = parent.pair
        self._seen(action.ike_id)
        self._seen(ike_id)
        self.feed(e.ActionDone(action.tag, ike_id=ike_id, family=parent.family))

    def _do_Migrate(self, action: a.Migrate) -> None:  # noqa: N802
        sa = self.sas.get(action.ike_id)
        if sa is None:
            self._failed(action.tag, "sa-gone")
            return
        if sa.pair == action.pair and action.pin_delay:
            self._done(action.tag, ike_id=sa.unique_id)
            return
        if sa.pair == action.pair:
            self._tell_mapping(action, sa)
            return
        self.really.add(action.tag)
        for probe in self._probes.pop(action.ike_id, ()):
            self._failed(probe, "superseded")
        if sa.unique_id in self._moving:
            self._failed(self._moving[sa.unique_id], "superseded")
        self._moving[sa.unique_id] = action.tag
        self.sas[sa.unique_id] = replace(
            sa,
            local=action.pair.local,
            remote=action.pair.remote,
            tasks_active=("IKE_MOBIKE",),
        )
        self.later(0.001, lambda: self._seen(action.ike_id))
        if not self.answered(sa, action.pair):
            self.later(RETURN, lambda: self._moved_back(action, "timeout"))
        elif self.link_of(action.pair.local) in self._of(sa.name)[1].denied:
            self.later(RTT, lambda: self._moved_back(action, "unacceptable-addresses"))
        else:
            self.later(RTT, lambda: self._moved(action))

    def _tell_mapping(self, action: a.Migrate, sa: Sa) -> None:
        if self.answered(sa, sa.pair):
            self.later(RTT, lambda: self.unmapped.discard(action.ike_id))
            self._done(action.tag, RTT, ike_id=sa.unique_id)
        else:
            self._failed(action.tag, "timeout", GIVE_UP)

    def _moved(self, action: a.Migrate) -> None:
        if self._moving.get(action.ike_id) != action.tag or action.ike_id not in self.sas:
            return
        del self._moving[action.ike_id]
        self._good[action.ike_id] = action.pair
        self.unmapped.discard(action.ike_id)
        self.sas[action.ike_id] = replace(self.sas[action.ike_id], tasks_active=())
        self.later(self.late, lambda: self._seen(action.ike_id))
        self.later(self.late, lambda: self.feed(e.ActionDone(action.tag, ike_id=action.ike_id)))

    def _moved_back(self, action: a.Migrate, reason: str) -> None:
        if self._moving.get(action.ike_id) != action.tag or action.ike_id not in self.sas:
            return
        del self._moving[action.ike_id]
        good = self._good[action.ike_id]
        sa = self.sas[action.ike_id]
        self.sas[action.ike_id] = replace(sa, local=good.local, remote=good.remote, tasks_active=())
        self._seen(action.ike_id)
        self.feed(e.ActionFailed(action.tag, reason))

    def _do_Unpin(self, action: a.Unpin) -> None:  # noqa: N802
        self._done(action.tag)

    def _do_Probe(self, action: a.Probe) -> None:  # noqa: N802
        sa = self.sas.get(action.ike_id)
        if sa is None:
            self._failed(action.tag, "sa-gone")
        elif action.ike_id in self.outstanding and not self.answered(sa, sa.pair):
            self._failed(action.tag, self.full_window)
        elif self.answered(sa, action.pair):
            self.outstanding.discard(action.ike_id)
            rtt = self.probe_rtt.get(self.link_of(action.pair.local), RTT)
            self._done(action.tag, rtt, rtt_delay=rtt)
        else:
            self._probes.setdefault(action.ike_id, []).append(action.tag)
            self.outstanding.add(action.ike_id)  # charon goes on to repeat the request
            self._failed(action.tag, "timeout", float(action.tries))

    def _do_CreateChild(self, action: a.CreateChild) -> None:  # noqa: N802
        sa = self.sas.get(action.ike_id)
        if sa is None:
            self._failed(action.tag, "sa-gone")
        elif self.answered(sa, sa.pair):
            self.later(RTT, lambda: self._opened(action))
        else:
            self._failed(action.tag, "timeout", GIVE_UP)

    def _opened(self, action: a.CreateChild) -> None:
        sa = self.sas.get(action.ike_id)
        if sa is None:
            self.feed(e.ActionFailed(action.tag, "sa-gone"))
            return
        local = action.local_ts or ("10.1.0.0/16",)
        child = self._child(sa.name, action.name, action.template, local)
        child = replace(child, if_id_in=action.if_id or 0, if_id_out=action.if_id or 0)
        self.sas[action.ike_id] = replace(sa, children=(*sa.children, child))
        self._seen(action.ike_id)
        self.feed(e.ActionDone(action.tag, ike_id=action.ike_id, child_id=child.unique_id))

    def _do_Terminate(self, action: a.Terminate) -> None:  # noqa: N802
        self._done(action.tag)
        sa = self.sas.get(action.ike_id)
        if sa is not None and (action.force or self.answered(sa, sa.pair)):
            self.later(RTT, lambda: self._closed(action.ike_id))

    def _closed(self, ike_id: int) -> None:
        sa, tag = self.sas.pop(ike_id, None), self._moving.pop(ike_id, None)
        if tag is not None:
            self.feed(e.ActionFailed(tag, "sa-gone"))
        if sa is not None:
            gone = replace(sa, state="DELETING", tasks_active=("IKE_DELETE",))
            self.feed(e.SaClosed(gone))

    def _do_TerminateChild(self, action: a.TerminateChild) -> None:  # noqa: N802
        self._done(action.tag)
        self.later(RTT, lambda: self._child_closed(action.child_id))

    def _child_closed(self, child_id: int) -> None:
        for ike_id, sa in list(self.sas.items()):
            left = tuple(child for child in sa.children if child.unique_id != child_id)
            if left != sa.children:
                self.sas[ike_id] = replace(sa, children=left)
                self._seen(ike_id)

    def _do_Unload(self, action: a.Unload) -> None:  # noqa: N802
        self.unloaded.append(action)
        self.keys.discard(action.name)
        if action.command == "unload-conn":
            self.connection = None
        self._done(action.tag)

    def configure(self, text: str) -> None:
        """The operator's file is another one now."""
        config = parse([Source("config.yaml", text)])
        if config != self.planner.config:
            self.feed(e.ConfigRead(config))


def watch_moves(world: World) -> list[bool]:
    """For each move of a working tunnel: does the new pair work?"""
    good: list[bool] = []

    def look(action: a.Action) -> None:
        if isinstance(action, a.Migrate):
            here = world.sas[action.ike_id].pair
            if here != action.pair and world.reaches(here):
                good.append(world.reaches(action.pair))

    world.watchers.append(look)
    return good


def up(text: str = THREE, **options: object) -> World:
    """A world some seconds after the start, in which all went well."""
    world = World(text, **options).start().run(5)  # type: ignore[arg-type]
    assert world.hq.state == "up"
    return world
