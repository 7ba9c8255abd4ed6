# SPDX-License-Identifier: Apache-2.0
"""Which tunnels of a peer are watched from inside, and what follows from what is found.

A tunnel that is being moved is not watched: on its new path measuring begins anew. Where the
targets tell nothing of a path, IKE does (passive.py); where IKE answers on a path whose targets
fell silent, the targets are to blame until they answer somebody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from vici_mif.core.events import PathHealth
from vici_mif.core.family.family import Tunnel
from vici_mif.core.family.mode import Shape
from vici_mif.core.ground import mtu
from vici_mif.core.health.mapping import Mapping
from vici_mif.core.health.passive import Passive
from vici_mif.core.health.trial import Trial
from vici_mif.core.model import Child, Echo, IPAddress, IPNetwork, PathName, ProbeWish, Verdict
from vici_mif.core.paths.path import PathState
from vici_mif.core.paths.paths import Paths
from vici_mif.core.paths.ranking import Path
from vici_mif.core.seats.moves import Moves, answer_bytes
from vici_mif.core.selectors import networks
from vici_mif.core.turn import Turn
from vici_mif.core.wish.config import ConnectionConfig

ECHO_BYTES = {4: 40, 6: 60}
"""Bytes of an echo request or answer inside: IP header, ICMP header (RFC 792), 12 of payload."""

WORKS = frozenset({Verdict.GOOD, Verdict.POOR})
MUTE = frozenset({Verdict.SILENT, Verdict.UNSURE})


class Probing:
    """The health of one peer's paths."""

    def __init__(self, peer: str, config: ConnectionConfig) -> None:
        self._peer = peer
        self._config = config
        self._serial = 0
        self._wishes: dict[int, ProbeWish] = {}
        self._found: dict[ProbeWish, PathHealth] = {}
        self._counted: dict[ProbeWish, int] = {}
        self._overruled: set[ProbeWish] = set()
        """IKE is answered there: the silence is the targets'."""
        self.mapping = Mapping(peer)
        self._passive = Passive(peer, self.mapping)
        self._trial = Trial(config.probe.loss_limit, config.probe.delay_limit)

    def configure(self, config: ConnectionConfig) -> None:
        """Other targets or limits begin anew, what is the same goes on."""
        if config.probe != self._config.probe:
            self._trial = Trial(config.probe.loss_limit, config.probe.delay_limit)
        self._config = config

    # --- the wish ------------------------------------------------------------

    def wish(
        self, turn: Turn, shape: Shape, tunnels: Sequence[Tunnel], paths: Paths, moves: Moves
    ) -> tuple[ProbeWish, ...]:
        """What is watched now, from addresses of this host, inner ones first."""
        if not turn.world.patched or shape.word == "passive":
            tunnels = ()  # nobody here may move them
        links = turn.world.links or ()
        inner = [vip for tunnel in tunnels[:1] for vip in tunnel.sa.local_vips]
        sources = (*inner, *(interface.ip for link in links for interface in link.addresses))
        before, self._wishes = self._wishes, {}
        for tunnel in tunnels:
            path = paths.get(tunnel.current)
            if path is None or path.pair is None or not tunnel.carries or tunnel.home is None:
                continue  # a spare has nothing to lose
            echoes = self._echoes(tunnel, path, sources)
            if echoes and not moves.moving(turn, tunnel.ike_id):
                self._wishes[tunnel.ike_id] = self._wish(path, echoes, before.get(tunnel.ike_id))
        self._forget()
        return tuple(sorted(self._wishes.values(), key=lambda wish: wish.serial))

    def _wish(self, path: Path, echoes: tuple[Echo, ...], before: ProbeWish | None) -> ProbeWish:
        profile, probe = self._config.profile(path.name.link), self._config.probe
        wish = ProbeWish(
            self._peer,
            path.name,
            before.serial if before is not None else 0,
            echoes,
            profile.interval_delay,
            profile.multiplier,
            probe.loss_limit,
            probe.delay_limit,
        )
        if wish == before:
            return wish
        self._serial += 1
        return replace(wish, serial=self._serial)

    def _echoes(self, tunnel: Tunnel, path: Path, sources: Sequence[IPAddress]) -> tuple[Echo, ...]:
        """Only what a child protects: anything else would leave in clear."""
        children = [child for child in tunnel.sa.children if child.works]
        found = [_echo(target, path, children, sources) for target in self._config.probe.addresses]
        return tuple(echo for echo in found if echo is not None)

    def _forget(self) -> None:
        current = set(self._wishes.values())
        self._found = {w: h for w, h in self._found.items() if w in current}
        self._overruled &= current

    def rename(self, old_id: int, new_id: int) -> None:
        """Rekeyed: the tunnel lives on under another number, and so does its watch."""
        if old_id in self._wishes:
            self._wishes[new_id] = self._wishes.pop(old_id)
        self._passive.rename(old_id, new_id)

    # --- what was found --------------------------------------------------------

    def heard(self, turn: Turn, paths: Paths, moves: Moves, event: PathHealth) -> None:
        """A verdict changed, or somebody asked. What is not watched any more counts no longer."""
        self._count(paths, event)
        if event.wish not in self._wishes.values():
            self._counted.pop(event.wish, None)
            return
        before = self._found.get(event.wish)
        self._found[event.wish] = event
        if event.verdict in WORKS or event.proof:
            self._overruled.discard(event.wish)
        if event.verdict in WORKS:
            for ike_id in self._watched_by(event.wish):
                self.mapping.heard(turn, ike_id)
        elif event.verdict is Verdict.UNSURE and before is not None and before.verdict in WORKS:
            for ike_id in self._watched_by(event.wish):
                moves.test(turn, paths, ike_id, event.wish.path)
        self._judge(turn, paths, moves, event.wish.path)

    @property
    def answering(self) -> set[int]:
        """IKE_SAs inside which what is sent comes back now."""
        works = {wish for wish, health in self._found.items() if health.verdict in WORKS}
        return {ike_id for ike_id, wish in self._wishes.items() if wish in works}

    def _count(self, paths: Paths, event: PathHealth) -> None:
        before = self._counted.get(event.wish, 0)
        paths.spend(event.wish.path, event.outer_bytes - before)
        self._counted[event.wish] = event.outer_bytes

    def _judge(self, turn: Turn, paths: Paths, moves: Moves, path: PathName) -> None:
        """A path has failed when it is silent for all that can tell."""
        found = self._telling(path)
        working = [health for health in found if health.verdict in WORKS]
        if working:
            if paths.state(path) is PathState.FAILED:
                moves.tested(turn, paths, path, None)
            self._rate(turn, paths, path, [h for h in working if h.loss is not None])
            for health in self._mute_on(path):  # the path is not to blame
                self.mapping.still(turn, self._watched_by(health.wish))
        elif found and paths.state(path) is not PathState.FAILED:
            moves.silent(turn, paths, path, _silence(found[0]))

    def _rate(
        self, turn: Turn, paths: Paths, path: PathName, judging: Sequence[PathHealth]
    ) -> None:
        """`judging`: those that have seen enough; while there is none it stays as it was."""
        poor = [health for health in judging if health.verdict is Verdict.POOR]
        if judging:
            self._trial.end(path)
        if judging and len(poor) == len(judging):
            paths.poor(path, turn.now, _quality(poor[0]))
        elif judging:
            paths.good(path, turn.now)

    def _mute_on(self, path: PathName) -> list[PathHealth]:
        return [h for wish, h in self._found.items() if wish.path == path and h.verdict in MUTE]

    def _telling(self, path: PathName) -> list[PathHealth]:
        """The watches of a path that know something."""
        return [
            health
            for wish, health in self._found.items()
            if wish.path == path
            and wish not in self._overruled
            and health.verdict in WORKS | {Verdict.SILENT}
        ]

    # --- where IKE has to tell -------------------------------------------------

    def step(self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths, moves: Moves) -> None:
        """Look at tunnels that no target tells about, and at poor paths that were left."""
        able = [t for t in tunnels if t.carries and t.movable and t.home is not None]
        mute = [tunnel for tunnel in able if self._is_mute(tunnel)]
        self._passive.step(turn, mute, paths, moves, self._ike_delay)
        for path in paths.seats():
            left = paths.trouble(path.name) and not any(t.current == path.name for t in tunnels)
            if left and self._is_due(turn, paths, path.name):
                self._try_out(turn, tunnels, paths, moves, path.name)

    def _is_mute(self, tunnel: Tunnel) -> bool:
        """Nothing inside it tells how its path is; in the first moment nobody can know."""
        wish = self._wishes.get(tunnel.ike_id)
        if wish is None:
            return True
        health = self._found.get(wish)
        if health is None or wish in self._overruled:
            return health is not None
        works = any(h.verdict in WORKS for h in self._telling(wish.path))
        return health.verdict is Verdict.UNSURE or (works and health.verdict is Verdict.SILENT)

    def _ike_delay(self, path: PathName) -> float:
        return self._config.profile(path.link).ike_delay

    @staticmethod
    def _try_out(
        turn: Turn, tunnels: Sequence[Tunnel], paths: Paths, moves: Moves, path: PathName
    ) -> None:
        """By the tunnel that is at home there, else by any."""
        able = [t for t in tunnels if t.movable and not moves.moving(turn, t.ike_id)]
        for tunnel in sorted(able, key=lambda t: t.home != path)[:1]:
            moves.test(turn, paths, tunnel.ike_id, path)

    def _is_due(self, turn: Turn, paths: Paths, path: PathName) -> bool:
        due_at = (paths.tested_at(path) or turn.now) + self._ike_delay(path)
        turn.wake(due_at)
        return turn.now >= due_at

    def looked(self, turn: Turn, tunnels: Sequence[Tunnel], paths: Paths, moves: Moves) -> None:
        """Counters were read."""
        self._passive.looked(turn, tunnels, paths, moves, self._ike_delay)

    def tested(self, turn: Turn, paths: Paths, path: PathName, rtt_delay: float | None) -> None:
        """IKE was answered on a path."""
        paths.spend(path, answer_bytes(paths, path, rtt_delay))
        for wish in [wish for wish in self._found if wish.path == path]:
            self._contradicted(turn, wish)
        self._passive.tested(turn, path)
        left = not any(wish.path == path for wish in self._wishes.values())
        if paths.trouble(path) and left and self._trial.passed(path, rtt_delay):
            paths.good(path, turn.now)

    def _contradicted(self, turn: Turn, wish: ProbeWish) -> None:
        """IKE is answered where the targets are silent: theirs is the fault, or a NAT's."""
        health = self._found[wish]
        if health.verdict is Verdict.SILENT and not health.proof:
            self._overruled.add(wish)
        if health.verdict in MUTE and not health.proof:
            self.mapping.still(turn, self._watched_by(wish))

    def _watched_by(self, wish: ProbeWish) -> list[int]:
        return [ike_id for ike_id, watched in self._wishes.items() if watched == wish]

    # --- for status ------------------------------------------------------------

    def shown(self, path: PathName) -> PathHealth | None:
        """What the targets tell of a path."""
        return next(iter(self._telling(path)), None)

    def why(self, path: PathName, carries: bool) -> str:
        """Why the targets tell nothing of a path that carries."""
        named = ", ".join(map(str, self._config.probe.addresses))
        if not named or not carries or self.shown(path) is not None:
            return ""
        here = [wish for wish in self._wishes.values() if wish.path == path]
        if not here:
            return f"no probe target ({named}) lies behind a child of the tunnel: IKE tells"
        if any(wish in self._found for wish in here):
            return f"no probe target ({named}) answers inside the tunnel: IKE tells"
        return ""


@lru_cache(maxsize=256)
def _protected(selectors: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    """Networks of the selectors that take any protocol."""
    return networks(tuple(ts for ts in selectors if "[" not in ts))


def _echo(
    target: IPAddress, path: Path, children: Sequence[Child], sources: Sequence[IPAddress]
) -> Echo | None:
    """From the first address that a child leads from to the target."""
    for child in children:
        if not any(target in network for network in _protected(child.remote_ts)):
            continue
        ours = _protected(child.local_ts)
        for source in sources:
            if source.version == target.version and any(source in network for network in ours):
                inside = ECHO_BYTES[target.version]
                outside = mtu.esp(child).outer(inside, path.remote.version, udp=child.encap)
                return Echo(source, target, outside)
    return None


def _silence(health: PathHealth) -> str:
    wish = health.wish
    return f"no answer inside the tunnel for {wish.interval_delay * wish.multiplier:g} s"


def _quality(health: PathHealth) -> str:
    loss, rtt = health.loss or 0.0, health.rtt_delay or 0.0
    return f"poor: {loss:.0%} of the probes are lost, round trip {rtt * 1000:.0f} ms"
