# SPDX-License-Identifier: Apache-2.0
"""A real systemd-networkd on a lab's client, with its defaults: a rule it does not know has to go.

It looks at rules when it takes over a link (`link_drop_unmanaged_config` of networkd-link.c).
Where udev tells of links that is after it has read the rules; without udev a link has to come
then. So each start is followed by a link that is its own, and none of the tunnels'.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.namespace import eventually
from vici_mif.lab.lab import Lab

DAEMON = Path("/lib/systemd/systemd-networkd")
LINK = "mgmt0"
BEGIN = f"""
set -e
# it takes links without udev where /sys cannot be written
mount -o remount,ro /sys
mkdir -p /run/systemd/network
printf "[Match]\\nName={LINK}\\n[Network]\\nAddress=10.99.0.1/24\\n" \\
    > /run/systemd/network/1.network
exec {DAEMON}
"""


class Networkd:
    """What `systemctl restart systemd-networkd` restarts."""

    def __init__(self, lab: Lab) -> None:
        self._host = lab.client
        self._log = lab.client.directory / "networkd.log"
        self._child: subprocess.Popen[bytes] | None = None

    def restart(self) -> None:
        """Until it has taken its link over."""
        self.stop()
        with self._log.open("wb") as log:
            self._child = self._host.spawn("networkd", ["sh", "-c", BEGIN], stdout=log, stderr=log)
        eventually(lambda: self._says("Enumeration completed"), 20)
        self._host.exec(["ip", "link", "add", LINK, "type", "veth", "peer", "name", f"{LINK}-peer"])
        eventually(lambda: self._says(f"{LINK}: Link UP"), 20)

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
            self._child = None
            self._host.exec(["ip", "link", "del", LINK], check=False)

    def _says(self, words: str) -> bool:
        said = self._log.read_text(errors="replace")
        assert self._child is not None
        assert self._child.poll() is None, said
        return words in said


@contextmanager
def networkd(lab: Lab) -> Iterator[Networkd]:
    """Not started yet."""
    if not DAEMON.exists():
        pytest.skip("needs systemd-networkd on this machine: package systemd")
    made = Networkd(lab)
    try:
        yield made
    finally:
        made.stop()
