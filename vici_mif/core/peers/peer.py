# SPDX-License-Identifier: Apache-2.0
"""One peer: joins what its parts know and lets each take its step.

`observe` turns the world into paths and tunnels, `act` asks for what is missing. Both run after
every event; who wants something simply asks again (see requests.py), so nothing here remembers
how far it has come.
"""

from __future__ import annotations

from collections.abc import Sequence

from vici_mif.core import events as e
from vici_mif.core.byhand.byhand import ByHand
from vici_mif.core.family import stock
from vici_mif.core.family.authentication import Authentication, How
from vici_mif.core.family.children import Children
from vici_mif.core.family.closing import Closing
from vici_mif.core.family.family import Tunnel
from vici_mif.core.family.growth import Growth
from vici_mif.core.family.hints import hints
from vici_mif.core.family.lines import Lines
from vici_mif.core.family.loading import Loading
from vici_mif.core.family.mode import Shape, tunnels, wants_per_path
from vici_mif.core.family.pins import Pins
from vici_mif.core.family.succession import Succession
from vici_mif.core.family.surplus import Surplus
from vici_mif.core.family.without import Without
from vici_mif.core.ground.ground import Ground, Scene
from vici_mif.core.health.probing import Probing
from vici_mif.core.health.suspicion import Suspicion
from vici_mif.core.model import ChildTemplate, Connection, Footprint, GuardWish, Sa, Steering
from vici_mif.core.paths import ranking
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.reach import Reach, View
from vici_mif.core.peers.alternatives import Role
from vici_mif.core.seats.moves import Moves
from vici_mif.core.seats.scouting import Scouting
from vici_mif.core.turn import Turn
from vici_mif.core.wish.config import ConnectionConfig
from vici_mif.core.wish.numbers import Numbers
from vici_mif.core.world import World


class Peer:
    """A gateway we authenticate with."""

    def __init__(
        self, name: str, config: ConnectionConfig, rank: int, numbers: Numbers, base: str
    ) -> None:
        self.name = name
        self.config = config
        self.rank = rank
        self.role = Role()
        self.paths = Paths()
        self.pins = Pins(name)
        self.moves = Moves(name, self.pins)
        self.probing = Probing(name, config)
        self.closing = Closing(name)
        self.authentication = Authentication(name, self.closing)
        self.growth = Growth(name)
        self.children = Children(name, numbers)
        self._without = Without(name, self.closing)
        self._surplus = Surplus(self.closing)
        self._by_hand = ByHand(name, self.closing)
        self._scouting = Scouting(name)
        self.succession = Succession(name, self.closing)
        self._reach = Reach(name, config)
        self._ground = Ground(name, config, numbers)
        self.loading = Loading(name, config.connection, base)
        self.suspicion = Suspicion()
        self.connection: Connection | None = None
        self._lines = Lines(config)
        self._stood: tuple[Tunnel, ...] = ()
        """Those from before charon went: if it was only its socket, they carry on."""
        self.stopping = False
        self.unloaded = False
        self.retired = False
        """No longer configured: it is closed."""
        self._before: tuple[str, ...] = ()
        """Children that the configuration before wanted."""
        self._former: frozenset[str] = frozenset()
        """Those of all configurations before."""

    # --- another configuration -----------------------------------------------

    def configure(self, turn: Turn, config: ConnectionConfig, rank: int) -> None:
        """What is compatible stays as it is; the difference follows in the next steps."""
        self.rank = rank
        if config != self.config or self.retired:
            self._reconfigure(turn, config)

    def _reconfigure(self, turn: Turn, config: ConnectionConfig) -> None:
        before, self.config = tuple(template.name for template in self.templates()), config
        self._before, self._former = before or self._before, self._former | set(before)
        self._surplus.shrunk = True
        self._reach.configure(config)
        self.probing.configure(config)
        self._lines.configure(config)
        self._ground.configure(config)
        self.loading.configure(turn, config.connection)
        turn.book.forgive(("auth", self.name))
        self.retired = False

    def is_over(self, turn: Turn) -> bool:
        """Retired, and nothing of it is left."""
        return self.retired and not turn.world.named(self.name) and self.loading.unload(turn)

    # --- looking -----------------------------------------------------------

    def observe(self, turn: Turn) -> None:
        """Paths, members and mode from the world as it is."""
        world, self._stood = turn.world, ()
        self.connection = self._loaded(world)
        if self.connection and world.links is not None:
            for path in self._reach.see(self._view(turn, self.connection), self.paths):
                self.moves.link_returned(turn, path)
                turn.book.forgive(("auth", self.name))
        self._by_hand.obey(world, self.paths, turn.now)
        self._members(turn)
        self.paths.drain(self.moves.occupied(turn, self._lines.tunnels, self.paths), turn.now)
        self.moves.seat(turn, self._lines.tunnels, self.paths)

    def _loaded(self, world: World) -> Connection | None:
        """As charon has it. One that was unloaded is driven on as long as its IKE_SAs live."""
        known = world.connections or {}
        names = (self.name, *self.config.authenticate)
        loaded = next((known[name] for name in names if name in known), None)
        alive = any(not sa.closing for sa in world.named(self.name))
        self.unloaded = loaded is None and self.connection is not None and alive
        return self.connection if self.unloaded else loaded

    def _view(self, turn: Turn, connection: Connection) -> View:
        inner = {*turn.world.inner, *(a for slot in self._ground.slots for a in slot)}
        here = {self.paths.of(sa.pair) for sa in turn.world.named(self.name)}
        there = here | self.moves.origins
        return View(turn, connection, inner, self._ground.remotes, there, self._lines.homes)

    def _members(self, turn: Turn) -> None:
        connection = self.connection or Connection(self.name)
        world, without = turn.world, self.config.without_clone
        sas = self._by_hand.spared(world)
        self.succession.see(sas, connection, turn.now, without, world.patched)
        self.authentication.look(turn, alone=self.succession.current is None)
        # with a child in IKE_AUTH one address is asked for, however many are wanted
        apart = wants_per_path(self.config, connection) and self.authentication.childless
        least = min(self._wanted, self.paths.links) if apart else 0
        self.succession.shortage.see(sas, least, self.config.spares)
        both = (self.succession.current, self.succession.heir)
        self._ground.remember(both[0].members if both[0] else (), self.templates(), sas)
        self.children.slots = slots = self._ground.slots
        self._lines.see(turn, connection, self.paths, slots, both)

    @property
    def tunnels(self) -> tuple[Tunnel, ...]:
        """Members of the family in use."""
        return self._lines.own.tunnels

    @property
    def shape(self) -> Shape:
        """What that family may have."""
        return self._lines.own.shape

    def remote_addrs(self, connection: Connection) -> tuple[str, ...]:
        """Addresses and names of the peer, best first."""
        return self._reach.addresses(connection)

    def templates(self) -> tuple[ChildTemplate, ...]:
        """The children to open, in the connection's order.

        Those of before, as long as charon's connection lacks one that is wanted now: a name that
        is not there must not cost what carries.
        """
        known = self.connection.children if self.connection else ()
        wanted = self.config.children or tuple(t.name for t in known)
        if self.missing_children and self._before:
            wanted = self._before
        return tuple(t for t in known if t.name in wanted)

    @property
    def missing_children(self) -> tuple[str, ...]:
        """What the configuration wants and charon's connection has not."""
        known = {t.name for t in self.connection.children} if self.connection else set()
        return tuple(name for name in self.config.children if name not in known)

    @property
    def mtu(self) -> int | None:
        """Bytes of an inner packet that fit on every path; None while that is unknown."""
        return self._ground.mtu

    @property
    def works(self) -> bool:
        """A tunnel carries traffic on a path that is not known to fail."""
        return any(self.tunnel_works(tunnel) for tunnel in self.tunnels)

    def tunnel_works(self, tunnel: Tunnel) -> bool:
        if not tunnel.carries or tunnel.current is None:
            return False
        known = ranking.quality(self.paths.state(tunnel.current)) < 2
        suspected = self.succession.suspects(tunnel.ike_id)
        return known and not suspected and not self.paths.is_doubted(tunnel.current)

    # --- the kernel --------------------------------------------------------

    def steering(self, turn: Turn) -> Steering:
        """Rules and routes this peer wishes; nothing once it is down and its SAs are gone."""
        scene = self._scene(turn)
        if scene is None:
            return Steering() if self._is_cleared(turn) else self._ground.steering_before()
        return self._ground.steering(scene) if turn.world.steered else Steering()

    def guard(self, turn: Turn) -> GuardWish | None:
        """What nft refuses for this peer."""
        scene = self._scene(turn)
        if scene is None:
            return None if self._is_cleared(turn) else self._ground.guard_before()
        return self._ground.guard(scene)

    def recall(self, footprint: Footprint) -> None:
        """What was laid for this peer before this start."""
        self._ground.recall(footprint)

    def footprint(self, turn: Turn) -> Footprint | None:
        """What the next boot begins with; nothing once an operator took the peer down."""
        scene, down = self._scene(turn), turn.world.orders.down(self.name) is not None
        return None if down else self._ground.footprint(scene, turn.world.steered)

    def _scene(self, turn: Turn) -> Scene | None:
        if self.connection is None or self._is_cleared(turn):
            return None
        return Scene(
            self.connection,
            self.templates(),
            self.paths,
            self._lines.tunnels or self._stood,
            self.shape,
            self._reach.links,
            turn.world.kernel_esp,
            self.works or bool(self.role.behind or self.role.instead),
            self.config.mtu,
        )

    def _is_cleared(self, turn: Turn) -> bool:
        return self.wants_down(turn) and not turn.world.named(self.name)

    def wants_down(self, turn: Turn) -> bool:
        """By an order, or because the controller ends and so do its tunnels."""
        closes = self.stopping and self.config.on_stop == "close"
        return closes or self.retired or turn.world.orders.down(self.name) is not None

    # --- asking ------------------------------------------------------------

    def act(self, turn: Turn, steady: bool) -> None:
        """`steady`: the kernel has what was wished, so new SAs and children may begin."""
        sas = turn.world.named(self.name)
        self.closing.watch(turn, sas)
        self._by_hand.revoke(turn)
        if self.stopping and self.config.on_stop == "keep":
            self.pins.give_back(turn, self._lines.tunnels)
        elif self.closing.suspects(turn, sas):
            return
        elif self.wants_down(turn):
            self._close(turn, sas)
        elif self.role.behind and self.shape.word != "passive":
            self._prepare(turn)  # known to charon and resolved, so that it can begin at once
            self._close(turn, sas)
        elif self.role.abandons and self.shape.word != "passive":
            self.closing.abandon(turn, [tunnel.ike_id for tunnel in self.tunnels])
        elif self._prepare(turn):
            self._build(turn, steady)

    def _close(self, turn: Turn, sas: Sequence[Sa]) -> None:
        self.authentication.reset()
        turn.book.drop(("auth", self.name))
        self.closing.terminate(turn, sas)

    def _prepare(self, turn: Turn) -> bool:
        """The connection is there, and names are being resolved. Tunnels are driven, too, while
        charon does not take what it is given."""
        if not self.loading.step(turn) and not self.tunnels:
            return False
        if self.connection is None:
            self.loading.look(turn)
            return False
        silent = not self.tunnels and turn.book.failure(("auth", self.name)) is not None
        self.loading.resolve(turn, self.remote_addrs(self.connection), silent)
        return True

    def _build(self, turn: Turn, steady: bool) -> None:
        if not turn.world.patched:
            parts = () if self.shape.refused else (self.config.authenticate or (self.name,))
            stock.bring_up(turn, self.name, parts, self.config.children)
        elif self.shape.refused:
            self._without.refuse(turn, self.tunnels, self.shape.why)
        elif not self.tunnels:
            if steady and not self._by_hand.doomed(turn.world):
                self.authentication.step(turn, self.paths, self._how())
        else:
            self._succeed(turn, steady)
            self._drive(turn, steady)

    def _drive(self, turn: Turn, steady: bool) -> None:
        """Moves first: they are what cannot wait."""
        self.probing.step(turn, self.tunnels, self.paths, self.moves)
        answering = self.probing.answering
        self.suspicion.step(turn, self.tunnels, self.paths, self.moves, answering)
        behind = self.succession.stays_behind
        moving = self._lines.heir.tunnels if behind else self._lines.tunnels
        self.moves.step(turn, moving, self.paths, self.config.hold_down, steady)
        asking = self.suspicion.waits(turn.now)
        if steady and not asking and not self.role.waits(turn.now):
            self._lines.open(turn, self.children, self.paths, self.templates())
            self.children.close(turn, self._lines.tunnels, self.templates(), self._former)
        if not asking and not self._by_hand.doomed(turn.world):  # its place is free only then
            self._lines.grow(turn, self.growth, self.paths)
        sas = self.succession.staying(turn.world.named(self.name))
        self._surplus.step(turn, sas, self.tunnels, self.shape)
        self._scouting.step(turn, self.tunnels, self.paths, prove=self.role.contested)
        self.pins.step(turn, self._lines.tunnels, self.paths)

    def _succeed(self, turn: Turn, steady: bool) -> None:
        """A new family beside this one, where one is wanted; and who is in use."""
        calm = not turn.book.about("move") and all(map(self.tunnel_works, self.tunnels))
        self.succession.stranded = self.paths.strand({t.current for t in self.tunnels})
        self.succession.echoed(self.probing.answering, turn.now)
        if steady and not self.unloaded and self.shape.word == "authenticate":
            self._without.more(turn, self._lines.own, self.paths, self.authentication, self._how())
        elif steady and not self.unloaded and self.succession.wants(turn, calm):
            self.authentication.step(turn, self.paths, self._how(beside=True))
        ripe = self._lines.ripe(turn, self.growth, self.children, self.paths, self.templates())
        heir = self._lines.heir
        heir_works = any(map(self.tunnel_works, heir.tunnels))
        refused = heir.shape.refused and not self.shape.refused
        self.succession.step(turn, self.works, heir_works, ripe, refused)

    @property
    def _wanted(self) -> int:
        """Tunnels with a home, by the configuration."""
        return tunnels(self.config, self.paths.count)

    def _how(self, beside: bool = False) -> How:
        """`beside`: asks for the inner addresses that the family in use has."""
        connection = self.connection or Connection(self.name)
        per_path = self.shape.per_path or (beside and wants_per_path(self.config, connection))
        held = self.tunnels[0].sa.local_vips if beside else ()
        count = self._wanted + self.config.spares
        vips = hints(connection.vips, count, held) if per_path else ()
        child = next((template.name for template in self.templates()), None)
        return self.authentication.how(vips, child, per_path, bool(self.role.instead), beside)

    # --- by hand ---------------------------------------------------------------

    def refuses(self, event: e.OrderGiven) -> str:
        """Why this order cannot be taken; empty where it can."""
        return self._by_hand.refuses(event, self.config, self.paths, self.tunnels)

    def addressed(self, world: World, event: e.OrderGiven) -> e.OrderGiven:
        """The order as it is kept for this peer."""
        return self._by_hand.addressed(world, event, self.tunnels)

    # --- what changed ---------------------------------------------------------

    def rekeyed(self, old_id: int, new_id: int) -> None:
        """An IKE_SA lives on under another number."""
        self._lines.rename(old_id, new_id)
        self.moves.rename(old_id, new_id)
        self.probing.rename(old_id, new_id)
        self.suspicion.rename(old_id, new_id)
        self.children.rename(old_id, new_id)
        self.pins.forget(old_id)

    def closed(self, sa: Sa, now: float, given: str) -> None:
        """An IKE_SA went down."""
        self.closing.closed(sa, now, given)
        self.suspicion.closed(sa, now)

    def charon_gone(self, now: float) -> None:
        self.loading.charon_gone()
        self._stood = self._lines.tunnels or self._stood
        self._lines.reset()
        self.succession.reset()
        self.authentication.reset()
        self.moves.reset()
        self.pins.forget_all()
        self.closing.reset()
        self.suspicion.reset()
        self.paths.void_tests(now)
