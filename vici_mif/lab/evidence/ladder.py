# SPDX-License-Identifier: Apache-2.0
"""A transcript drawn as a ladder, in the manner of the figures of RFC 7791's forerunner."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from vici_mif.lab.evidence.ikev2 import (
    Configuration,
    Delete,
    Exchange,
    Kind,
    Notify,
    Other,
    Payload,
    Proposals,
    Sealed,
    Selectors,
)
from vici_mif.lab.evidence.pcap import Packet
from vici_mif.lab.evidence.transcript import Step

WIDTH = 78
_MIDDLE = 24
"""Where the responder's side begins."""

_PLAIN = {
    Kind.IDI: "IDi",
    Kind.IDR: "IDr",
    Kind.CERT: "CERT",
    Kind.CERTREQ: "CERTREQ",
    Kind.AUTH: "AUTH",
    Kind.VENDOR: "V",
    Kind.EAP: "EAP",
}
_CONFIGURATIONS = {1: "CFG_REQUEST", 2: "CFG_REPLY", 3: "CFG_SET", 4: "CFG_ACK"}


def draw(steps: Iterable[Step], began: float | None = None) -> str:
    """The whole ladder, with the seconds since `began`, or since the first message."""
    lines = ["client" + "gateway".rjust(WIDTH - 6), "-" * WIDTH]
    for step in steps:
        began = step.packet.time if began is None else began
        lines += [*_rung(step, step.packet.time - began), ""]
    return "\n".join(lines).rstrip() + "\n"


def _rung(step: Step, offset: float) -> Iterator[str]:
    where = f"{pair(step.packet)}  {offset:.3f} s{_remark(step)}"
    body = _body(step)
    if step.from_client:
        yield where
        yield from _wrap(body + "  -->", "", " " * 5)
    else:
        yield f"{'<--  '.rjust(_MIDDLE)}{where}"
        yield from _wrap(body, " " * _MIDDLE, " " * (_MIDDLE + 5))


def _wrap(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def pair(packet: Packet) -> str:
    """`(192.0.2.1:4500 -> 203.0.113.1:4500)`, with brackets around an IPv6 address."""
    ends = []
    for address, port in ((packet.src, packet.sport), (packet.dst, packet.dport)):
        ends.append(f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}")
    return f"({' -> '.join(ends)})"


def _remark(step: Step) -> str:
    if step.again:
        return ", the same bytes from here"
    return f", sent {step.sent} times" if step.sent > 1 else ""


def _body(step: Step) -> str:
    return f"HDR({step.member}), {_inside(step)}"


def _inside(step: Step) -> str:
    if step.problem:
        return f"SK {{ ? }} ({step.problem})"
    names = ", ".join(name(p, step) for p in step.message.payloads)
    if step.message.header.exchange == Exchange.IKE_SA_INIT:
        return names
    return f"SK {{ {names} }}" if names else "SK { }"


def name(payload: Payload, step: Step) -> str:
    """One payload, in the notation of RFC 7296, 1.2."""
    match payload:
        case Notify():
            return f"N({payload.name})"
        case Proposals():
            return "SA" + _number(step)
        case Selectors():
            return "TSi" if payload.kind == Kind.TSI else "TSr"
        case Configuration():
            return f"CP({_CONFIGURATIONS.get(payload.type, payload.type)})"
        case Delete():
            return "D"
        case Sealed():
            return "SK { ? }"
        case Other():
            return _other(payload.kind, step)


def _number(step: Step) -> str:
    """SAi1, SAr2: who proposes, and for which of the two SAs; nothing where one is made."""
    round_ = {Exchange.IKE_SA_INIT: "1", Exchange.IKE_AUTH: "2"}
    exchange = step.message.header.exchange
    if exchange not in round_:
        return ""
    return _side(step) + round_[Exchange(exchange)]


def _other(kind: int, step: Step) -> str:
    if kind in (Kind.KE, Kind.NONCE):
        return ("KE" if kind == Kind.KE else "N") + _side(step)
    return _PLAIN.get(Kind(kind), str(kind)) if kind in Kind._value2member_map_ else str(kind)


def _side(step: Step) -> str:
    return "r" if step.message.header.response else "i"
