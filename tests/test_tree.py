# SPDX-License-Identifier: Apache-2.0
"""Unpacking a release and applying patches without fuzz."""

from pathlib import Path

import pytest

from tests.release import TARBALL, packaging, release
from vici_mif.build import tree
from vici_mif.build.errors import BuildError
from vici_mif.build.series import Patch
from vici_mif.build.sources import Source, in_directory

OURS = """\
--- a/src/a.c
+++ b/src/a.c
@@ -1,6 +1,7 @@
 one
 two
 three
+ours
 four
 five
 six
"""


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A Debian source package, unpacked."""
    base = release(tmp_path / "src")
    packaging(tmp_path / "src", "9.9.9-1")
    return tree.unpack(in_directory(tmp_path / "src", base), tmp_path / "tree")


def test_debians_patches_are_applied(unpacked: Path) -> None:
    """Before ours."""
    assert (unpacked / "src/a.c").read_text().endswith("seven\ndebian\n")


def test_an_offset_is_taken(unpacked: Path) -> None:
    """Lines may have moved, as long as each line of context is there."""
    source = unpacked / "src/a.c"
    source.write_text("zero\n" + source.read_text())
    tree.apply(Patch("0001-x.patch", OURS), unpacked)
    assert source.read_text().startswith("zero\none\ntwo\nthree\nours\n")


def test_fuzz_is_not(unpacked: Path) -> None:
    """One line of context that differs: patch, file and hunk are named."""
    source = unpacked / "src/a.c"
    source.write_text(source.read_text().replace("four", "4"))
    with pytest.raises(BuildError, match=r"0001-x.*src/a\.c: hunk 1 at line 1.*needs a refresh"):
        tree.apply(Patch("0001-x.patch", OURS), unpacked)


def test_a_patch_that_is_in_already_is_an_error(unpacked: Path) -> None:
    """Never taken for a patch to reverse."""
    tree.apply(Patch("0001-x.patch", OURS), unpacked)
    with pytest.raises(BuildError, match="0001-x"):
        tree.apply(Patch("0001-x.patch", OURS), unpacked)


def test_a_file_that_is_gone_is_named(unpacked: Path) -> None:
    """can't find file to patch."""
    with pytest.raises(BuildError, match="find file"):
        tree.apply(Patch("0001-x.patch", OURS.replace("src/a.c", "src/b.c")), unpacked)


def test_half_an_archive(tmp_path: Path) -> None:
    """A download that broke off."""
    release(tmp_path)
    whole = (tmp_path / TARBALL).read_bytes()
    (tmp_path / TARBALL).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BuildError, match="cannot be unpacked"):
        tree.unpack(Source("x", tmp_path / TARBALL), tmp_path / "tree")
