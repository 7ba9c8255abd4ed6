# SPDX-License-Identifier: Apache-2.0
"""The controller on a lab's client, and what charon, kernel and captures say of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from tests.namespace import eventually
from tests.pings import came, ping_argv
from vici_mif.core.model import Sa
from vici_mif.core.status import PeerStatus, Status, TunnelStatus
from vici_mif.edges.control import ControlError, ask
from vici_mif.edges.vici import Connection, Tree
from vici_mif.lab import sas as charon_sas
from vici_mif.lab.conf import CONNECTIONS
from vici_mif.lab.hosts import Host
from vici_mif.lab.lab import Lab
from vici_mif.lab.leftovers import ours as ours
from vici_mif.lab.topology import CLIENT, GATEWAY

Seen = TypeVar("Seen", bound=BaseModel)

PROGRAM = [sys.executable, "-m", "vici_mif"]
PATIENCE = 60.0

INSIDE = "(net 10.222.0.0/24 or net 10.100.0.0/24) and not udp port 4500"
"""A road warrior's protected traffic. IKE is none: a charon that roams by itself also tries the
inside address that the gateway announces (ADDITIONAL_IP4_ADDRESS)."""


class Controller:
    """`vici-mif run` with one configuration, started and ended as often as a test wants."""

    def __init__(self, lab: Lab, connection: str = "{links: [eth0, wlan0, wwan0]}") -> None:
        self.lab = lab
        self.host = self._on()
        self.directory = self.host.directory
        self.file = self.directory / "config.yaml"
        self.log = self.directory / "controller.log"
        state = self.directory / "state"
        self.file.write_text(
            f"version: 1\n{self._wish(connection)}\n"
            f"daemon: {{state_dir: {state}, journal: {self.directory / 'journal'}}}\n"
        )
        self._child: subprocess.Popen[bytes] | None = None

    def _on(self) -> Host:
        return self.lab.client

    def _wish(self, connection: str) -> str:
        return f"connections:\n  {connection_name(self.lab)}: {connection}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._child = self.host.spawn(
                "controller",
                [*PROGRAM, "run", "-v", "-c", str(self.file)],
                stdout=log,
                stderr=log,
                env={"PYTHONPATH": os.getcwd()},
            )

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def resident_mb(self) -> float:
        """The most memory that its process ever had."""
        assert self._child is not None
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self._child.pid}/status").read_text())
        assert found
        return int(found[1]) / 1024

    def hang_up(self) -> None:
        """SIGHUP: read the configuration again."""
        assert self._child is not None
        self._child.send_signal(signal.SIGHUP)

    def _end(self, number: int) -> int:
        assert self._child is not None
        self._child.send_signal(number)
        try:
            return self._child.wait(20)
        finally:
            self._child = None

    @property
    def runs(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One `vici-mif` command on the client."""
        return self.host.exec(
            [*PROGRAM, *arguments, "-c", str(self.file)],
            check=False,
            env={"PYTHONPATH": os.getcwd()},
        )

    def status(self) -> Status:
        run_dir = self.host.run_directory / "vici-mif"
        return Status.model_validate(ask(run_dir, {"ask": "status"})["status"])

    @property
    def peer(self) -> PeerStatus:
        """The only peer, or the first."""
        return self.status().peers[0]

    def named(self, name: str) -> PeerStatus:
        """One of several peers."""
        return next(peer for peer in self.status().peers if peer.name == name)

    def until(
        self, check: Callable[[PeerStatus], object], within: float = PATIENCE, name: str = ""
    ) -> PeerStatus:
        """Until the peer's status is so; shows the last one where it is not."""
        return self.awaits(lambda: self.named(name) if name else self.peer, check, within)

    def awaits(
        self, look: Callable[[], Seen], check: Callable[[Seen], object], within: float
    ) -> Seen:
        """Until a part of its status is so; shows the last one where it is not."""
        seen: list[Seen] = []

        def holds() -> bool:
            assert self.runs, f"the controller ended:\n{self.said()}"
            try:
                seen.append(look())
            except ControlError:
                return False
            return bool(check(seen[-1]))

        try:
            eventually(holds, within)
        except AssertionError as error:
            last = seen[-1].model_dump_json(indent=1) if seen else "no status"
            raise AssertionError(f"{error}\n{last}\n{self.said()}") from None
        return seen[-1]

    def said(self) -> str:
        """The end of what it logged."""
        return self.log.read_text(errors="replace")[-12000:] if self.log.exists() else ""


@contextmanager
def running(lab: Lab, connection: str = "{links: [eth0, wlan0, wwan0]}") -> Iterator[Controller]:
    """A controller that is up by the end of the test or is stopped with it."""
    controller = Controller(lab, connection)
    controller.start()
    try:
        yield controller
    finally:
        if controller.runs:
            controller.stop()


def connection_name(lab: Lab) -> str:
    """The operator's connection on the client."""
    return CONNECTIONS[lab.topology.wish.profile][CLIENT]


@contextmanager
def lasting(host: Host, role: str, argv: Sequence[str]) -> Iterator[None]:
    """A program that runs for as long as the block: it may not end before."""
    child = host.spawn(role, argv, env={"PYTHONPATH": os.getcwd()})
    try:
        yield
        assert child.poll() is None, f"the {role} ended by itself"
    finally:
        child.kill()
        child.wait()


# --- what charon says ------------------------------------------------------------


def request(lab: Lab, command: str, message: Tree, host: str = "client") -> Tree:
    return asyncio.run(_request(lab.host(host).vici_socket, command, message))


async def _request(path: Path, command: str, message: Tree) -> Tree:
    connection = await Connection.open(str(path))
    try:
        return await connection.request(command, message, within=30)
    finally:
        connection.close()


def sas(lab: Lab, host: str = "client") -> list[Sa]:
    """All IKE SAs, by charon's own word."""
    return charon_sas.read(lab.host(host).vici_socket)


def spis(lab: Lab) -> set[tuple[int, str, str]]:
    """What must not change: unique ids and SPIs."""
    return {
        (sa.unique_id, child.spi_in, child.spi_out)
        for sa in sas(lab)
        for child in (sa.children or [None])
        if child
    } | {(sa.unique_id, "", "") for sa in sas(lab)}


def pairs(lab: Lab, host: str = "client") -> set[tuple[str, str]]:
    """The pairs of addresses, as that end's charon has them."""
    return {(str(sa.local), str(sa.remote)) for sa in sas(lab, host)}


def agreed(lab: Lab) -> bool:
    """The gateway has every IKE SA where the client has it."""
    return charon_sas.agreed(lab.client.vici_socket, lab.host(GATEWAY).vici_socket)


# --- what the network says ---------------------------------------------------------


def ping(lab: Lab, target: str, source: str = "", count: int = 5, host: str = "client") -> int:
    """How many of the pings came back."""
    argv = [*ping_argv(count), *(["-I", source] if source else []), target]
    return came(lab.host(host).exec(argv, check=False).stdout, count)


def esp_bytes(lab: Lab, uplink: str) -> int:
    """Bytes the client has sent on an uplink, by the kernel's counter."""
    path = f"/sys/class/net/{uplink}/statistics/tx_bytes"
    return int(lab.client.exec(["cat", path]).stdout)


def captured(lab: Lab, uplink: str, expression: str, *options: str) -> list[str]:
    """Packets in the capture of an uplink that match, as tcpdump shows them."""
    file = lab.captures.file("router", uplink)
    argv = ["tcpdump", "-n", *options, "-r", str(file), expression]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    # the last packet may be half written while the capture runs
    assert done.returncode == 0 or "truncated dump file" in done.stderr, done.stderr
    return done.stdout.splitlines()


def in_clear(lab: Lab, expression: str = INSIDE) -> dict[str, list[str]]:
    """What of this was seen on each uplink outside ESP, where anything was; ends the captures."""
    lab.stop_captures()
    for link in lab.uplinks:
        assert captured(lab, link, "ip or ip6", "-c", "1"), f"nothing at all was seen on {link}"
    seen = {link: captured(lab, link, expression) for link in lab.uplinks}
    return {link: packets for link, packets in seen.items() if packets}


def on(peer: PeerStatus) -> dict[str, TunnelStatus]:
    """Tunnels by the link of the path they are on; a spare counts least, one that carries most."""
    order = sorted(peer.tunnels, key=lambda t: (t.home is not None, bool(t.children)))
    return {(t.current or "?").partition("/")[0]: t for t in order}


UPLINKS = ("eth0", "wlan0")
"""Those of the lab that the fixture `client` makes."""


def all_home(peer: PeerStatus, uplinks: Sequence[str] = UPLINKS) -> bool:
    """Up, and on each of these the tunnel that belongs there, with children."""
    seated = on(peer)
    return peer.state == "up" and all(
        link in seated and seated[link].home == seated[link].current and seated[link].children
        for link in uplinks
    )


def spare_ready(peer: PeerStatus) -> bool:
    """A spare has its child: the last that a family gets, so its SPIs stay as they are."""
    return any(tunnel.home is None and tunnel.children for tunnel in peer.tunnels)


def inner(peer: PeerStatus) -> list[str]:
    """Inner addresses of all tunnels."""
    return sorted(address for tunnel in peer.tunnels for address in tunnel.inner)
