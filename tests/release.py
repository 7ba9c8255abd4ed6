# SPDX-License-Identifier: Apache-2.0
"""A small release with Debian packaging, made for tests of sources and trees."""

import io
import tarfile
from pathlib import Path

from vici_mif.build.series import Base
from vici_mif.build.sources import checksum

TARBALL = "strongswan-9.9.9.tar.bz2"
FILES = {"configure.ac": "AC_INIT\n", "src/a.c": "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"}
DEBIAN_PATCH = """\
From: Someone
Subject: theirs

--- a/src/a.c
+++ b/src/a.c
@@ -5,3 +5,4 @@
 five
 six
 seven
+debian
"""


def pack(path: Path, top: str, files: dict[str, str]) -> None:
    """A compressed tar archive of texts."""
    mode = "w:bz2" if path.name.endswith("bz2") else "w:xz"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


def release(directory: Path, name: str = TARBALL) -> Base:
    """A release tarball in a directory, and the base that describes it."""
    directory.mkdir(parents=True, exist_ok=True)
    pack(directory / name, "strongswan-9.9.9", FILES)
    return Base("9.9.9", "9.9.9", TARBALL, checksum(directory / name), "9.9.9-1", ("sid",))


def packaging(directory: Path, version: str, patch: str = DEBIAN_PATCH) -> None:
    """Debian's half of a source package."""
    files = {
        "patches/series": "theirs.patch\n",
        "patches/theirs.patch": patch,
        "changelog": f"strongswan ({version}) sid; urgency=medium\n\n  * Theirs.\n",
    }
    pack(directory / f"strongswan_{version}.debian.tar.xz", "debian", files)
