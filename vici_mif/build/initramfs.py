# SPDX-License-Identifier: Apache-2.0
"""The first root file system of the guest: busybox, a few modules, two scripts.

The kernel unpacks a cpio archive in the `newc` format, which is simple enough to be
written here: a header of thirteen hexadecimal fields, the name, the data.
"""

import lzma
import stat
from dataclasses import dataclass
from pathlib import Path

from vici_mif.build.errors import BuildError

APPLETS = ("sh", "mount", "umount", "mkdir", "insmod", "cat", "echo", "sleep", "switch_root")


@dataclass(frozen=True)
class Entry:
    """One member of the archive."""

    name: str
    mode: int
    data: bytes = b""


def directory(name: str) -> Entry:
    """A directory."""
    return Entry(name, stat.S_IFDIR | 0o755)


def program(name: str, data: bytes) -> Entry:
    """An executable file."""
    return Entry(name, stat.S_IFREG | 0o755, data)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def archive(entries: list[Entry]) -> bytes:
    """The cpio archive of these entries."""
    parts = [_member(number, entry) for number, entry in enumerate(entries, 1)]
    return b"".join([*parts, _member(0, Entry("TRAILER!!!", 0))])


def _member(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    #         ino    mode        uid gid links mtime size
    fields = [inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0]
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


class Modules:
    """The modules of one kernel: what depends on what, and their code."""

    def __init__(self, root: Path) -> None:
        self._root = root
        lines = (root / "modules.dep").read_text().splitlines()
        pairs = (line.partition(":") for line in lines)
        self._needs = {path: rest.split() for path, _, rest in pairs}
        self._paths = {_name(path): path for path in self._needs}

    def in_order(self, wanted: list[str]) -> list[str]:
        """Paths in the order to load them; what is built into the kernel is left out."""
        order: dict[str, None] = {}
        for name in wanted:
            path = self._paths.get(name)
            # modules.dep lists the nearest need first
            for each in (*reversed(self._needs[path]), path) if path else ():
                order[each] = None
        return list(order)

    def code(self, path: str) -> bytes:
        """A module as insmod takes it."""
        data = (self._root / path).read_bytes()
        if path.endswith(".ko"):
            return data
        if path.endswith(".ko.xz"):
            return lzma.decompress(data)
        raise BuildError(f"{self._root / path}: a compression that is not known here")


def _name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")


def build(busybox: Path, modules: Modules, wanted: list[str], scripts: dict[str, str]) -> bytes:
    """The archive: busybox and its applets, the modules as /modules/NN-NAME, the scripts."""
    entries = [directory(name) for name in ("bin", "dev", "proc", "modules", "lower", "upper")]
    entries += [directory("root"), program("bin/busybox", busybox.read_bytes())]
    entries += [link(f"bin/{applet}", "busybox") for applet in APPLETS]
    for place, path in enumerate(modules.in_order(wanted)):
        entries.append(program(f"modules/{place:02}-{_name(path)}.ko", modules.code(path)))
    entries += [program(name, text.encode()) for name, text in scripts.items()]
    return archive(entries)
