# SPDX-License-Identifier: Apache-2.0
"""What a peer wishes of the kernel: rules, routes, guard.

Inner addresses and the networks behind the peer are remembered while the family is gone: what
had these addresses must not leave in clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vici_mif.core.family.family import Tunnel
from vici_mif.core.family.mode import Shape
from vici_mif.core.family.slots import merged, own
from vici_mif.core.ground import dataplane, footprint, guarding, mtu
from vici_mif.core.ground.behind import Behind
from vici_mif.core.ground.dataplane import Inner
from vici_mif.core.model import (
    ChildTemplate,
    Connection,
    Footprint,
    GuardWish,
    IPNetwork,
    Link,
    Sa,
    Slot,
    Steering,
)
from vici_mif.core.paths.paths import Paths
from vici_mif.core.wish.config import ConnectionConfig
from vici_mif.core.wish.numbers import Numbers


@dataclass(frozen=True, slots=True)
class Scene:
    """What the wish depends on at this moment."""

    connection: Connection
    templates: tuple[ChildTemplate, ...]
    paths: Paths
    tunnels: tuple[Tunnel, ...]
    shape: Shape
    links: tuple[Link, ...]
    kernel_esp: bool
    works: bool
    """A tunnel carries traffic."""
    mtu: int | None = None
    """Bytes of an inner packet, where the operator says it."""


class Ground:
    """The kernel's part of one peer."""

    def __init__(self, peer: str, config: ConnectionConfig, numbers: Numbers) -> None:
        self._peer = peer
        self._config = config
        self._numbers = numbers
        self._last = self._at_boot(footprint.declared(peer, config))
        self._guard: GuardWish | None = None
        self.slots: tuple[Slot, ...] = ()
        """Inner addresses, the last that were given."""
        self._behind = Behind()
        self.mtu: int | None = None
        """Bytes of an inner packet that fit on every path; the last that was reckoned."""

    def _reckon(self, scene: Scene) -> int:
        """Without any path it stays: nothing is sent, and nothing has to be changed for it."""
        children = [child for tunnel in scene.tunnels for child in tunnel.sa.children]
        found = scene.mtu or mtu.smallest(scene.paths.all(), scene.links, children)
        found = found or self.mtu or dataplane.TUN_MTU
        self.mtu = found if scene.kernel_esp else min(found, dataplane.TUN_MTU)
        return self.mtu

    def _at_boot(self, known: Footprint | None) -> Footprint | None:
        return None if known is None else footprint.at_boot(known, self._config)

    def configure(self, config: ConnectionConfig) -> None:
        """Another configuration is in force."""
        self._config = config

    def recall(self, known: Footprint) -> None:
        """What the controller before this one had laid; charon may contradict."""
        self._last = self._at_boot(known)
        self.slots = known.slots

    def remember(
        self, members: Sequence[Sa], templates: Sequence[ChildTemplate], others: Sequence[Sa] = ()
    ) -> None:
        """What was given and negotiated; before that what the templates say.

        `others`: a family beside, on its way in or out. Its addresses are led by rules as well.
        """
        given = [sa.local_vips for sa in (*members, *others) if sa.local_vips]
        if given:
            self.slots = merged(self.slots, given)
        self._behind.see(members, templates)

    @property
    def remotes(self) -> tuple[IPNetwork, ...]:
        """Networks behind the peer."""
        return self._behind.networks

    def footprint(self, scene: Scene | None, steered: bool) -> Footprint | None:
        """What should hold before charon is there the next time; the last word without a scene.

        `steered`: rules of ours lead inner sources. The guard is the one wished last.
        """
        if scene is not None:
            leads = scene.shape.per_path and steered
            self._last = Footprint(
                self._peer,
                leads,
                scene.kernel_esp,
                self.slots if leads else (),
                self.remotes if leads else (),
                self._bare(scene) if leads and scene.kernel_esp else frozenset(),
                None if leads or self._guard is None else replace(self._guard, clamps=()),
            )
        return self._last if self._last and not self._last.is_empty else None

    def steering_before(self) -> Steering:
        """As long as charon does not have the connection."""
        return footprint.steering(self._numbers, self._last) if self._last else Steering()

    def guard_before(self) -> GuardWish | None:
        """The same: the one wished last, or what stood before us."""
        return self._guard or (self._last.guard if self._last else None)

    def steering(self, scene: Scene) -> Steering:
        links = dataplane.links(self._numbers, scene.paths.usable())
        if scene.shape.per_path:
            return dataplane.join([links, dataplane.inner(self._numbers, self._inner(scene))])
        lives = dataplane.host_lives(self._numbers, self.remotes, scene.works)
        return dataplane.join([links, Steering(rules=lives)])

    def guard(self, scene: Scene) -> GuardWish | None:
        self._guard = self._guarding(scene)
        return self._guard

    def _guarding(self, scene: Scene) -> GuardWish | None:
        paths = scene.paths.all()
        if scene.shape.per_path:
            return guarding.inner(self._inner(scene), paths, scene.links)
        names = [t.name for t in scene.templates]
        return guarding.site(
            scene.connection, names, paths, scene.links, scene.kernel_esp, self._reckon(scene)
        )

    def _inner(self, scene: Scene) -> Inner:
        bare = self._bare(scene) if scene.kernel_esp else frozenset()
        return Inner(
            self.slots,
            self.remotes,
            scene.kernel_esp,
            established=bool(scene.tunnels),
            works=scene.works,
            mtu=self._reckon(scene),
            first=self._first(scene),
            bare=bare,
            awaited=self._awaited(scene, bare),
            closed=self._behind.closed,
        )

    def _first(self, scene: Scene) -> int:
        """The tunnel at home on a path preferred by hand, once it carries; else the first."""
        preferred = (
            tunnel.slots[0]
            for tunnel in scene.tunnels
            if tunnel.home is not None
            and scene.paths.preferred_at(tunnel.home) is not None
            and tunnel.carries
            and tunnel.slots
        )
        given = scene.tunnels[0].sa.local_vips if scene.tunnels else ()
        return next(iter((*preferred, *own(self.slots, given))), 0)

    def _bare(self, scene: Scene) -> frozenset[int]:
        """Tunnels with a child that we did not number, or that the operator numbers himself."""
        if self._numbered(scene):
            return frozenset(range(max(1, len(self.slots))))
        return frozenset(
            slot
            for tunnel in scene.tunnels
            for slot in tunnel.slots
            if self._foreign(tunnel.sa, slot)
        )

    def _awaited(self, scene: Scene, bare: frozenset[int]) -> frozenset[int]:
        """Of these, the ones for which a family that follows was given the addresses as well."""
        if self._numbered(scene):
            return frozenset()
        return bare & {
            slot
            for tunnel in scene.tunnels
            for slot in own(self.slots, tunnel.sa.local_vips)
            if not self._foreign(tunnel.sa, slot)
        }

    def _numbered(self, scene: Scene) -> bool:
        return any(template.if_id_out != "0" for template in scene.templates)

    def _foreign(self, sa: Sa, slot: int) -> bool:
        ours = self._numbers.if_id(slot)
        return any(child.works and child.if_id_out != ours for child in sa.children)
