# SPDX-License-Identifier: Apache-2.0
"""What can be expected: each claim against what a stage tells, complaints in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from vici_mif.core.model import Sa
from vici_mif.core.status import PeerStatus, TunnelStatus
from vici_mif.lab.scenario.model import Bound, Expect
from vici_mif.lab.scenario.stage import LOOKS, Stage, Telling

NOWHERE = "nowhere"

Spis = frozenset[tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class Memory:
    """How it was at `remember`."""

    at: float
    spis: Spis
    inner: frozenset[tuple[str, ...]]
    family: int | None
    moves: int


def remember(stage: Stage) -> Memory:
    """Everything that `unchanged` and counts compare with."""
    look = Look(stage, Expect(), None)
    moves = cast(Telling, stage).moves() if hasattr(stage, LOOKS["moves"]) else 0
    return Memory(stage.now(), look.spis, look.inner, look.family, moves)


@dataclass
class Look:
    """One look at a stage; what is asked twice is the same."""

    stage: Stage
    expect: Expect
    before: Memory | None

    @cached_property
    def peer(self) -> PeerStatus | None:
        """The peer that is meant."""
        status = self.stage.status()
        peers = status.peers if status else ()
        return next((p for p in peers if self.expect.of in ("", p.name)), None)

    @property
    def tunnels(self) -> tuple[TunnelStatus, ...]:
        return self.peer.tunnels if self.peer else ()

    @property
    def carrying(self) -> list[TunnelStatus]:
        """Tunnels with children and a home: spares come when there is time."""
        return [tunnel for tunnel in self.tunnels if tunnel.children and tunnel.home]

    @cached_property
    def sas(self) -> Sequence[Sa]:
        return self.stage.sas()

    @property
    def spis(self) -> Spis:
        """Unique ids and SPIs of all that is established, without spares."""
        found = [sa for sa in self.sas if sa.established and not self._is_spare(sa)]
        children = {(sa.unique_id, c.spi_in, c.spi_out) for sa in found for c in sa.children}
        return frozenset(children | {(sa.unique_id, "", "") for sa in found})

    def _is_spare(self, sa: Sa) -> bool:
        """Without a home, or not known to the controller yet."""
        seated = {tunnel.ike_id for tunnel in self.tunnels if tunnel.home}
        ours = self.peer is not None and sa.name == self.peer.name
        return ours and sa.cloned and sa.unique_id not in seated

    @property
    def inner(self) -> frozenset[tuple[str, ...]]:
        return frozenset(tunnel.inner for tunnel in self.carrying)

    @property
    def family(self) -> int | None:
        return self.peer.family if self.peer else None

    def at(self, place: str) -> list[TunnelStatus]:
        """Tunnels that have this home: a path, or a link's name for its path."""
        return [tunnel for tunnel in self.carrying if is_at(place, tunnel.home)]


def is_at(place: str, path: str | None) -> bool:
    """Whether a path is meant by a word: its own name, or its link's."""
    return path is not None and place in (path, path.partition("/")[0])


def complaints(expect: Expect, stage: Stage, before: Memory | None) -> list[str]:
    """What does not hold; empty: all of it does."""
    look = Look(stage, expect, before)
    wanted = expect.model_fields_set - {"of"}
    return [text for name in sorted(wanted) for text in CHECKS[name](look, getattr(expect, name))]


# --- one function for each claim ------------------------------------------------------

Check = Callable[[Look, Any], Iterator[str]]


def _of_peer(name: str) -> Check:
    """A field of the peer's status that is equal."""

    def check(look: Look, wanted: object) -> Iterator[str]:
        found = getattr(look.peer, "state" if name == "peer" else name, None)
        if found != wanted:
            why = look.peer.why if look.peer else "the controller does not answer"
            yield f"{name} is {found}, not {wanted} ({why})"

    return check


def _count(name: str, number: Callable[[Look], int | None]) -> Check:
    def check(look: Look, wanted: Bound) -> Iterator[str]:
        found = number(look)
        if found is None or not wanted.holds(found):
            yield f"{name}: {found}, not {wanted}"

    return check


def _why(look: Look, wanted: str) -> Iterator[str]:
    if look.peer is None or wanted not in look.peer.why:
        yield f"`{wanted}` does not stand in why: {look.peer.why if look.peer else None}"


def _seats(look: Look, wanted: Mapping[str, str]) -> Iterator[str]:
    for home, place in wanted.items():
        found = look.at(home)
        if place == NOWHERE and not found:
            continue
        if not any(is_at(place, tunnel.current) for tunnel in found):
            where = ", ".join(str(tunnel.current) for tunnel in found) or NOWHERE
            yield f"the tunnel of {home} is {where}, not on {place}"


def _over(look: Look, wanted: tuple[str, ...]) -> Iterator[str]:
    found = sorted(str(tunnel.current) for tunnel in look.carrying)
    left = list(found)
    for place in sorted(wanted, key=lambda place: "/" not in place):  # a link takes what is left
        taken = next((path for path in left if is_at(place, path)), None)
        if taken is not None:
            left.remove(taken)
    if left or len(found) != len(wanted):
        yield f"tunnels are on {', '.join(found) or NOWHERE}, not on {', '.join(wanted)}"


def _paths(look: Look, wanted: Mapping[str, str]) -> Iterator[str]:
    known = look.peer.paths if look.peer else ()
    for place, state in wanted.items():
        found = [path for path in known if is_at(place, path.name)]
        if not found or any(path.state != state for path in found):
            said = ", ".join(f"{p.name} is {p.state} ({p.why})" for p in found)
            yield f"{said or f'there is no path {place}'}, not {state}"


def _probe(look: Look, wanted: Mapping[str, str]) -> Iterator[str]:
    known = look.peer.paths if look.peer else ()
    for place, kind in wanted.items():
        found = [path for path in known if is_at(place, path.name)]
        if not found or any(path.probe != kind for path in found):
            said = ", ".join(f"{p.name} is told by {p.probe} ({p.why})" for p in found)
            yield f"{said or f'there is no path {place}'}, not by {kind}"


def _links(look: Look, wanted: tuple[str, ...]) -> Iterator[str]:
    found = {path.link for path in (look.peer.paths if look.peer else ()) if path.local}
    if found != set(wanted):
        yield f"links are {', '.join(sorted(found))}, not {', '.join(wanted)}"


def _change(name: str) -> Check:
    def check(look: Look, wanted: str) -> Iterator[str]:
        if look.before is None:
            yield f"{name} {wanted}: nothing to compare with, `do: remember` first"
            return
        before, now = getattr(look.before, name), getattr(look, name)
        if (before == now) is not (wanted == "unchanged"):
            yield f"{name} not {wanted}: {_shown(before)}, now {_shown(now)}"

    return check


def _shown(value: object) -> str:
    return str(sorted(value)) if isinstance(value, frozenset) else str(value)


def _moves(look: Look) -> int:
    return _telling(look).moves() - (look.before.moves if look.before else 0)


def _traffic(look: Look, wanted: Mapping[str, str]) -> Iterator[str]:
    for home, link in wanted.items():
        found = [_telling(look).carrier(tunnel) for tunnel in look.at(home)]
        if link not in found:
            where = ", ".join(map(str, found)) or NOWHERE
            yield f"payload of {home} goes over {where}, not over {link}"


def _silence(look: Look, wanted: float) -> Iterator[str]:
    heard = _telling(look).silences(_since(look))
    if not heard:
        yield "there is no stream: `do: traffic start` first"
    for stream, longest in heard.items():
        if longest > wanted:
            yield f"{stream} was silent for {longest:.3f} s, longer than {wanted:g} s"


def _since(look: Look) -> float:
    return look.before.at if look.before else 0.0


def _tcp(look: Look, _: str) -> Iterator[str]:
    yield from _telling(look).broken()


def _left(look: Look, wanted: str) -> Iterator[str]:
    found = _telling(look).left()
    if bool(found) is not (wanted == "something"):
        yield f"left in the kernel: {'; '.join(found) or 'nothing'}"


def _controller(look: Look, wanted: str) -> Iterator[str]:
    if (look.stage.status() is None) is not (wanted == "gone"):
        yield f"the controller is not {wanted}"


def _reached(look: Look, wanted: str) -> Iterator[str]:
    if _telling(look).reached() is not (wanted == "yes"):
        yield f"the far side {'does not answer' if wanted == 'yes' else 'answers'}"


def _telling(look: Look) -> Telling:
    """The runner has seen that the stage can tell what is asked."""
    return cast(Telling, look.stage)


CHECKS: Mapping[str, Check] = {
    "peer": _of_peer("peer"),
    "mode": _of_peer("mode"),
    "why": _why,
    "seats": _seats,
    "over": _over,
    "tunnels": _count("tunnels", lambda look: len(look.carrying)),
    "mtu": _count("mtu", lambda look: (look.peer.mtu if look.peer else None) or 0),
    "spares": _count("spares", lambda look: sum(t.home is None for t in look.tunnels)),
    "authentications": _count(
        "authentications", lambda look: look.peer.authentications if look.peer else None
    ),
    "clones": _count("clones", lambda look: look.peer.clones if look.peer else None),
    "moves": _count("moves", _moves),
    "paths": _paths,
    "probe": _probe,
    "links": _links,
    "spis": _change("spis"),
    "inner": _change("inner"),
    "family": _change("family"),
    "traffic": _traffic,
    "silence": _silence,
    "lost": _count("lost", lambda look: _telling(look).lost(_since(look))),
    "reordered": _count("reordered", lambda look: _telling(look).reordered(_since(look))),
    "tcp": _tcp,
    "sas": _count("sas", lambda look: len(look.sas)),
    "gateway_sas": _count("gateway_sas", lambda look: len(_telling(look).far_sas())),
    "reached": _reached,
    "pins": _count("pins", lambda look: _telling(look).pins()),
    "left": _left,
    "controller": _controller,
}
"""Each key of `expect`."""
