# SPDX-License-Identifier: Apache-2.0
"""The lab as the rig's stage: before it goes, what a cell keeps is taken out of it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from vici_mif.core.model import Sa
from vici_mif.lab import captures, sas
from vici_mif.lab.errors import LabError
from vici_mif.lab.evidence import ikekeys, ladder, pcap
from vici_mif.lab.evidence.ikev2 import Exchange, N
from vici_mif.lab.evidence.transcript import transcript
from vici_mif.lab.interop.results import Counters, Facts
from vici_mif.lab.lab import Lab
from vici_mif.lab.scenario import wire
from vici_mif.lab.scenario.lab import LabStage, Make, Newer
from vici_mif.lab.topology import CLIENT, GATEWAY, ROUTER, bare

_KEPT = ("charon.log", "charon.err", "controller.log", "config.yaml", "strongswan.conf")
_JOURNAL = "journal"
LADDER = "ladder.txt"


class RigStage(LabStage):
    """Implements Telling; `evidence` is a cell's own directory."""

    name = "the rig"

    def __init__(self, make: Make, has: frozenset[str], newer: Newer, evidence: Path) -> None:
        super().__init__(make, has, newer)
        self._evidence = evidence
        self._sas: Mapping[str, list[Sa]] = {}
        self.facts: Facts | None = None

    def verdict(self) -> list[str]:
        ends = (CLIENT, GATEWAY)
        self._sas = {end: sas.read(self.lab.host(end).vici_socket) for end in ends}
        found = super().verdict()
        self.facts = facts(self.lab, self._sas)
        return [*found, *_uncounted(self.facts)]

    def close(self) -> None:
        if self._lab is not None:
            with contextlib.suppress(LabError):
                self.lab.stop_captures()
            keep(self.lab, self._sas, self._evidence)
        super().close()


def facts(lab: Lab, counted: Mapping[str, list[Sa]]) -> Facts:
    """By tshark what IKE says, by the router's captures how much ESP there was."""
    own = {bare(a) for wire_ in lab.topology.remotes for a in wire_.b.addresses}
    heard = wire.heard(lab.directory, own)
    names = Exchange._value2member_map_
    kinds = Counter(Exchange(m.exchange).name for m in heard if m.exchange in names)
    clones = [m for m in heard if N.CLONE_IKE_SA in m.notifies and not m.response]
    places = sorted((lab.directory / captures.FOLDER).glob(f"{ROUTER}-*.pcap"))
    return Facts(
        messages=dict(kinds),
        clones=len(clones),
        authentications=len({m.spis for m in heard if m.exchange == Exchange.IKE_AUTH}),
        esp={p.stem.removeprefix(f"{ROUTER}-"): _esp(p) for p in places},
        counters={end: _counters(found) for end, found in counted.items() if found},
    )


def _esp(capture: Path) -> int:
    return sum(pcap.esp_of(packet) is not None for packet in pcap.read(capture))


def _counters(found: list[Sa]) -> Counters:
    children = [child for sa in found for child in sa.children]
    return Counters(
        ike_sas=len(found),
        packets_in=sum(child.packets_in for child in children),
        packets_out=sum(child.packets_out for child in children),
    )


def _uncounted(seen: Facts) -> Iterator[str]:
    """Captures and charons are two witnesses: what one saw the other has counted."""
    if not any(seen.esp.values()):
        return
    for end, counters in seen.counters.items():
        if not counters.packets_out + counters.packets_in:
            yield f"ESP was on the wire, and the {end}'s charon counted none"


def keep(lab: Lab, counted: Mapping[str, list[Sa]], target: Path) -> None:
    """Captures, keys, logs, journal, IKE SAs and the ladder; no socket and no private key."""
    target.mkdir(parents=True, exist_ok=True)
    for capture in (lab.directory / captures.FOLDER).glob("*.pcap"):
        shutil.copy(capture, target)
    for table in (lab.directory / "keys").glob("*/*"):
        shutil.copy(table, target / f"{table.parent.name}-{table.name}")
    for host in lab.topology.charon_hosts:
        for name in _KEPT:
            if (lab.host(host).directory / name).exists():
                shutil.copy(lab.host(host).directory / name, target / f"{host}-{name}")
    for part in (lab.client.directory / _JOURNAL).glob("*"):
        shutil.copy(part, target / f"{_JOURNAL}-{part.name}")
    shown = {end: [str(sa) for sa in found] for end, found in counted.items()}
    (target / "list-sas.json").write_text(json.dumps(shown, indent=1) + "\n")
    (target / LADDER).write_text(_ladder(target))


def _ladder(target: Path) -> str:
    text = "".join(p.read_text() for p in sorted(target.glob("*-ikev2_decryption_table")))
    packets = [p for f in sorted(target.glob(f"{ROUTER}-gw*.pcap")) for p in pcap.read(f)]
    return ladder.draw(transcript(packets, ikekeys.read_keys(text)).steps)
