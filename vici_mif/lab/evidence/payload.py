# SPDX-License-Identifier: Apache-2.0
"""Which of the streams' numbered blocks an uplink's ESP packets carried."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vici_mif.lab.evidence.esp import Carried
from vici_mif.lab.evidence.pcap import TCP, UDP, Packet, tcp_payload
from vici_mif.lab.streams.log import Flow

_SYN = 0x02


@dataclass(frozen=True, slots=True)
class Seen:
    """Payload bytes of one block in one packet."""

    at: float
    place: str
    outer: tuple[str, str]
    """Source and destination of the ESP packet."""
    spi: bytes
    flow: Flow
    number: int
    size: int


@dataclass(slots=True)
class Reader:
    """Follows TCP's sequence numbers, so that its payload can be counted in blocks too.

    A block is `tcp_block` bytes; a segment may hold a part of one, or parts of several.
    """

    port: int
    tcp_block: int
    _starts: dict[tuple[Flow, int, int], int] = field(default_factory=dict)

    def seen(self, carried: Iterable[Carried]) -> Iterator[Seen]:
        """What these ESP packets carried, oldest first."""
        for found in carried:
            inner = found.inner
            if inner is None or self.port not in (inner.sport, inner.dport):
                continue
            outer = found.outer
            ends = (str(outer.src), str(outer.dst))
            for flow, number, size in self._blocks(inner):
                yield Seen(outer.time, outer.place, ends, found.spi, flow, number, size)

    def _blocks(self, inner: Packet) -> Iterator[tuple[Flow, int, int]]:
        if inner.protocol == UDP and len(inner.data) >= 8:
            flow = ("udp", str(inner.src), str(inner.dst))
            yield flow, struct.unpack_from("!Q", inner.data)[0], len(inner.data)
        elif inner.protocol == TCP and len(inner.data) >= 20:
            yield from self._segment(inner)

    def _segment(self, inner: Packet) -> Iterator[tuple[Flow, int, int]]:
        flow = ("tcp", str(inner.src), str(inner.dst))
        key = (flow, inner.sport, inner.dport)
        sequence = struct.unpack_from("!I", inner.data, 4)[0]
        if inner.data[13] & _SYN:
            self._starts[key] = sequence + 1
        if key not in self._starts:
            return
        at = (sequence - self._starts[key]) & 0xFFFFFFFF
        end = at + len(tcp_payload(inner))
        while at < end:
            number = at // self.tcp_block
            size = min(end, (number + 1) * self.tcp_block) - at
            yield flow, number, size
            at += size


class Ledger:
    """All payload that was seen, by flow."""

    def __init__(self, seen: Iterable[Seen]) -> None:
        self._flows: dict[Flow, list[Seen]] = defaultdict(list)
        for item in seen:
            self._flows[item.flow].append(item)

    def of(self, flow: Flow, since: float, until: float) -> list[Seen]:
        """What was seen of a flow in this time."""
        return [item for item in self._flows.get(flow, ()) if since <= item.at < until]

    def carried(self, flow: Flow, blocks: Mapping[int, int], right: Callable[[Seen], bool]) -> int:
        """Bytes of these blocks (number: size) that were seen where it is right.

        What TCP sends again counts once: no block is worth more than its size.
        """
        found: dict[int, int] = defaultdict(int)
        for item in self._flows.get(flow, ()):
            if item.number in blocks and right(item):
                found[item.number] += item.size
        return sum(min(size, blocks[number]) for number, size in found.items())
