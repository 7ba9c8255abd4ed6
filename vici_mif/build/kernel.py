# SPDX-License-Identifier: Apache-2.0
"""Debian's cloud kernel in the cache: downloaded by name through apt, unpacked, not installed."""

import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vici_mif.build import apt
from vici_mif.build.cache import Cache
from vici_mif.build.errors import BuildError, UnavailableError

# The package that depends on the newest cloud kernel of the release. It has ESP, XFRM
# interfaces, netem, VRF; the smaller set of drivers boots faster than the generic one.
META = "linux-image-cloud-amd64"


@dataclass(frozen=True)
class Kernel:
    """A kernel image and its modules."""

    image: Path
    modules: Path

    @property
    def version(self) -> str:
        """As uname -r prints it."""
        return self.modules.name


def find(cache: Cache, refresh: bool = False) -> Kernel:
    """The kernel in the cache; the newest of this Debian release if there is none."""
    if platform.machine() != "x86_64":
        raise BuildError(f"the guest runs on x86_64 only, this machine is {platform.machine()}")
    with cache.lock("kernel"):
        room = cache.room("kernel")
        kept = sorted(path for path in room.iterdir() if not path.name.startswith("."))
        if refresh or not kept:
            kept = [_fetch(room, cache.room("apt/kernel"))]
        return _kernel(kept[-1])


def _fetch(room: Path, apt_room: Path) -> Path:
    release = _release()
    with tempfile.TemporaryDirectory(dir=room, prefix=".arriving-") as work:
        name, package = _download(release, apt_room, Path(work))
        subprocess.run(["dpkg-deb", "-x", package, f"{work}/tree"], check=True)
        version = _kernel(Path(work) / "tree").version
        subprocess.run(["depmod", "-b", _base(Path(work) / "tree"), version], check=True)
        target = room / name
        shutil.rmtree(target, ignore_errors=True)
        (Path(work) / "tree").rename(target)
    return target


def _download(release: str, apt_room: Path, into: Path) -> tuple[str, Path]:
    try:
        archive = apt.private("deb", apt_room, [release, f"{release}-security"])
        archive.update()
        names = [name for name in archive.depends(META) if name.startswith("linux-image-")]
        archive.binary(names[0], into)
        return names[0], next(into.glob("*.deb"))
    except (BuildError, IndexError, StopIteration) as error:
        raise UnavailableError(f"no {META} of Debian {release} can be had: {error}") from error


def _release() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    fields = dict(line.partition("=")[::2] for line in lines)
    if fields.get("ID") != "debian" or not fields.get("VERSION_CODENAME"):
        raise BuildError(
            "the guest's kernel comes from Debian's packages; this is no Debian release"
        )
    return fields["VERSION_CODENAME"].strip('"')


def _base(tree: Path) -> Path:
    """Newer packages have their modules in /usr/lib."""
    return tree if (tree / "lib" / "modules").is_dir() else tree / "usr"


def _kernel(tree: Path) -> Kernel:
    images = sorted((tree / "boot").glob("vmlinuz-*"))
    modules = sorted((_base(tree) / "lib" / "modules").glob("*"))
    if not images or not modules:
        raise BuildError(f"{tree} holds no kernel; remove it to fetch it again")
    return Kernel(images[-1], modules[-1])
