# SPDX-License-Identifier: Apache-2.0
"""The IKE messages of a capture in order, each with the name of the IKE SA it belongs to.

Names follow from the messages alone: `root` is what IKE_SA_INIT made, `clone N` what a
CREATE_CHILD_SA exchange with CLONE_IKE_SA made, and a prime stands for each rekeying.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vici_mif.lab.evidence.ikekeys import IkeKeys, open_message
from vici_mif.lab.evidence.ikev2 import (
    PROTOCOL_ESP,
    PROTOCOL_IKE,
    Delete,
    Exchange,
    IkeError,
    Kind,
    Message,
    N,
    Selector,
    Spis,
    parse,
)
from vici_mif.lab.evidence.pcap import Address, Packet, ike_of

Pair = tuple[Address, Address]


@dataclass(slots=True)
class Member:
    """One IKE SA."""

    name: str
    spis: Spis
    parent: str | None
    """The IKE SA whose CREATE_CHILD_SA made it."""
    cloned: bool
    by_client: bool
    """Whether the client is its original initiator (RFC 7296, 2.2)."""
    pair: Pair
    """Addresses of client and gateway, as the last UPDATE_SA_ADDRESSES left them."""
    since: float
    moves: list[tuple[float, Pair]] = field(default_factory=list)
    deleted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """One CHILD_SA."""

    member: str
    client_spi: bytes
    """What the gateway writes on packets to the client."""
    gateway_spi: bytes
    since: float
    replaces: bytes | None
    """SPI of the REKEY_SA notify that asked for it."""
    client_ts: tuple[Selector, ...]
    gateway_ts: tuple[Selector, ...]


@dataclass(slots=True)
class Step:
    """One message, in clear where the keys allow it."""

    packet: Packet
    message: Message
    member: str
    from_client: bool
    problem: str = ""
    """Why it could not be opened."""
    sent: int = 1
    """How often the same bytes went between the same addresses."""
    again: bool = False
    """Whether these bytes had gone between other addresses before."""


class Transcript:
    """What a sequence of packets says about a family of IKE SAs."""

    def __init__(self, keys: Mapping[Spis, IkeKeys]) -> None:
        self.steps: list[Step] = []
        self.members: dict[Spis, Member] = {}
        self.children: list[Child] = []
        self.unreadable: list[str] = []
        self._keys = keys
        self._seen: dict[bytes, list[Step]] = {}
        self._parts: dict[tuple[Spis, int, int], dict[int, Message]] = {}
        self._requests: dict[tuple[Spis, int, bool], Step] = {}
        self._clones = 0
        self._roots = 0

    def named(self, name: str) -> Member:
        """The IKE SA of this name."""
        return next(member for member in self.members.values() if member.name == name)

    def feed(self, packet: Packet) -> None:
        """Take the next packet; what is not IKE is passed over."""
        raw = ike_of(packet)
        if raw is None or len(raw) < 28 or self._repeated(packet, raw):
            return
        try:
            message = parse(raw)
        except IkeError as error:
            self.unreadable.append(f"{packet.place} at {packet.time:.3f}: {error}")
            return
        step = self._step(packet, message)
        self._seen.setdefault(raw, []).append(step)
        self._open(step)

    def _repeated(self, packet: Packet, raw: bytes) -> bool:
        for step in self._seen.get(raw, ()):
            if (step.packet.src, step.packet.dst) == (packet.src, packet.dst):
                step.sent += 1
                return True
        return False

    def _step(self, packet: Packet, message: Message) -> Step:
        member = self._member(packet, message)
        header = message.header
        from_client = header.from_initiator == (member.by_client if member else True)
        again = bool(self._seen.get(ike_of(packet) or b""))
        return Step(packet, message, member.name if member else "?", from_client, again=again)

    def _member(self, packet: Packet, message: Message) -> Member | None:
        spis = message.header.spis
        if message.header.exchange != Exchange.IKE_SA_INIT:
            return self.members.get(spis)
        # until the responder has chosen, its SPI is zero
        begun = self.members.pop((spis[0], bytes(8)), None) or self.members.get(spis)
        if begun is None:
            begun = self._root(packet, spis)
        begun.spis = spis
        self.members[spis] = begun
        return begun

    def _root(self, packet: Packet, spis: Spis) -> Member:
        self._roots += 1
        name = "root" if self._roots == 1 else f"root {self._roots}"
        pair = (packet.src, packet.dst)
        return Member(name, spis, None, False, True, pair, packet.time)

    def _open(self, step: Step) -> None:
        """Put the message in clear, as soon as all its fragments are there."""
        sealed = step.message.sealed
        if sealed is None:
            self._add(step)
            return
        header = step.message.header
        parts = self._parts.setdefault((header.spis, header.message_id, header.flags), {})
        parts[sealed.fragment] = step.message
        if len(parts) < sealed.total or (step.again and sealed.fragment < sealed.total):
            return
        try:
            step.message = open_message(list(parts.values()), self._keys)
        except IkeError as error:
            step.problem = str(error)
        self._add(step)

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        if not step.problem and not step.again:
            self._learn(step)

    def _learn(self, step: Step) -> None:
        header = step.message.header
        if not header.response:
            self._requests[(header.spis, header.message_id, step.from_client)] = step
        request = self._requests.get((header.spis, header.message_id, not step.from_client))
        if header.response and request is not None:
            self._answered(request, step)
        self._deleted(step)

    def _answered(self, request: Step, response: Step) -> None:
        exchange = response.message.header.exchange
        if exchange == Exchange.IKE_AUTH:
            self._authenticated(request, response)
        elif exchange == Exchange.CREATE_CHILD_SA:
            self._created(request, response)
        elif request.message.notify(N.UPDATE_SA_ADDRESSES):
            self._moved(request, response)

    def _authenticated(self, request: Step, response: Step) -> None:
        # with EAP the proposal stands in the first request, its answer in the last response
        first = self._requests.get((request.message.header.spis, 1, request.from_client), request)
        self._child(first, response)

    def _created(self, request: Step, response: Step) -> None:
        asked, chosen = request.message.proposal(), response.message.proposal()
        if asked is None or chosen is None:
            return
        if chosen.protocol == PROTOCOL_IKE:
            self._new_member(request, response, (asked.spi, chosen.spi))
        else:
            self._child(request, response)

    def _new_member(self, request: Step, response: Step, spis: Spis) -> None:
        parent = self.members[response.message.header.spis]
        cloned = request.message.notify(N.CLONE_IKE_SA) is not None
        if cloned:
            self._clones += 1
        name = f"clone {self._clones}" if cloned else f"{parent.name}'"
        since, pair = response.packet.time, parent.pair
        self.members[spis] = Member(
            name, spis, parent.name, cloned, request.from_client, pair, since
        )

    def _child(self, request: Step, response: Step) -> None:
        asked, chosen = request.message.proposal(), response.message.proposal()
        if asked is None or chosen is None or chosen.protocol != PROTOCOL_ESP:
            return
        spis = (asked.spi, chosen.spi) if request.from_client else (chosen.spi, asked.spi)
        chosen_ts = response.message.selectors()
        ours, theirs = (Kind.TSI, Kind.TSR) if request.from_client else (Kind.TSR, Kind.TSI)
        rekeyed = request.message.notify(N.REKEY_SA)
        self.children.append(
            Child(
                response.member,
                *spis,
                response.packet.time,
                rekeyed.spi if rekeyed else None,
                chosen_ts.get(ours, ()),
                chosen_ts.get(theirs, ()),
            )
        )

    def _moved(self, request: Step, response: Step) -> None:
        if response.message.notify(N.UNACCEPTABLE_ADDRESSES):
            return
        member = self.members[response.message.header.spis]
        member.pair = (response.packet.dst, response.packet.src)
        if not request.from_client:
            member.pair = (response.packet.src, response.packet.dst)
        member.moves.append((response.packet.time, member.pair))

    def _deleted(self, step: Step) -> None:
        member = self.members.get(step.message.header.spis)
        if member is None or step.message.header.response:
            return
        for payload in step.message.payloads:
            if isinstance(payload, Delete) and payload.protocol == PROTOCOL_IKE:
                member.deleted_at = step.packet.time


def transcript(packets: Iterable[Packet], keys: Mapping[Spis, IkeKeys]) -> Transcript:
    """Read packets in the order of their times."""
    found = Transcript(keys)
    for packet in sorted(packets, key=lambda p: p.time):
        found.feed(packet)
    return found
