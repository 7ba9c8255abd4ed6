# SPDX-License-Identifier: Apache-2.0
"""The demo's claims, each judged from captures and stream logs alone.

Pure: nothing here runs a command or asks a daemon. What the controller says it did counts
as the claim, never as the evidence.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import product

from vici_mif.lab.evidence.esp import Protected, in_clear
from vici_mif.lab.evidence.ikev2 import Exchange, IkeError, Message, Spis, parse
from vici_mif.lab.evidence.payload import Ledger, Seen
from vici_mif.lab.evidence.pcap import Packet, ike_of
from vici_mif.lab.evidence.transcript import Transcript
from vici_mif.lab.streams.log import Flow, StreamLog

SHARE = 0.99
"""Of the payload bytes that must be on the tunnel's own uplink."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that holds or does not, and why we say so."""

    name: str
    holds: bool
    evidence: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.holds else 'FAIL'}  {self.name}: {self.evidence}"

    def text(self, width: int) -> str:
        """For people: no line longer than that."""
        return textwrap.fill(str(self), width, subsequent_indent=" " * 8)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel as the controller names it."""

    name: str
    ends: tuple[tuple[str, str], ...]
    """Its inner addresses at the client, each with the address that its streams run to."""
    place: str
    """The capture of its own uplink."""
    local: str
    """The client's address on its own uplink."""

    def at_home(self, seen: Seen) -> bool:
        """On its own uplink, and with that uplink's address: a provider drops any other."""
        return seen.place == self.place and self.local in seen.outer


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in seconds since 1970."""

    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Outage:
    """An uplink that went away and came back."""

    place: str
    down_at: float
    up_at: float
    end_at: float
    silence: float
    """Seconds a stream may be silent when its uplink goes."""
    homecoming: float
    """Seconds within which a tunnel must be home again, the hold-down included."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the claims are judged by."""

    transcript: Transcript
    ledger: Ledger
    """Of the client's uplinks."""
    log: StreamLog
    tunnels: tuple[Tunnel, ...]

    def spis(self, tunnel: Tunnel) -> tuple[set[bytes], set[bytes]]:
        """SPIs of the tunnel's CHILD_SAs: on packets from the client, and to it."""
        inner = {ip_address(here) for here, _ in tunnel.ends}
        own = [
            child
            for child in self.transcript.children
            if any(ts.start == ts.end and ts.start in inner for ts in child.client_ts)
        ]
        return {child.gateway_spi for child in own}, {child.client_spi for child in own}

    def flows(self, tunnel: Tunnel) -> Iterator[tuple[str, tuple[Flow, ...], set[bytes]]]:
        """Each direction, its flows and the SPIs that must be on them."""
        outbound, inbound = self.spis(tunnel)
        ends = tuple(product(("udp", "tcp"), tunnel.ends))
        yield "out", tuple((kind, here, there) for kind, (here, there) in ends), outbound
        yield "in", tuple((kind, there, here) for kind, (here, there) in ends), inbound


def nothing_missed(dropped: Mapping[str, int]) -> Claim:
    """The captures are whole: what was not seen cannot be judged."""
    missed = ", ".join(f"{count} on {place}" for place, count in dropped.items() if count)
    return Claim(
        "nothing was missed",
        bool(dropped) and not missed,
        f"{len(dropped)} captures, packets lost by them: {missed or 'none'}",
    )


# ---- the exchanges


def one_authentication(captures: Iterable[Packet]) -> Claim:
    """One IKE_SA_INIT and one run of IKE_AUTH message ids, in all captures together."""
    begun: set[bytes] = set()
    runs: dict[Spis, set[int]] = defaultdict(set)
    for message in _messages(captures):
        header = message.header
        if header.exchange == Exchange.IKE_SA_INIT:
            begun.add(header.spis[0])
        elif header.exchange == Exchange.IKE_AUTH and not header.response:
            runs[header.spis].add(header.message_id)
    one_run = len(runs) == 1 and all(ids == set(range(1, len(ids) + 1)) for ids in runs.values())
    ids = "; ".join(" ".join(map(str, sorted(run))) for run in runs.values())
    return Claim(
        "one authentication",
        len(begun) == 1 and one_run,
        f"IKE SAs begun by IKE_SA_INIT: {len(begun)}; message ids of IKE_AUTH: {ids or 'none'}",
    )


def _messages(packets: Iterable[Packet]) -> Iterator[Message]:
    for packet in packets:
        raw = ike_of(packet)
        if raw is None:
            continue
        try:
            yield parse(raw)
        except IkeError:
            continue


def one_ike_sa_each(evidence: Evidence) -> Claim:
    """Each tunnel has an IKE SA of its own: one the root, the others cloned from it."""
    members = evidence.transcript.members.values()
    own: dict[str, set[str]] = {}
    for tunnel in evidence.tunnels:
        spis = evidence.spis(tunnel)[0]
        children = (c for c in evidence.transcript.children if c.gateway_spi in spis)
        own[tunnel.name] = {child.member.rstrip("'") for child in children}
    names = [next(iter(found)) for found in own.values() if len(found) == 1]
    apart = len(names) == len(own) == len(set(names))
    cloned = {member.name for member in members if member.cloned}
    others = [name for name in names if name not in cloned]
    return Claim(
        "one IKE SA for each tunnel",
        apart and others in ([], ["root"]),
        "; ".join(
            f"{tunnel}: {', '.join(sorted(found)) or 'none'}" for tunnel, found in own.items()
        )
        + f"; CLONE_IKE_SA exchanges answered: {len(cloned)}",
    )


# ---- where the payload is


def on_own_uplink(evidence: Evidence, window: Window, when: str) -> list[Claim]:
    """Per tunnel and direction: the payload is ESP of its SPIs, there and nowhere else."""
    return [
        _direction(evidence, tunnel, direction, window, when)
        for tunnel in evidence.tunnels
        for direction in evidence.flows(tunnel)
    ]


def _direction(
    evidence: Evidence,
    tunnel: Tunnel,
    direction: tuple[str, tuple[Flow, ...], set[bytes]],
    window: Window,
    when: str,
) -> Claim:
    name, flows, spis = direction

    def right(seen: Seen) -> bool:
        return tunnel.at_home(seen) and seen.spi in spis

    sent = carried = astray = 0
    for flow in flows:
        blocks = evidence.log.blocks(flow, window.since, window.until)
        sent += sum(blocks.values())
        carried += evidence.ledger.carried(flow, blocks, right)
        around = evidence.ledger.of(flow, window.since, window.until)
        astray += sum(seen.size for seen in around if not right(seen))
    share = carried / sent if sent else 0.0
    return Claim(
        f"{tunnel.name} {name}, {when}",
        sent > 0 and share >= SHARE and astray == 0,
        f"{share:.2%} of {sent} payload bytes are ESP {_hex(spis)} on {tunnel.place} "
        f"with {tunnel.local}, {astray} bytes elsewhere",
    )


def _hex(spis: Iterable[bytes]) -> str:
    return " ".join(sorted(spi.hex() for spi in spis)) or "of no known SPI"


def nothing_in_clear(uplinks: Mapping[str, list[Packet]], protected: Iterable[Protected]) -> Claim:
    """No packet between protected networks leaves or enters an uplink outside ESP."""
    rules = tuple(protected)
    found = [packet for packets in uplinks.values() for packet in in_clear(packets, rules)]
    total = sum(len(packets) for packets in uplinks.values())
    first = f"; the first: {found[0].src} to {found[0].dst} on {found[0].place}" if found else ""
    return Claim(
        "nothing in clear",
        total > 0 and not found,
        f"{len(found)} of {total} packets in {len(uplinks)} captures{first}",
    )


# ---- an uplink goes and comes back


def outage(evidence: Evidence, event: Outage) -> list[Claim]:
    """The claims about the time from the loss of an uplink to after its return."""
    hit = [tunnel for tunnel in evidence.tunnels if tunnel.place == event.place]
    rest = [tunnel for tunnel in evidence.tunnels if tunnel.place != event.place]
    return [
        *(_goes_on(evidence, tunnel, event) for tunnel in hit),
        *(_tcp_lives(evidence, tunnel, event) for tunnel in evidence.tunnels),
        *(_untouched(evidence, tunnel, event) for tunnel in rest),
        *(_home_again(evidence, tunnel, event) for tunnel in hit),
    ]


def _goes_on(evidence: Evidence, tunnel: Tunnel, event: Outage) -> Claim:
    gaps, lost = [], 0
    for _, flows, _ in evidence.flows(tunnel):
        streams = [flow for flow in flows if flow[0] == "udp"]
        gaps.append(max(evidence.log.gap(f, event.down_at, event.end_at) for f in streams))
        lost += sum(evidence.log.lost(f, event.down_at, event.end_at) for f in streams)
    return Claim(
        f"{tunnel.name} goes on without its uplink",
        max(gaps) <= event.silence,
        f"longest silence {gaps[0]:.3f} s out, {gaps[1]:.3f} s in (at most {event.silence:g} s); "
        f"{lost} datagrams lost",
    )


def _tcp_lives(evidence: Evidence, tunnel: Tunnel, event: Outage) -> Claim:
    mine = [f for _, flows, _ in evidence.flows(tunnel) for f in flows if f[0] == "tcp"]
    ended = [why for at, flow, why in evidence.log.failures if flow in mine and at < event.end_at]
    counts, whole = [], True
    for flow in mine:
        got = [mark.number for mark in evidence.log.got.get(flow, ())]
        late = evidence.log.gap(flow, event.end_at - event.silence, event.end_at)
        whole = whole and bool(got) and got == list(range(len(got))) and late < event.silence
        counts.append(str(len(got)))
    return Claim(
        f"{tunnel.name}: TCP connection lives",
        whole and not ended,
        f"blocks in order to the end, out and in: {', '.join(counts)}"
        + (f"; {ended[0]}" if ended else ""),
    )


def _untouched(evidence: Evidence, tunnel: Tunnel, event: Outage) -> Claim:
    """The SPIs on the wire are the same before and after, and none is elsewhere."""
    before: set[bytes] = set()
    after: set[bytes] = set()
    astray = 0
    for _, flows, _ in evidence.flows(tunnel):
        for flow in flows:
            for seen in evidence.ledger.of(flow, 0, event.end_at):
                (before if seen.at < event.down_at else after).add(seen.spi)
                astray += 0 if tunnel.at_home(seen) else seen.size
    return Claim(
        f"{tunnel.name} is untouched",
        bool(before) and before == after and astray == 0,
        f"ESP {_hex(before)} before, {_hex(after)} after; {astray} bytes elsewhere",
    )


def _home_again(evidence: Evidence, tunnel: Tunnel, event: Outage) -> Claim:
    limit = event.homecoming
    arrivals, strays = [], 0
    for _, flows, _ in evidence.flows(tunnel):
        seen = [s for flow in flows for s in evidence.ledger.of(flow, event.up_at, event.end_at)]
        home = [item.at for item in seen if tunnel.at_home(item)]
        arrivals.append(min(home, default=float("inf")) - event.up_at)
        strays += sum(not tunnel.at_home(s) and s.at > event.up_at + limit for s in seen)
    return Claim(
        f"{tunnel.name} is home again",
        max(arrivals) <= limit and strays == 0,
        f"{arrivals[0]:.2f} s out, {arrivals[1]:.2f} s in after its uplink came back "
        f"(at most {limit:g} s); {strays} packets elsewhere after that",
    )


def verdict(claims: Iterable[Claim]) -> bool:
    """Whether all hold; no claims prove nothing."""
    found = list(claims)
    return bool(found) and all(claim.holds for claim in found)
