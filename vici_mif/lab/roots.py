# SPDX-License-Identifier: Apache-2.0
"""A host of the lab whose daemon lives in a root directory of its own: an image without an engine.

A guest has no engine, and its kernel is where daemons work that have no ESP of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vici_mif.lab import facts
from vici_mif.lab.hosts import Host

FOREIGN = Path("/")
"""Stands for the prefix of a strongSwan where there is none: the image says how it starts."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""In an image; the caller's need not fit there."""
# in a mount namespace that `ip netns exec` made; the lab's directory may lie in /run
_VIEW = (
    'set -e; root=$1; lab=$2; mount --rbind "$3" "$root/run"; shift 3; mkdir -p "$root$lab"; '
    'mount --bind "$lab" "$root$lab"; mount --rbind /proc "$root/proc"; '
    'mount --rbind /dev "$root/dev"; mount --rbind /sys "$root/sys"; exec chroot "$root" "$@"'
)


class RootHost(Host):
    """Implements Host; what its image answers (docs/interop.md) runs in that image's files."""

    foreign = True

    def __init__(self, lab: str, name: str, directory: Path, root: Path) -> None:
        super().__init__(lab, name, directory, None)
        self._root = root

    def command(self, argv: Sequence[str]) -> list[str]:
        """`endpoint` in the root directory, everything else as on any host."""
        if argv[0] != "endpoint":
            return super().command(argv)
        places = [str(self._root), str(self._lab_directory), str(self.run_directory)]
        return ["ip", "netns", "exec", self.namespace, "sh", "-c", _VIEW, "sh", *places, *argv]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {"PATH": PATH, "FACTS": str(self.directory / facts.FACTS)}
        return super().environment(extra) | own
