# SPDX-License-Identifier: Apache-2.0
"""A host of the lab: a network namespace with a /run and a strongSwan configuration of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vici_mif.lab import namespaces
from vici_mif.lab.errors import LabError
from vici_mif.lab.installation import Installation
from vici_mif.lab.processes import Process, started
from vici_mif.lab.state import StateFile
from vici_mif.lab.topology import namespace

# `ip netns exec` has given us a mount namespace whose changes stay in it. The host's own /run
# covers the machine's, and the lab's directory is put back where it was, if it lies in there.
_VIEW = (
    "set -e; "
    'if [ -n "$2" ]; then mount --bind "$1" "$2"; fi; '
    'mount --rbind "$3" /run; shift 3; exec "$@"'
)


class Host:
    """One host of a lab, and what can be run on it."""

    foreign = False
    """Whether its IKE daemon is no charon, so that nothing here speaks VICI."""
    controller: Sequence[str] = (sys.executable, "-m", "vici_mif")
    """The command line of `vici-mif` on this host."""

    def __init__(self, lab: str, name: str, directory: Path, prefix: Path | None) -> None:
        self.name = name
        self.namespace = namespace(lab, name)
        self.directory = directory / name
        self.prefix = prefix
        self._lab_directory = directory
        self._state = StateFile(directory)
        self._children: list[subprocess.Popen[Any]] = []

    @property
    def run_directory(self) -> Path:
        """What the host sees as /run."""
        return self.directory / "run"

    @property
    def strongswan_conf(self) -> Path:
        return self.directory / "strongswan.conf"

    @property
    def swanctl_dir(self) -> Path:
        return self.directory / "swanctl"

    @property
    def log(self) -> Path:
        return self.directory / "charon.log"

    @property
    def vici_socket(self) -> Path:
        """charon's socket as it is reached from outside the host."""
        return self.run_directory / "charon.vici"

    @property
    def installation(self) -> Installation:
        """Its strongSwan. Raises LabError."""
        if self.prefix is None:
            raise LabError(f"{self.name} has no charon")
        return Installation(self.prefix)

    def create(self) -> None:
        """Its directories and its network namespace. Raises LabError."""
        self.make_directories()
        namespaces.create(self.namespace)

    def replace(self, prefix: Path, image: str = "") -> None:
        """Another strongSwan from now on, while nothing of the one before runs. Raises LabError."""
        if image:
            raise LabError(f"{self.name} is no container: {image} cannot take its place")
        self.prefix = prefix

    def make_directories(self) -> None:
        self.run_directory.mkdir(parents=True, exist_ok=True)
        if self.prefix:
            (self.swanctl_dir / "conf.d").mkdir(parents=True, exist_ok=True)
        inside = self._lab_inside()
        if inside:
            inside.mkdir(parents=True, exist_ok=True)

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` on this host; it replaces itself, its pid stays."""
        view = [str(self._lab_directory), str(self._lab_inside() or ""), str(self.run_directory)]
        return ["ip", "netns", "exec", self.namespace, "sh", "-c", _VIEW, "sh", *view, *argv]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        env = dict(os.environ)
        if self.prefix:
            own = f"{self.prefix}/sbin:{self.prefix}/bin"
            env["PATH"] = f"{own}:{env.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
        env["STRONGSWAN_CONF"] = str(self.strongswan_conf)
        env["SWANCTL_DIR"] = str(self.swanctl_dir)
        return env | dict(extra or {})

    def exec(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float | None = 60,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host and wait for it."""
        done = subprocess.run(
            self.command(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment(env),
            check=False,
        )
        if check and done.returncode:
            raise LabError(
                f"`{' '.join(argv)}` on {self.name} ended with {done.returncode}: "
                f"{(done.stderr or done.stdout).strip()}"
            )
        return done

    def spawn(self, role: str, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """Start a command on the host; `lab down` ends it if nobody does before."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen["env"] = self.environment(popen.get("env"))
        child = subprocess.Popen(self.command(argv), start_new_session=True, **popen)
        self._children.append(child)
        self.record(started(role, child.pid))
        return child

    def reap(self) -> None:
        """Collect our own children that were ended as processes of the lab."""
        for child in self._children:
            child.wait()
        self._children.clear()

    def record(self, process: Process) -> None:
        """Remember a process for `lab down`."""
        with self._state.change() as state:
            state.processes = [p for p in state.processes if p.alive()] + [process]

    def _lab_inside(self) -> Path | None:
        """Where the lab's directory has to be put back below the host's /run."""
        try:
            return self.run_directory / self._lab_directory.relative_to("/run")
        except ValueError:
            return None
