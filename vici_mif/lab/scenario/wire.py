# SPDX-License-Identifier: Apache-2.0
"""What a scenario claims of the messages on the wire, judged by tshark, by numbers alone.

Captured is the gateway's side of the router: what was lost before is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vici_mif.lab import captures
from vici_mif.lab.evidence import tshark
from vici_mif.lab.evidence.ikev2 import Exchange, N
from vici_mif.lab.lab import Lab
from vici_mif.lab.scenario.model import WireClaim
from vici_mif.lab.topology import ROUTER, bare

TABLE = "ikev2_decryption_table"
_FLAG_RESPONSE = 0x20


@dataclass(frozen=True, slots=True)
class Heard:
    """One IKE message, however often it was sent."""

    spis: tuple[str, str]
    exchange: int
    message_id: int
    response: bool
    by: str
    notifies: frozenset[int]

    @property
    def marks(self) -> frozenset[int]:
        """The numbers by which a sequence may know it."""
        return self.notifies | {self.exchange}


def complaints(claims: Sequence[WireClaim], lab: Lab) -> list[str]:
    """What does not hold; empty: all of it does."""
    if not claims:
        return []
    if not tshark.installed():
        return ["on the wire: there is no tshark to judge by (scripts/packages lab)"]
    messages = heard(lab.directory, {bare(a) for w in lab.topology.remotes for a in w.b.addresses})
    if not messages:
        return ["tshark found no IKE message in the captures"]
    return [text for claim in claims for text in judge(claim, messages)]


def heard(directory: Path, gateway: Iterable[str]) -> list[Heard]:
    """All messages between client and gateway in order, opened with the keys of either end."""
    tables = [table.read_text() for table in sorted(directory.glob(f"keys/*/{TABLE}"))]
    own = set(gateway)
    files = sorted((directory / captures.FOLDER).glob(f"{ROUTER}-gw*.pcap"))
    found: dict[tuple[tuple[str, str], int, bool, str], Heard] = {}
    for file in files:
        for row in tshark.full(file, "".join(tables)):
            response = bool(row.flags & _FLAG_RESPONSE)
            by = "gateway" if row.source in own else "client"
            key = (row.spis, row.message_id, response, by)
            before = found[key].notifies if key in found else frozenset()
            notifies = before | frozenset(row.notifies)
            found[key] = Heard(row.spis, row.exchange, row.message_id, response, by, notifies)
    return list(found.values())


def judge(claim: WireClaim, messages: Sequence[Heard]) -> Iterator[str]:
    """What is wrong with one claim, in plain words."""
    if claim.sequence:
        wanted = [_number(name) for name in claim.sequence]
        if not any(_follow(wanted, family) for family in _by_sa(messages)):
            yield f"on the wire: no IKE SA has {', then '.join(claim.sequence)}"
        return
    number = sum(_fits(claim, message) for message in messages)
    if not claim.times.holds(number):  # type: ignore[union-attr]
        parts = (claim.exchange, claim.notify, claim.kind, claim.by and f"by the {claim.by}")
        what = " ".join(part for part in parts if part)
        yield f"on the wire: {what}: {number}, not {claim.times}"


def _fits(claim: WireClaim, message: Heard) -> bool:
    return (
        (claim.exchange is None or message.exchange == Exchange[claim.exchange])
        and (not claim.notify or N[claim.notify] in message.notifies)
        and claim.by in (None, message.by)
        and (claim.kind is None or message.response is (claim.kind == "response"))
    )


def _number(name: str) -> int:
    return int(Exchange[name]) if name in Exchange.__members__ else int(N[name])


def _by_sa(messages: Sequence[Heard]) -> Iterator[list[Heard]]:
    """The requests of each IKE SA."""
    for spis in dict.fromkeys(message.spis for message in messages):
        yield [m for m in messages if m.spis == spis and not m.response]


def _follow(wanted: Sequence[int], requests: Sequence[Heard]) -> bool:
    """Whether these numbers come in this order, with whatever between them."""
    rest = iter(requests)
    return all(any(number in request.marks for request in rest) for number in wanted)
