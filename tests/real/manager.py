# SPDX-License-Identifier: Apache-2.0
"""A real systemd on a lab's client: process 1 of a process namespace, with only our units.

/etc and /var are overlays whose changes go with it, and the machine's own units stay out of sight:
what is enabled goes into an empty /etc/systemd/system.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.namespace import eventually
from vici_mif.lab.lab import Lab
from vici_mif.shell import units

ROOT = Path(__file__).parent.parent.parent
SYSTEMD = next(
    (p for p in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd") if Path(p).exists()), ""
)
CGROUPS = Path("/sys/fs/cgroup")
TARGETS = ("sysinit", "basic", "shutdown", "network-pre", "multi-user")
READERS = 4242
"""The group vici-mif."""
LOST = "-sys_boot,-sys_time,-sys_module,-sys_rawio"
"""Capabilities that a process 1 has no use for here, and a machine might suffer from."""

# waits until it was put into a control group of its own
BEGIN = """
read go
exec unshare --cgroup --pid --mount --uts --ipc --fork --mount-proc --kill-child sh -c "$1" sh "$2"
"""
INIT = f"""
set -e
mount --make-rprivate /
mkdir -p /run/over && mount -t tmpfs tmpfs /run/over
for each in etc var; do
    mkdir /run/over/$each /run/over/$each-work
    mount -t overlay overlay \
        -o lowerdir=/$each,upperdir=/run/over/$each,workdir=/run/over/$each-work /$each
done
mount -t tmpfs tmpfs /tmp
mkdir -p /etc/systemd/system && mount -t tmpfs tmpfs /etc/systemd/system
mount -t tmpfs tmpfs /sys/fs/cgroup
if [ "$1" = cgroup2 ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
fi
mkdir -p /etc/vici-mif && cp /run/config.yaml /etc/vici-mif/config.yaml
echo "vici-mif:x:{READERS}:" >> /etc/group
export container=other SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units
export SYSTEMD_LOG_TARGET=console
exec setpriv --bounding-set={LOST} {SYSTEMD} --system --unit=multi-user.target --show-status=no
"""


@dataclass
class Manager:
    """`systemctl` for a client of the lab."""

    lab: Lab
    pid: int

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """One command as the host's root has it."""
        into = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "--"]
        return subprocess.run([*into, *argv], capture_output=True, text=True, check=False)

    def systemctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", "--no-pager", "--no-ask-password", *words)

    def shown(self, name: str, unit: str = "vici-mif.service") -> str:
        """One property of a unit."""
        return self.systemctl("show", "--value", "--property", name, unit).stdout.strip()

    def write(self, path: str, text: str) -> None:
        """A file, as that systemd sees files."""
        self.run("sh", "-c", f"printf %s {shlex.quote(text)} > {path}")

    def configure(self, text: str) -> None:
        self.write("/etc/vici-mif/config.yaml", text)

    def main_pid(self) -> int:
        """Of the controller, as the machine counts."""
        return _outside(self.pid, self.shown("MainPID"))

    def said(self) -> str:
        log = self.lab.client.directory / "controller.log"
        return log.read_text(errors="replace")[-6000:] if log.exists() else ""


def _outside(manager: int, inside: str) -> int:
    """The process that has this number in the manager's namespace."""
    namespace = Path(f"/proc/{manager}/ns/pid").stat().st_ino
    for found in Path("/proc").glob("[0-9]*"):
        try:
            if (found / "ns/pid").stat().st_ino != namespace:
                continue
            status = (found / "status").read_text()
        except OSError:
            continue
        if re.search(rf"^NSpid:.*\s{inside}$", status, re.MULTILINE):
            return int(found.name)
    raise AssertionError(f"no process {inside} below {manager}")


@contextmanager
def manager(lab: Lab, connection: str, *, watchdog: str = "30") -> Iterator[Manager]:
    """systemd with our units, none of them started, and a configuration with this connection."""
    if not SYSTEMD or shutil.which("setpriv") is None:
        pytest.skip("needs systemd and setpriv on this machine: packages systemd, util-linux")
    kind, group = _control_group()
    _write_files(lab, connection, watchdog)
    child = lab.client.spawn(
        "systemd",
        ["sh", "-c", BEGIN, "sh", INIT, kind],
        stdin=subprocess.PIPE,
        stdout=(lab.client.directory / "systemd.log").open("ab"),
        stderr=subprocess.STDOUT,
    )
    try:
        (group / "cgroup.procs").write_text(str(child.pid))
        child.stdin.write(b"go\n")
        child.stdin.close()
        yield _up(lab, child)
    finally:
        child.kill()  # unshare takes process 1 with it, and that all the others
        child.wait()
        eventually(lambda: _removed(group))


def _up(lab: Lab, child: subprocess.Popen[bytes]) -> Manager:
    found: list[Manager] = []
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")

    def runs() -> object:
        said = (lab.client.directory / "systemd.log").read_text(errors="replace")
        assert child.poll() is None, said
        inside = [int(pid) for pid in children.read_text().split() if _elsewhere(int(pid))]
        found[:] = [Manager(lab, pid) for pid in inside]
        return found and found[0].systemctl("is-active", "multi-user.target").returncode == 0

    eventually(runs, within=30)
    return found[0]


def _elsewhere(pid: int) -> bool:
    """In another process namespace than we: no `mount` of the shell that comes before unshare."""
    try:
        return Path(f"/proc/{pid}/ns/pid").stat().st_ino != Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return False


def _control_group() -> tuple[str, Path]:
    """A group of our own in the hierarchy that systemd uses, and of which kind that is."""
    two = (CGROUPS / "cgroup.controllers").exists()
    above = CGROUPS if two else CGROUPS / "systemd"
    if not (above / "cgroup.procs").exists():
        pytest.skip(f"no control groups for a systemd under {above}")
    group = above / f"vici-mif-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    return ("cgroup2" if two else "cgroup"), group


def _removed(group: Path) -> bool:
    for folder in sorted(group.rglob("*/"), reverse=True):
        try:
            folder.rmdir()
        except OSError:
            return False
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def _write_files(lab: Lab, connection: str, watchdog: str) -> None:
    """Our units as `vici-mif units` writes them, and what is the test's own in a drop-in."""
    run = lab.client.run_directory
    (run / "config.yaml").write_text(configuration(connection))
    folder = run / "units"
    folder.mkdir()
    for target in TARGETS:
        (folder / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    log = lab.client.directory / "controller.log"
    for name, text in units.files(f"{sys.executable} -m vici_mif"):
        (folder / name).write_text(text)
        dropin = folder / f"{name}.d"
        dropin.mkdir()
        (dropin / "test.conf").write_text(
            "[Service]\n"
            f"Environment=PYTHONPATH={ROOT}\nStandardError=append:{log}\n"
            # this checkout may be in somebody's home
            f"ProtectHome=tmpfs\nBindReadOnlyPaths={ROOT} {sys.prefix} {sys.base_prefix}\n"
            f"{f'WatchdogSec={watchdog}' if name == 'vici-mif.service' else ''}\n"
        )


def configuration(connection: str) -> str:
    return f"version: 1\nconnections:\n  {connection}\n"
