# SPDX-License-Identifier: Apache-2.0
"""The stage with real charons, the real controller and real packets: a lab."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vici_mif.core.model import Sa
from vici_mif.core.status import Status, TunnelStatus
from vici_mif.lab import conf, leftovers, links, sas, trial
from vici_mif.lab.abilities import OWN_CLOCK
from vici_mif.lab.controller import Controller
from vici_mif.lab.errors import LabError
from vici_mif.lab.evidence import pcap, proof
from vici_mif.lab.evidence.pcap import Packet
from vici_mif.lab.evidence.sightings import Sightings
from vici_mif.lab.hosts import Host
from vici_mif.lab.installation import default_prefix
from vici_mif.lab.lab import Lab
from vici_mif.lab.scenario import wire
from vici_mif.lab.scenario.model import Scenario, Topology
from vici_mif.lab.scenario.words import seconds
from vici_mif.lab.streams.ends import RATE
from vici_mif.lab.streams.streams import Streams, far_address
from vici_mif.lab.topology import CLIENT, GATEWAY, MAX_GATEWAYS, ROUTER, STATION, Profile, bare
from vici_mif.lab.wires.impair import DOWN, UP, Impairment

GRAIN = 0.1
"""Seconds between two looks."""
WRITTEN = 1.0
"""Seconds until a capture has on disk what was answered."""
AGREED = 20.0
"""Seconds in which both ends have ended what they do with their IKE SAs."""

_KEEP = (0, 220, 32766, 32767)
"""Rule preferences of the kernel and of charon."""

Make = Callable[[Topology], Lab]
Newer = Callable[[str], tuple[Path, str]]
"""Host -> the prefix of another charon, and the image that has it, if it is one."""


def _ours(_: str) -> tuple[Path, str]:
    return default_prefix(), ""


class LabStage:
    """Implements `vici_mif.lab.scenario.stage.Telling`; `make` builds a lab that captures."""

    name = "the lab"
    real = True
    gateways = MAX_GATEWAYS

    def __init__(self, make: Make, has: frozenset[str], newer: Newer = _ours) -> None:
        """`newer`: what a side is upgraded to."""
        self._make, self.has, self._newer = make, has, newer
        self.patience = float(os.environ.get("VICI_MIF_PATIENCE", "1"))
        self._lab: Lab | None = None
        self._clock_set = 0.0
        """Seconds by which this stage has set the machine's clock."""

    # --- the stage ---------------------------------------------------------------------

    def open(self, scenario: Scenario) -> None:
        top = scenario.story.topology
        self._lab = lab = self._make(top)
        self._log = (lab.client.directory / "controller.log").open("a", buffering=1)
        self._controller = Controller(lab, lambda line: self._log.write(line + "\n"))
        self._controller.configure(scenario.configuration)
        self._streams = Streams(lab, self._near)
        self._sightings = Sightings(lab)
        self._vlans: dict[str, str] = {}
        # who speaks no VICI will not be heard
        self._moves = sas.Moves(lab.client.vici_socket, 0.0 if lab.client.foreign else 10.0)
        for uplink in top.absent:
            links.remove(lab, uplink)
        self._story = scenario.story
        if top.controller:
            self._controller.run()

    def close(self) -> None:
        lab, self._lab = self._lab, None
        if lab is None:
            return
        if self._clock_set:
            self._set_clock(-self._clock_set)
        with contextlib.suppress(AttributeError):
            self._moves.close()
            self._log.close()
        lab.down()

    def now(self) -> float:
        return time.monotonic()

    def rest(self, most: float) -> None:
        time.sleep(min(most, GRAIN))

    def status(self) -> Status | None:
        return self._controller.ask_status()

    def sas(self) -> Sequence[Sa]:
        return sas.read(self.lab.client.vici_socket)

    def verdict(self) -> list[str]:
        """Every packet between protected networks that was seen outside ESP, on any wire."""
        self._streams.stop()
        self._controller.kill()
        counts = self.lab.stop_captures()
        files = sorted(self.lab.captures.directory.glob(f"{ROUTER}-*.pcap"))
        captures = {file.stem: list(pcap.read(file)) for file in files}
        claims = (
            proof.nothing_missed({place: count.dropped for place, count in counts.items()}),
            proof.nothing_in_clear(captures, trial.protected(self.lab)),
        )
        wrong = [str(claim) for claim in claims if not claim.holds]
        if self.lab.state.keys:
            wrong += wire.complaints(self._story.wire, self.lab)
        ran = self._story.topology.controller or self._controller.journal.exists()
        return [*wrong, *(replayed(self._controller.journal) if ran else ())]

    # --- what it can tell ----------------------------------------------------------------

    def moves(self) -> int:
        return self._moves.count()

    def carrier(self, tunnel: TunnelStatus) -> str | None:
        """By the captures: where this tunnel's ESP was seen while a ping was answered."""
        began = time.time()
        source = next((a for a in tunnel.inner if ":" not in a), "")
        if not self._answered(source):
            return None
        # while it is rekeyed a tunnel has two of each
        spis = [spi for child in tunnel.children for spi in (child.spi_out, child.spi_in)]
        until = time.monotonic() + WRITTEN
        while not (seen := self._seen(spis, began)) and time.monotonic() < until:
            time.sleep(GRAIN)
        return " and ".join(sorted(seen)) or None

    def _seen(self, spis: Sequence[str], since: float) -> set[str]:
        """Links on which packets of these SPIs were captured since then."""
        found = [self._sightings.last(spi) for spi in spis]
        return {self._called(each) for each in found if each and each.time >= since - 0.01}

    def silences(self, since: float) -> Mapping[str, float]:
        return self._streams.silences(_wall(since)) if self._streams.flows else {}

    def lost(self, since: float) -> int:
        return sum(self._streams.lost(_wall(since)).values())

    def reordered(self, since: float) -> int:
        return self._streams.reordered(_wall(since))

    def broken(self) -> list[str]:
        return self._streams.broken() if self._streams.flows else ["there is no connection"]

    def left(self) -> list[str]:
        return leftovers.ours(self.lab)

    def pins(self) -> int:
        return sum(sa.pinned_delay is not None for sa in self.sas())

    def reached(self) -> bool:
        return self._answered("")

    def far_sas(self) -> Sequence[Sa]:
        return sas.read(self.lab.gateway.vici_socket)

    # --- links -----------------------------------------------------------------------------

    def do_link_down(self, link: str) -> None:
        self.lab.link_down(link)

    def do_link_up(self, link: str) -> None:
        self.lab.link_up(link)

    def do_link_remove(self, link: str) -> None:
        links.remove(self.lab, link)

    def do_link_add(self, link: str) -> None:
        links.add(self.lab, link)

    def do_link_rename(self, link: str, name: str) -> None:
        links.rename(self.lab, link, name)

    def do_carrier_lost(self, link: str) -> None:
        links.lose_carrier(self.lab, link)

    def do_carrier_back(self, link: str) -> None:
        links.restore_carrier(self.lab, link)

    def do_address_add(self, link: str, address: str) -> None:
        links.add_address(self.lab, link, address)

    def do_address_remove(self, link: str, address: str) -> None:
        links.remove_address(self.lab, link, address)

    def do_address_renew(self, link: str, address: str) -> None:
        links.renew(self.lab, link, address)

    def do_vlan(self, link: str, number: str) -> None:
        port = links.add_vlan(self.lab, link, int(number))
        self._vlans[bare(port.addresses[0])] = port.name

    def do_bridge(self, name: str, address: str) -> None:
        links.add_bridge(self.lab, name, address)

    # --- paths -----------------------------------------------------------------------------

    def do_cut(self, link: str, direction: str) -> None:
        self.lab.cut(link, directions=(UP, DOWN) if direction == "both" else (direction,))

    def do_uncut(self, link: str) -> None:
        self.lab.uncut(link)

    def do_rebind(self, link: str) -> None:
        self.lab.rebind(link)

    def do_delay(self, link: str, delay: str) -> None:
        self.lab.impair(link, Impairment(delay_s=seconds(delay)))

    def do_loss(self, link: str, percent: str) -> None:
        self.lab.impair(link, Impairment(loss_percent=float(percent)))

    def do_mtu(self, link: str, number: str) -> None:
        links.set_mtu(self.lab, link, int(number))

    def do_remote_down(self, address: str) -> None:
        links.remote_down(self.lab, address)

    def do_remote_up(self, address: str) -> None:
        links.remote_up(self.lab, address)

    # --- daemons ---------------------------------------------------------------------------

    def do_kill_controller(self) -> None:
        self._controller.kill()

    def do_start_controller(self) -> None:
        self._controller.run()

    def do_stop_controller(self) -> None:
        self._controller.stop()

    def do_kill_charon(self) -> None:
        self.lab.charons[CLIENT].kill()

    def do_start_charon(self) -> None:
        self.lab.charons[CLIENT].start()

    def do_kill_gateway(self) -> None:
        self.lab.charons[GATEWAY].kill()

    def do_stop_gateway(self) -> None:
        self.lab.charons[GATEWAY].stop()

    def do_start_gateway(self) -> None:
        self.lab.charons[GATEWAY].start()

    def do_upgrade(self, side: str) -> None:
        self.lab.upgrade(side, *self._newer(side))

    def do_suspend(self, time_: str) -> None:
        """The machine goes on, so its clocks do, too: both daemons of the client stand still."""
        daemons = (self.lab.charons[CLIENT], self._controller)
        for daemon in daemons:
            daemon.signal(signal.SIGSTOP)
        time.sleep(seconds(time_))
        for daemon in daemons:
            daemon.signal(signal.SIGCONT)

    def do_clock_forward(self, time_: str) -> None:
        self._set_clock(seconds(time_))

    def do_clock_back(self, time_: str) -> None:
        self._set_clock(-seconds(time_))

    # --- operators, and others' hands --------------------------------------------------------

    def do_order(self, words: str) -> None:
        done = self._controller.command(*words.split(), "-c", str(self._controller.file))
        if done.returncode:
            raise LabError(f"ended with {done.returncode}: {done.stdout}{done.stderr}".rstrip())

    def do_terminate_by(self, which: str, side: str) -> None:
        self._swanctl("--terminate", which, side)

    def do_rekey_by(self, which: str, side: str) -> None:
        near, far = (self.lab.host(end).vici_socket for end in (CLIENT, GATEWAY))
        sas.settle(near, far, AGREED * self.patience)
        self._swanctl("--rekey", which, side)

    def do_rekey_children_by(self, side: str) -> None:
        for sa in sas.read(self.lab.host(side).vici_socket):
            for child in sa.children:
                self.lab.charons[side].swanctl("--rekey", "--child-id", str(child.unique_id))

    def do_clone_by(self, side: str) -> None:
        socket = self.lab.host(side).vici_socket
        root = next((sa for sa in sas.read(socket) if sa.established and not sa.cloned), None)
        if root is None:
            raise LabError(f"{side} has no IKE SA to clone")
        sas.ask(socket, "clone", {"ike-id": str(root.unique_id), "timeout": "10000"})

    def do_initiate(self) -> None:
        self.lab.charons[CLIENT].initiate()

    def do_load_all(self) -> None:
        self.lab.charons[CLIENT].load()

    def do_flush_rules(self) -> None:
        for version in ("-4", "-6"):
            said = self.lab.client.exec(["ip", version, "rule"]).stdout
            there = [int(line.partition(":")[0]) for line in said.splitlines()]
            # each of them once: whoever deletes until none is left fights with who puts them back
            batch = "".join(f"rule del pref {each}\n" for each in there if each not in _KEEP)
            argv = ["ip", version, "-force", "-batch", "-"]
            self.lab.client.exec(argv, stdin=batch, check=False)

    def do_flush_ruleset(self) -> None:
        self.lab.client.exec(["nft", "flush", "ruleset"])

    def do_traffic_start(self) -> None:
        self._begin_traffic(RATE / self.patience)

    def do_traffic_at(self, number: str) -> None:
        self._begin_traffic(float(number))

    def _begin_traffic(self, rate: float) -> None:
        far = far_address(self.lab)
        if self._near.name == STATION:
            near = next(w.b for w in self.lab.topology.inside if w.b.host == STATION)
            pairs = [(bare(near.addresses[0]), far)]
        else:
            status = self.status()
            tunnels = [t for peer in (status.peers if status else ()) for t in peer.tunnels]
            pairs = [(a, far) for t in tunnels if t.children for a in t.inner if ":" not in a]
        self._streams.start(pairs, rate)

    # --- inside ------------------------------------------------------------------------------

    @property
    def lab(self) -> Lab:
        assert self._lab is not None
        return self._lab

    @property
    def _near(self) -> Host:
        """Who sends: a station behind the client's gateway, or the client itself."""
        site = self.lab.topology.wish.profile is Profile.SITE
        return self.lab.host(STATION if site else CLIENT)

    def _set_clock(self, by: float) -> None:
        if OWN_CLOCK not in self.has:
            raise LabError("this machine's clock is not ours to set")
        time.clock_settime(time.CLOCK_REALTIME, time.time() + by)
        self._clock_set += by

    def _answered(self, source: str) -> bool:
        # five within a second, one answer is enough: a daemon that stood still has lost some
        argv = ["ping", "-n", "-q", "-c", "1", "-i", "0.2", "-w", "1"]
        argv += ["-I", source] if source else []
        return self._near.exec([*argv, far_address(self.lab)], check=False).returncode == 0

    def _called(self, packet: Packet) -> str:
        """What the client calls now the link on which a packet was; a VLAN by its address."""
        vlans = (self._vlans.get(str(address)) for address in (packet.src, packet.dst))
        now = {plan: name for name, plan in self.lab.state.names.items()}
        return next(filter(None, vlans), now.get(packet.place, packet.place))

    def _swanctl(self, what: str, which: str, side: str) -> None:
        charon = self.lab.charons[side]
        if which == "all" and what == "--terminate":
            names = conf.CONNECTIONS[self.lab.topology.wish.profile]
            charon.swanctl(what, "--ike", names[side])
            return
        found = [sa for sa in sas.read(charon.host.vici_socket) if sa.established]
        chosen = [sa for sa in found if which == "all" or sa.cloned == (which == "clone")]
        for sa in chosen if which == "all" else chosen[:1]:
            charon.swanctl(what, "--ike-id", str(sa.unique_id))


def replayed(journal: Path) -> list[str]:
    """What today's planner decides otherwise than the controllers of this scenario did."""
    command = [sys.executable, "-m", "vici_mif", "replay", "--quiet", str(journal)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [f"replay: {done.stdout}{done.stderr}".rstrip()] if done.returncode else []


def _wall(at: float) -> float:
    """A moment of `now` in seconds since 1970, as streams and captures have it."""
    return time.time() - (time.monotonic() - at)
