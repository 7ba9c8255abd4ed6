# SPDX-License-Identifier: Apache-2.0
"""The delay lines of a lab: their processes in the router, and the routing through them.

uplink ─► rule: what came in there ─► d-uplink ─► the line ─► d-uplink ─► routed as ever
remote ─► rule: what goes to the uplink's net ─► d-uplink ─► ...
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

from vici_mif.lab import namespaces, processes
from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.processes import Process
from vici_mif.lab.state import StateFile
from vici_mif.lab.topology import ROUTER, Topology, family
from vici_mif.lab.wires.delay import Qualities
from vici_mif.lab.wires.impair import line_device

_TABLES, _PRIORITY = 1000, 1000
_AF = {4: 2, 6: 10}
PATIENCE = 10.0


class Lines:
    """Those of one lab."""

    def __init__(self, directory: Path, router: Host, topology: Topology) -> None:
        self._router, self._topology = router, topology
        self._state = StateFile(directory)

    def set(self, uplink: str, qualities: Qualities) -> None:
        """Lead an uplink's packets through a line of these qualities; none: no line any more."""
        running = self._process(uplink)
        file = self._router.directory / f"{line_device(uplink)}.json"
        if qualities == Qualities():
            self._end(uplink, running, file)
            return
        if uplink in self._topology.wish.nat:
            raise LabError(f"{uplink} is behind a NAT: no delay line there, netem would do")
        qualities.write(file)
        if running:
            processes.tell(running, signal.SIGHUP)
        else:
            self._begin(uplink, file)

    def _process(self, uplink: str) -> Process | None:
        found = self._state.read().find(_role(uplink))
        return found if found and found.alive() else None

    def _begin(self, uplink: str, file: Path) -> None:
        nets = [str(ip_interface(a).network) for a in self._far(uplink)]
        inside = [part for net in nets for part in ("--inside", net)]
        device = line_device(uplink)
        program = [sys.executable, "-m", "vici_mif.lab.wires.delay"]
        argv = [*program, "--device", device, "--file", str(file), *inside]
        child = self._router.spawn(_role(uplink), argv, stdout=subprocess.PIPE)
        assert child.stdout is not None
        if child.stdout.readline() != b"ready\n":
            raise LabError(f"the delay line of {uplink} did not start")
        namespaces.netlink(self._router.namespace, lambda ipr: self._lead(ipr, uplink, "add"))

    def _end(self, uplink: str, running: Process | None, file: Path) -> None:
        if running is None:
            return
        namespaces.netlink(self._router.namespace, lambda ipr: self._lead(ipr, uplink, "del"))
        known = Qualities.read(file)
        time.sleep(max(q.delay_s + q.jitter_s for q in (known.up, known.down)))
        processes.end(running, PATIENCE)

    def _lead(self, ipr: Any, uplink: str, verb: str) -> None:
        """Add the routes, then the rules; or delete the rules, and the device takes the routes."""
        number = [wire.b.name for wire in self._topology.uplinks].index(uplink)
        if verb == "add":
            index = namespaces.index_of(ipr, line_device(uplink))
            ipr.link("set", index=index, state="up", txqlen=5000)
            for version in {family(a) for a in self._far(uplink)}:
                ipr.route("add", family=_AF[version], dst="default", oif=index,
                          table=_TABLES + number)  # fmt: skip
        for rule in self._rules(uplink):
            ipr.rule(verb, table=_TABLES + number, priority=_PRIORITY + number, **rule)

    def _rules(self, uplink: str) -> Iterator[dict[str, Any]]:
        for address in self._far(uplink):
            net = ip_network(ip_interface(address).network)
            version = {"family": _AF[net.version]}
            yield {**version, "iifname": uplink}
            for wire in self._topology.gateway_wires:
                down = {"dst": str(net.network_address), "dst_len": net.prefixlen}
                yield {**version, "iifname": wire.a.name, **down}

    def _far(self, uplink: str) -> tuple[str, ...]:
        return self._topology.port(ROUTER, uplink).addresses


def _role(uplink: str) -> str:
    return f"delay@{uplink}"
