# SPDX-License-Identifier: Apache-2.0
"""A host of the lab whose charon and controller live in a container.

The container has no network of the engine's. Its namespace gets the name that a plain host's
has, so links, captures and streams are made by the lab as ever: their names and their order are
ours. Only what is tested runs inside; the tools of the lab are the machine's.
"""

from __future__ import annotations

import functools
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException
from docker.models.containers import Container

from vici_mif.lab import facts, namespaces
from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.installation import Installation
from vici_mif.lab.processes import Process, started, tell
from vici_mif.lab.roots import FOREIGN

PATIENCE = 30.0
TUN = "/dev/net/tun"
_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    # engines switch IPv6 off where a container has no network of theirs
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
}
_FORWARDED = ("STRONGSWAN_CONF", "SWANCTL_DIR", "FACTS")
# the shell becomes the program, so its number is the program's
_TOLD = 'echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"'


class ContainerHost(Host):
    """Implements Host with a container of an image that answers `endpoint` (docs/interop.md)."""

    controller = ("vici-mif",)

    def __init__(
        self, lab: str, name: str, directory: Path, prefix: Path | None, image: str
    ) -> None:
        super().__init__(lab, name, directory, prefix)
        self.image = image
        self.foreign = prefix == FOREIGN
        self._keys = directory / "keys" / name

    @property
    def installation(self) -> Installation:
        assert self.prefix is not None
        return Installation(self.prefix, Path(f"/proc/{self._pid}/root"))

    def create(self) -> None:
        self.make_directories()
        self._keys.mkdir(parents=True, exist_ok=True)
        self._start(network_mode="none", hostname=self.name, sysctls=_SYSCTLS)
        namespaces.attach(self.namespace, self._pid)

    def replace(self, prefix: Path, image: str = "") -> None:
        """One of another image beside it, in its network; the first goes on holding the links."""
        before = self.container
        self.prefix, self.image = prefix, image
        for found in ("_container", "_pid"):
            vars(self).pop(found, None)
        # its name and its settings are those of the network that it joins
        self._start(network_mode=f"container:{before}")

    @property
    def container(self) -> str:
        """What the engine calls it."""
        return f"{self.namespace}-{re.sub(r'[^a-zA-Z0-9_.-]', '-', self.image)}"

    def _start(self, **network: Any) -> None:
        try:
            self._run(network)
        except DockerException as error:
            raise LabError(f"no container for {self.name} of {self.image}: {error}") from error

    def _run(self, network: Mapping[str, Any]) -> None:
        places = {self.run_directory: "/run", self.directory: "", self._keys: ""}
        docker.from_env().containers.run(
            self.image,
            ["hold"],
            name=self.container,
            cap_add=["NET_ADMIN"],
            devices=[TUN],
            volumes=[f"{place}:{inside or place}" for place, inside in places.items()],
            # ends at once when the lab ends what runs in its namespaces, and is gone then
            init=True,
            auto_remove=True,
            detach=True,
            **network,
        )

    @functools.cached_property
    def _container(self) -> Container:
        return docker.from_env().containers.get(self.container)

    @functools.cached_property
    def _pid(self) -> int:
        """Of its first process, as the machine sees it."""
        return int(self._container.attrs["State"]["Pid"])

    def command(self, argv: Sequence[str]) -> list[str]:
        """Inside what is tested, outside in the same network the rest."""
        if not self._inside(argv):
            return super().command(argv)
        environment = self.environment()
        given = [f"--env={key}={environment[key]}" for key in _FORWARDED]
        return ["docker", "exec", "--interactive", *given, self.container, *argv]

    def _inside(self, argv: Sequence[str]) -> bool:
        programs = ("swanctl", *self.controller, "sh", "endpoint")
        return argv[0] in programs or argv[0].endswith("/charon")

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        env = super().environment(extra) | {"FACTS": str(self.directory / facts.FACTS)}
        # the prefix is one of the container's; what runs outside has nothing to look for there
        env["PATH"] = env["PATH"].removeprefix(f"{self.prefix}/sbin:{self.prefix}/bin:")
        return env

    def spawn(self, role: str, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        if not self._inside(argv):
            return super().spawn(role, argv, **popen)
        told = self.directory / f"{role}.pid"
        told.unlink(missing_ok=True)
        popen.setdefault("stdin", subprocess.DEVNULL)
        child = _Inside(self.command(["sh", "-c", _TOLD, str(told), *argv]), **popen)
        child.process = self._found(role, told, child)
        self._children.append(child)
        self.record(child.process)
        return child

    def _found(self, role: str, told: Path, child: subprocess.Popen[Any]) -> Process:
        """The process that has this number in the container, as the machine sees it."""
        deadline = time.monotonic() + PATIENCE
        while not told.exists():
            if child.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"{role} did not start in {self.container}")
            time.sleep(0.01)
        number = told.read_text().strip()
        spaces = Path(f"/proc/{self._pid}/ns/pid").stat().st_ino
        for status in Path("/proc").glob("[0-9]*/status"):
            if _number_inside(status) == number and _pid_space(status.parent) == spaces:
                return started(role, int(status.parent.name))
        # it has ended already: whoever waits for it will see that
        return Process(role, 0, 0)


class _Inside(subprocess.Popen[Any]):
    """The client of a process in a container: signals go to the process itself."""

    process = Process("", 0, 0)

    def send_signal(self, sig: int) -> None:
        tell(self.process, sig)


def _number_inside(status: Path) -> str | None:
    try:
        lines = status.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((line.split()[-1] for line in lines if line.startswith("NSpid:")), None)


def _pid_space(process: Path) -> int | None:
    try:
        return (process / "ns" / "pid").stat().st_ino
    except (FileNotFoundError, ProcessLookupError):
        return None
