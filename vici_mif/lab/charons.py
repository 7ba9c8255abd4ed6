# SPDX-License-Identifier: Apache-2.0
"""The charons of a lab: installations, configuration files, processes."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

from vici_mif.lab import conf, facts
from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.installation import Installation
from vici_mif.lab.processes import Process, end, tell
from vici_mif.lab.state import State, StateFile
from vici_mif.lab.topology import CLIENT, Auth, Topology

START_PATIENCE = 30.0
STOP_PATIENCE = 3.0


class Charon:
    """The IKE daemon of one host."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self._state = StateFile(directory)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def installation(self) -> Installation:
        return self.host.installation

    @property
    def role(self) -> str:
        return f"charon@{self.host.name}"

    @property
    def process(self) -> Process | None:
        found = self._state.read().find(self.role)
        return found if found and found.alive() else None

    def start(self) -> None:
        """Start charon, wait until it answers, load the operator's files."""
        if self.process:
            raise LabError(f"charon runs on {self.host.name} already")
        self.host.vici_socket.unlink(missing_ok=True)
        with (self.host.directory / "charon.err").open("ab") as errors:
            self._child = self.host.spawn(
                self.role, [str(self.installation.charon)], stdout=errors, stderr=errors
            )
        self._wait_ready()
        self.load()

    def load(self) -> str:
        """`swanctl --load-all`, as the operator does it."""
        return self.swanctl("--load-all", "--noprompt")

    def initiate(self) -> None:
        """Bring the CHILD SA up, as an operator does by hand. Raises LabError if it fails."""
        self.swanctl("--initiate", "--child", conf.CHILD)

    def swanctl(self, *arguments: str, check: bool = True) -> str:
        return self.host.exec(["swanctl", *arguments], check=check).stdout

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would: no delete reaches the peer."""
        self._end(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """SIGSTOP, SIGCONT."""
        if process := self.process:
            tell(process, number)

    def _end(self, number: int) -> None:
        process = self.process
        if process:
            end(process, STOP_PATIENCE, number)
        if self._child:
            self._child.wait()
            self._child = None

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline:
            if _answers(self.host.vici_socket):
                return
            if not self.process:
                break
            time.sleep(0.05)
        raise LabError(
            f"charon on {self.host.name} did not start; its last words: {self.last_words()}"
        )

    def last_words(self) -> str:
        """The last lines of its log, or of what it said before it had one."""
        for path in (self.host.log, self.host.directory / "charon.err"):
            lines = path.read_text(errors="replace").splitlines() if path.exists() else []
            if lines:
                return " | ".join(lines[-3:])
        return "none"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def write_files(topology: Topology, state: State, hosts: dict[str, Host], directory: Path) -> None:
    """The operators' files of all hosts with a charon, with fresh secrets."""
    secret = fresh_secret()
    for name in topology.charon_hosts:
        host = hosts[name]
        if host.foreign:
            facts.write_facts(topology, host.directory, name, secret)
            continue
        write_strongswan(topology, state, host, directory)
        operators = host.swanctl_dir / "swanctl.conf"
        operators.touch(mode=0o600)
        operators.write_text(conf.swanctl(topology, name, secret))
    if topology.wish.auth is not Auth.PSK:
        _write_certificates(topology, hosts)


def fresh_secret() -> str:
    """A pre-shared key that all read alike: swanctl decodes one that begins with 0x or 0s
    (swanctl.conf(5), secrets.ike<suffix>.secret), libreswan takes it as it stands."""
    return secrets.token_hex(24)


def write_strongswan(topology: Topology, state: State, host: Host, directory: Path) -> None:
    """What depends on the charon that a host has: its plugins. Raises LabError without them."""
    installation = host.installation
    libipsec = state.data_plane == "libipsec"
    _demand(installation, libipsec, state)
    # a distribution's charon may lack the plugin: the other end's keys open all there is
    saves = state.keys and "save-keys" in installation.plugins
    table = directory / "keys" / host.name if saves else None
    if table:
        table.mkdir(parents=True, exist_ok=True)
    plugins = conf.plugin_list(installation.plugins, libipsec, state.keys)
    text = conf.strongswan(topology.wish, plugins, host.log, table, state.debug)
    host.strongswan_conf.write_text(text)


def _demand(installation: Installation, libipsec: bool, state: State) -> None:
    installation.demand("vici", "kernel-netlink", "socket-default")
    if libipsec:
        installation.demand("kernel-libipsec")
    if state.wish.auth is Auth.EAP:
        installation.demand("eap-identity", "eap-mschapv2", "md4")


def _write_certificates(topology: Topology, hosts: dict[str, Host]) -> None:
    # only here: cryptography takes long to load, and no other command needs it
    from vici_mif.lab import keys

    ca = keys.authority("lab authority")
    for name in topology.charon_hosts:
        keys.write_certificate(ca.certificate, hosts[name].swanctl_dir / "x509ca" / "lab.pem")
    eap = topology.wish.auth is Auth.EAP
    for name in (host for host in topology.charon_hosts if not (eap and host == CLIENT)):
        keys.issue(ca, conf.IDENTITIES[name]).write(hosts[name].swanctl_dir, "x509", name)
