# SPDX-License-Identifier: Apache-2.0
"""The controller on a lab's client, used as an operator uses it: its file and its commands."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vici_mif.core.status import PeerStatus, Status, TunnelStatus
from vici_mif.edges.control import ControlError, ask
from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.lab import Lab

STOP_PATIENCE = 10.0


class Controller:
    """`vici-mif run` and the commands that speak to it."""

    def __init__(self, lab: Lab, said: Callable[[str], object], host: Host | None = None) -> None:
        """`host`: another one than the client."""
        self._host, self._said = host or lab.client, said
        self._child: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.file: Path = self._host.directory / "config.yaml"

    def start(self, connection: str) -> None:
        """Run it; `connection` is what stands under `connections:` in its file."""
        self.file.write_text(self._configuration(connection))
        self.run()

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Write its file; JSON is YAML."""
        tree = dict(configuration)
        tree["daemon"] = {**self._directories(), **tree.get("daemon", {})}
        self.file.write_text(json.dumps(tree))

    def run(self) -> None:
        """Start it with the file that is there."""
        self._child = self._host.spawn(
            "controller",
            [*self._host.controller, "run", "-c", str(self.file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _configuration(self, connection: str) -> str:
        own = json.dumps(self._directories())
        return f"version: 1\nconnections:\n  {connection}\ndaemon: {own}\n"

    @property
    def journal(self) -> Path:
        """The directory where it keeps its journal."""
        return self._host.directory / "journal"

    def _directories(self) -> dict[str, str]:
        # /run is the host's own in the lab, /var is not
        state = self._host.directory / "state"
        state.mkdir(exist_ok=True)
        return {"state_dir": str(state), "journal": str(self.journal)}

    def _listen(self) -> None:
        assert self._child is not None
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._said(line.rstrip())

    def command(self, *arguments: str, patience: float = 60) -> subprocess.CompletedProcess[str]:
        """One `vici-mif` command on the client, whatever its exit status."""
        return self._host.exec([*self._host.controller, *arguments], check=False, timeout=patience)

    def wait(self, state: str, patience: float) -> None:
        """Until all peers are in that state, by the controller's own command."""
        self._demand_alive()
        wait = ["status", "--wait", state, "--timeout", f"{patience:g}"]
        done = self.command(*wait, patience=patience + 30)
        if done.returncode:
            raise LabError(
                f"the controller did not reach `{state}` within {patience:g} s "
                f"(exit {done.returncode}):\n{done.stdout}{done.stderr}".rstrip()
            )

    def status(self) -> Status:
        """What `status --json` says."""
        done = self.command("status", "--json")
        try:
            return Status.model_validate_json(done.stdout)
        except ValueError as error:
            raise LabError(f"`status --json` said {done.stdout}{done.stderr}") from error

    def table(self) -> str:
        """What `status` shows to people."""
        return self.command("status").stdout

    def peer(self) -> PeerStatus:
        """The only peer."""
        (peer,) = self.status().peers
        return peer

    def ask_status(self) -> Status | None:
        """By its socket, which is quicker than the command; None while nobody answers there."""
        try:
            answer = ask(self._host.run_directory / "vici-mif", {"ask": "status"})
        except ControlError:
            return None
        return Status.model_validate(answer["status"])

    def kill(self) -> None:
        """As `kill -9` does; nothing where it does not run."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def signal(self, number: int) -> None:
        """SIGSTOP, SIGCONT."""
        self._demand_alive()
        assert self._child is not None
        self._child.send_signal(number)

    def proc(self, name: str) -> str:
        """A file of its directory in /proc: `stat`, `status`."""
        self._demand_alive()
        assert self._child is not None
        return Path(f"/proc/{self._child.pid}/{name}").read_text()

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            raise LabError(f"the controller did not end within {STOP_PATIENCE:g} s") from None

    def _demand_alive(self) -> None:
        if self._child is None or self._child.poll() is not None:
            raise LabError("the controller is not running")


def link_of(tunnel: TunnelStatus) -> str:
    """The link of a tunnel's home path: LINK/REMOTE."""
    if tunnel.home is None:
        raise LabError(f"tunnel {tunnel.name} has no home")
    return tunnel.home.partition("/")[0]
