# SPDX-License-Identifier: Apache-2.0
"""Where a scenario is played: a simulated world with a clock that jumps, or a lab.

Beside what stands here a stage has a method `do_...` for each word it can do, and those of
LOOKS that it can tell. A scenario that asks for more does not run on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from vici_mif.core.model import Sa
from vici_mif.core.status import Status, TunnelStatus
from vici_mif.lab.scenario.model import Scenario

OURS = frozenset({"remember"})
"""Words that the runner does itself."""

LOOKS: Mapping[str, str] = {
    "moves": "moves",
    "traffic": "carrier",
    "silence": "silences",
    "lost": "lost",
    "reordered": "reordered",
    "tcp": "broken",
    "left": "left",
    "pins": "pins",
    "gateway_sas": "far_sas",
    "reached": "reached",
}
"""What may be expected -> the method of a stage that tells it."""


class Stage(Protocol):
    """What every stage can."""

    name: str
    real: bool
    """Real charons and packets: then what a scenario needs must be there."""
    has: frozenset[str]
    """Of what scenarios name under `needs`."""
    patience: float
    """By how much all `within` are longer: a guest's processors are translated."""
    gateways: int
    """How many this stage can have."""

    def open(self, scenario: Scenario) -> None:
        """Build what its topology says and start the controller."""
        ...

    def close(self) -> None:
        """Take everything away, however far it came."""
        ...

    def now(self) -> float:
        """Seconds on this stage's clock."""
        ...

    def rest(self, most: float) -> None:
        """Let time pass until something may have changed, at most so many seconds."""
        ...

    def status(self) -> Status | None:
        """The controller's; None while there is none."""
        ...

    def sas(self) -> Sequence[Sa]:
        """All IKE SAs of the client, by its charon."""
        ...

    def verdict(self) -> list[str]:
        """What is wrong whatever the scenario expects: packets in clear."""
        ...


class Telling(Stage, Protocol):
    """A stage that can tell everything that may be expected."""

    def moves(self) -> int:
        """Moves since the beginning."""
        ...

    def carrier(self, tunnel: TunnelStatus) -> str | None:
        """The link over which a tunnel's payload reaches the far side; None: it does not."""
        ...

    def silences(self, since: float) -> Mapping[str, float]:
        """The longest silence of each stream since a moment of `now`, in seconds."""
        ...

    def lost(self, since: float) -> int:
        """Datagrams of the streams that were sent since then and never came."""
        ...

    def reordered(self, since: float) -> int:
        """Datagrams of the streams that came since then, after one sent later."""
        ...

    def broken(self) -> list[str]:
        """TCP connections of the streams that died or lost something."""
        ...

    def left(self) -> list[str]:
        """Rules, routes, tables and interfaces of ours in the client's kernel."""
        ...

    def pins(self) -> int:
        """IKE SAs of the client that charon does not roam by itself now."""
        ...

    def reached(self) -> bool:
        """Whether the far side answers a ping that is sent without choosing a source."""
        ...

    def far_sas(self) -> Sequence[Sa]:
        """All IKE SAs of the gateway, by its charon."""
        ...


def unknown(scenario: Scenario, stage: type[Stage] | Stage) -> list[str]:
    """What the scenario says that this stage cannot do or tell."""
    words = {c.word for c in scenario.commands() if c.word.name not in OURS}
    missing = {w.usage for w in words if not hasattr(stage, f"do_{w.name}")}
    if scenario.story.topology.gateways > stage.gateways:
        missing.add(f"{scenario.story.topology.gateways} gateways")
    return sorted(missing | {name for name in _looks(scenario) if not hasattr(stage, LOOKS[name])})


def _looks(scenario: Scenario) -> Iterator[str]:
    for expect in scenario.expected():
        yield from LOOKS.keys() & expect.model_fields_set


def lacking(scenario: Scenario, stage: Stage) -> list[str]:
    """What the scenario needs that is not there."""
    return sorted(scenario.needs - stage.has) if stage.real else []
