# SPDX-License-Identifier: Apache-2.0
"""Hosts for Ansible: containers with systemd, and links between them with names of ours."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.namespace import eventually
from tests.pings import counted

IMAGE = Path(__file__).parent / "image"
SYSCTLS = {
    # what the roles write is read-only in a container
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "2",
}
ON_THE_WAY = 1.0
"""Seconds that an answer may take: what was sent that shortly before the end is not judged."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BOOTED = {"running", "degraded"}
UNREACHED = ("Failed to fetch", "Temporary failure resolving", "Failed to update apt cache")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str


class Host:
    """One container."""

    def __init__(self, engine: Any, name: str, image: str, network: str = "none") -> None:
        """`network`: of the engine, where packages have to be fetched."""
        self.name = name
        self._container = engine.containers.run(
            image,
            name=name,
            hostname=name,
            detach=True,
            network_mode=network,
            cap_add=["NET_ADMIN"],
            devices=["/dev/net/tun"],
            sysctls=SYSCTLS,
            tmpfs={"/run": "", "/run/lock": ""},
            volumes=_cgroups(),
        )
        self._container.reload()
        self.pid: int = self._container.attrs["State"]["Pid"]

    def boot(self) -> None:
        """Until systemd has started everything."""
        eventually(lambda: self.run("systemctl", "is-system-running").out.strip() in BOOTED, 60)

    def run(self, *argv: str, check: bool = False) -> Said:
        """One command as root."""
        code, out = self._container.exec_run(list(argv))
        said = Said(code, out.decode(errors="replace"))
        assert not check or code == 0, f"{self.name}: {' '.join(argv)}: {said.out}"
        return said

    def begin(self, *argv: str) -> Iterator[bytes]:
        """One command that runs on; its output as it comes."""
        stream: Iterator[bytes] = self._container.exec_run(list(argv), stream=True).output
        return stream

    def bring(self, directory: str, files: Iterable[Path]) -> None:
        """Copies of files, in a directory that is made."""
        self.run("mkdir", "-p", directory, check=True)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for file in files:
                tar.add(file.resolve(), arcname=file.name)
        assert self._container.put_archive(directory, packed.getvalue())

    def read(self, path: str) -> str:
        return self.run("cat", path, check=True).out

    def logs(self) -> str:
        """What its units said last."""
        return self.run("journalctl", "--no-pager", "-n", "80").out

    def remove(self) -> None:
        self._container.remove(force=True)


def _cgroups() -> dict[str, dict[str, str]]:
    """systemd finds its cgroups where the engine's host has them (version 1)."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return {}
    return {"/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "ro"}}


def link(ends: Sequence[tuple[Host, str, str]]) -> None:
    """A veth pair between two hosts: (host, name of the interface, address with prefix)."""
    (one, one_name, _), (two, two_name, _) = ends
    argv = ["ip", "link", "add", "name", one_name, "netns", str(one.pid), "type", "veth"]
    argv += ["peer", "name", two_name, "netns", str(two.pid)]
    subprocess.run(argv, check=True, capture_output=True)
    for host, name, address in ends:
        host.run("ip", "address", "add", address, "dev", name, check=True)
        host.run("ip", "link", "set", name, "up", check=True)


def unreached(text: str) -> str:
    """The line by which apt says that Debian's archive does not answer; empty if none does."""
    lines = (COLOUR.sub("", line).strip() for line in text.splitlines())
    return next((line for line in lines if any(word in line for word in UNREACHED)), "")


@contextmanager
def pings(host: Host, target: str, interval: float = 0.05) -> Iterator[dict[str, int]]:
    """Echo requests while the block runs; `sent` and `received` stand there afterwards."""
    answers: dict[str, int] = {}
    said = "/run/pings"  # a stream that nobody reads would hold it up
    output = host.begin("sh", "-c", f"exec ping -n -i {interval} -W 2 {target} >{said}")
    eventually(lambda: host.run("pgrep", "-x", "ping").code == 0, 15)
    try:
        yield answers
    finally:
        time.sleep(ON_THE_WAY)
        host.run("pkill", "-INT", "-x", "ping")
        list(output)  # until it has ended
        last = round(ON_THE_WAY / interval)
        answers["sent"], answers["received"] = counted(host.read(said), last)
