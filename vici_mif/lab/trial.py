# SPDX-License-Identifier: Apache-2.0
"""A trial: traffic on every tunnel of a lab, an uplink that goes and comes, and the verdict."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import product
from pathlib import Path

from vici_mif.lab import conf
from vici_mif.lab.evidence import esp, ikekeys, ladder, pcap, proof, tshark
from vici_mif.lab.evidence.payload import Ledger, Reader
from vici_mif.lab.evidence.pcap import Packet
from vici_mif.lab.evidence.proof import Claim, Evidence, Outage, Tunnel, Window
from vici_mif.lab.evidence.transcript import Step, Transcript, transcript
from vici_mif.lab.lab import Lab
from vici_mif.lab.streams.ends import PORT, RATE, TCP_SIZE
from vici_mif.lab.streams.streams import BEGIN_PATIENCE, Streams
from vici_mif.lab.topology import BACKUP_POOLS, CLIENT, POOLS, ROUTER, SERVER, bare, family, pick

Say = Callable[[str], None]

SILENCE, HOMECOMING = 1.0, 2.0
"""What a real processor is allowed: without a datagram; to be home after the hold-down."""
_SETTLE = 0.5
"""Seconds at both ends of a window that are not judged: what is under way is nowhere yet."""


@dataclass(frozen=True, slots=True)
class Script:
    """How long each part takes, in seconds, and which uplink goes."""

    link: str
    steady: float = 4.0
    away: float = 4.0
    hold_down: float = 5.0
    after: float = 3.0
    rate: float = RATE
    """Datagrams a second on each tunnel in each direction."""
    slow: float = 1.0
    """How much slower than a real processor this machine is: a guest's is translated."""

    @property
    def silence(self) -> float:
        """How long a stream may be silent when its uplink goes."""
        return SILENCE * self.slow

    @property
    def homecoming(self) -> float:
        """How long a tunnel may take to be home again."""
        return self.hold_down + HOMECOMING * self.slow


@dataclass(frozen=True, slots=True)
class Times:
    """When things happened, in seconds since 1970."""

    began: float
    steady: Window
    outage: Outage
    home: Window


@dataclass(frozen=True, slots=True)
class Findings:
    """What the captures and logs of a trial say."""

    link: str
    """The uplink that went."""
    claims: tuple[Claim, ...]
    transcript: Transcript
    times: Times

    @property
    def proved(self) -> bool:
        return proof.verdict(self.claims)

    def setup_ladder(self) -> str:
        """The exchanges from the first packet to the first payload."""
        return ladder.draw(self._steps(0, self.times.began))

    def outage_ladder(self) -> str:
        """The exchanges from the loss of the uplink to the end."""
        down_at = self.times.outage.down_at
        return ladder.draw(self._steps(down_at, float("inf")), down_at)

    def _steps(self, since: float, until: float) -> list[Step]:
        return [s for s in self.transcript.steps if since <= s.packet.time < until]


def place(link: str) -> str:
    """Where an uplink is captured."""
    return f"{ROUTER}-{link}"


@dataclass(frozen=True, slots=True)
class Home:
    """A tunnel as the controller shows it."""

    link: str
    inner: tuple[str, ...]


class Trial:
    """One run of the script on a lab whose tunnels are up."""

    def __init__(self, lab: Lab, tunnels: Mapping[str, Home], script: Script, say: Say):
        self._lab, self._script, self._say = lab, script, say
        self._streams = Streams(lab, lab.client)
        server = next(wire.b for wire in lab.topology.inside if wire.b.host == SERVER)
        self._far = {family(address): bare(address) for address in server.addresses}
        self._tunnels = tuple(self._tunnel(name, home) for name, home in tunnels.items())

    def _tunnel(self, name: str, home: Home) -> Tunnel:
        wish = self._lab.topology.wish
        addresses = self._lab.topology.port(CLIENT, home.link).addresses
        ends = tuple((inner, self._far[family(inner)]) for inner in home.inner)
        return Tunnel(name, ends, place(home.link), bare(pick(addresses, wish.outer)))

    def play(self) -> Findings:
        """Traffic, the outage, the return; then the verdict."""
        began, script = time.time(), self._script
        try:
            pairs = [ends for tunnel in self._tunnels for ends in tunnel.ends]
            self._streams.start(pairs, script.rate, BEGIN_PATIENCE * script.slow)
            times = self._act(began)
        finally:
            self._streams.stop()
            counts = self._lab.stop_captures()
        return self.judge(times, proof.nothing_missed({p: c.dropped for p, c in counts.items()}))

    # ---- what happens

    def _act(self, began: float) -> Times:
        script = self._script
        steady = self._pass("traffic on all tunnels, both ways", script.steady)
        down_at = time.time()
        self._lab.link_down(script.link)
        self._pass(f"{script.link} is down", script.away * script.slow)
        up_at = time.time()
        self._lab.link_up(script.link)
        back = f"{script.link} is up again; its tunnel goes home after the hold-down"
        self._pass(back, script.homecoming)
        home = self._pass("traffic on all tunnels, each at home", script.after * script.slow)
        bars = script.silence, script.homecoming
        outage = Outage(place(script.link), down_at, up_at, home.until, *bars)
        return Times(began, steady, outage, home)

    def _pass(self, what: str, duration: float) -> Window:
        self._say(what)
        since = time.time()
        time.sleep(duration)
        return Window(since + _SETTLE, time.time() - _SETTLE)

    # ---- what it says

    def judge(self, times: Times, whole: Claim) -> Findings:
        """Everything from the files that are left."""
        captures = {path.stem: list(pcap.read(path)) for path in self._captures(ROUTER)}
        uplinks = {place(link): captures[place(link)] for link in self._lab.uplinks}
        evidence = self._evidence(uplinks)
        claims = (
            whole,
            proof.one_authentication(p for packets in captures.values() for p in packets),
            proof.one_ike_sa_each(evidence),
            *proof.on_own_uplink(evidence, times.steady, "all uplinks there"),
            proof.nothing_in_clear(captures, protected(self._lab)),
            *proof.outage(evidence, times.outage),
            *proof.on_own_uplink(evidence, times.home, "after the return"),
            *self._outside_judge(evidence.transcript),
        )
        return Findings(self._script.link, claims, evidence.transcript, times)

    def _captures(self, host: str) -> list[Path]:
        return sorted(self._lab.captures.directory.glob(f"{host}-*.pcap"))

    def _outside_judge(self, ours: Transcript) -> list[Claim]:
        if not tshark.installed():
            self._say("tshark is not installed: nobody else reads the captures")
            return []
        keys = self._lab.keys_directory / CLIENT / "ikev2_decryption_table"
        files = [self._lab.captures.file(ROUTER, link) for link in self._lab.uplinks]
        theirs = Counter(row for file in files for row in tshark.messages(file, keys))
        return [tshark.agrees(ours.steps, theirs)]

    def _evidence(self, uplinks: dict[str, list[Packet]]) -> Evidence:
        keys = self._lab.keys_directory / CLIENT
        ike = ikekeys.read_keys((keys / "ikev2_decryption_table").read_text())
        opened = esp.read_keys((keys / "esp_sa").read_text())
        packets = sorted((p for ps in uplinks.values() for p in ps), key=lambda p: p.time)
        seen = Reader(PORT, TCP_SIZE).seen(esp.carried(packets, opened))
        return Evidence(
            transcript(packets, ike),
            Ledger(seen),
            self._streams.log(),
            self._tunnels,
        )


def protected(lab: Lab) -> list[esp.Protected]:
    """What the connection's selectors hold, in either direction."""
    near, far = conf.selectors(lab.topology.wish)
    pools = POOLS + BACKUP_POOLS * (lab.topology.wish.gateways > 1)
    return [
        esp.Protected(ip_network(ours), ip_network(theirs))
        for ours, theirs in product(near or pools, far)
        if (":" in ours) == (":" in theirs)
    ]
