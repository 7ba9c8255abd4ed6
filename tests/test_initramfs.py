# SPDX-License-Identifier: Apache-2.0
"""The guest's first root file system."""

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from vici_mif.build import initramfs


@pytest.fixture
def modules(tmp_path: Path) -> initramfs.Modules:
    """A kernel with three modules: c needs b, b needs a, d is built in."""
    (tmp_path / "modules.dep").write_text(
        "kernel/a.ko:\nkernel/b-x.ko.xz: kernel/a.ko\nkernel/c.ko: kernel/b-x.ko.xz kernel/a.ko\n"
    )
    (tmp_path / "kernel").mkdir()
    for name in ("a", "c"):
        (tmp_path / f"kernel/{name}.ko").write_bytes(name.encode())
    (tmp_path / "kernel/b-x.ko.xz").write_bytes(lzma.compress(b"b"))
    return initramfs.Modules(tmp_path)


def test_modules_after_what_they_need(modules: initramfs.Modules) -> None:
    """Each once; a module that is built in is left out."""
    expected = ["kernel/a.ko", "kernel/b-x.ko.xz", "kernel/c.ko"]
    assert modules.in_order(["c", "d", "b_x"]) == expected


def test_modules_are_unpacked(modules: initramfs.Modules) -> None:
    """insmod takes no compression."""
    assert modules.code("kernel/b-x.ko.xz") == b"b"


CPIO = ["cpio"] if shutil.which("cpio") else ["busybox", "cpio"]


@pytest.mark.skipif(not shutil.which(CPIO[0]), reason="neither cpio nor busybox is installed")
def test_the_archive_is_one_for_cpio(tmp_path: Path, modules: initramfs.Modules) -> None:
    """Names, contents, links and modes, as another program reads them."""
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"\x7fELF-odd")
    data = initramfs.build(busybox, modules, ["c"], {"init": "#!/bin/sh\n"})
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run([*CPIO, "-idm"], input=data, cwd=out, check=True)
    assert (out / "bin/busybox").read_bytes() == b"\x7fELF-odd"
    assert (out / "bin/mount").readlink() == Path("busybox")
    assert (out / "init").stat().st_mode & 0o777 == 0o755
    assert sorted(p.name for p in (out / "modules").iterdir()) == [
        "00-a.ko",
        "01-b_x.ko",
        "02-c.ko",
    ]
