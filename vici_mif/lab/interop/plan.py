# SPDX-License-Identifier: Apache-2.0
"""What of the matrix is to be played, and who stands where in a cell of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vici_mif.lab.errors import LabError
from vici_mif.lab.interop.implementations import Implementation
from vici_mif.lab.scenario.model import Scenario
from vici_mif.lab.scenario.play import read
from vici_mif.lab.topology import CLIENT, GATEWAY

Backend = Literal["docker", "netns"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    backend: Backend
    clients: Mapping[str, Implementation]
    gateways: Mapping[str, Implementation]
    scenarios: Mapping[str, Scenario]
    out: Path
    replaced: Mapping[str, Implementation] = field(default_factory=dict)
    """Those with which an upgrade begins, if they are no ends of their own."""

    @property
    def kinds(self) -> dict[str, str]:
        return {name: str(s.story.rig) for name, s in self.scenarios.items()}

    @property
    def taking_part(self) -> dict[str, Implementation]:
        """All that have to be there."""
        before = self.replaced if "upgrade" in self.kinds.values() else {}
        return {**before, **self.clients, **self.gateways}

    def cast(self, scenario: Scenario, client: str, gateway: str) -> Cast:
        """Who stands where. An upgraded end begins as what it replaces."""
        ends, top = {CLIENT: client, GATEWAY: gateway}, scenario.story.topology
        stock = {CLIENT: top.client == "stock", GATEWAY: top.gateway == "stock"}
        upgraded = {end for end in ends if stock[end] and scenario.story.rig == "upgrade"}
        first = {e: self.taking_part[n].replaces if e in upgraded else n for e, n in ends.items()}
        return Cast(ends, first)


@dataclass(frozen=True, slots=True)
class Cast:
    """Names of implementations, by end."""

    last: Mapping[str, str]
    """At the end of the scenario: they name the cell."""
    first: Mapping[str, str]

    @property
    def names(self) -> set[str]:
        return {*self.last.values(), *self.first.values()}

    @property
    def folder(self) -> str:
        return f"{self.last[CLIENT]}--{self.last[GATEWAY]}"


def replaced(
    known: Mapping[str, Implementation], *chosen: Mapping[str, Implementation]
) -> dict[str, Implementation]:
    """What stood there before those that were chosen."""
    names = {each.replaces for some in chosen for each in some.values() if each.replaces}
    return {name: known[name] for name in sorted(names)}


def scenarios(directory: Path, names: str = "") -> dict[str, Scenario]:
    """The rig's of a directory, or those of a list with commas. Raises LabError."""
    found = {file.stem: read(file) for file in sorted(directory.glob("*.yaml"))}
    ours = {name: scenario for name, scenario in found.items() if scenario.story.rig}
    wanted = [name for name in names.split(",") if name]
    if strange := set(wanted) - set(ours):
        raise LabError(f"no such scenario: {', '.join(strange)} (the rig has: {', '.join(ours)})")
    return {name: ours[name] for name in wanted or ours}
