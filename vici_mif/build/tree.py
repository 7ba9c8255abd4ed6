# SPDX-License-Identifier: Apache-2.0
"""A source tree: the release unpacked, Debian's patches and ours applied without fuzz."""

import re
import subprocess
import tarfile
from pathlib import Path

from vici_mif.build.errors import BuildError
from vici_mif.build.series import Patch, Series, parse_order
from vici_mif.build.sources import Source

FAILED = re.compile(r"^Hunk #(\d+) FAILED at (\d+)")
PATCHING = re.compile(r"^(?:checking|patching) file '?([^']+?)'?(?: \(.*\))?$")


def lay_out(source: Source, into: Path) -> Path:
    """The tree of a source, with Debian's packaging but none of its patches applied."""
    into.mkdir(parents=True, exist_ok=True)
    _extract(source.tarball, into)
    tops = [path for path in into.iterdir() if (path / "configure.ac").exists()]
    if len(tops) != 1:
        raise BuildError(f"{source.tarball}: not a release of strongSwan, it has no configure.ac")
    if source.debian:
        _extract(source.debian, tops[0])
    return tops[0]


def unpack(source: Source, into: Path) -> Path:
    """The tree of a source, with Debian's patches if it is Debian's."""
    tree = lay_out(source, into)
    if source.debian:
        patches = tree / "debian" / "patches"
        for name in parse_order((patches / "series").read_text()):
            text = (patches / name).read_text(encoding="utf-8", errors="surrogateescape")
            apply(Patch(f"debian/patches/{name}", text), tree)
    return tree


def apply_series(series: Series, tree: Path) -> None:
    """All our patches, in order."""
    for patch in series.patches:
        apply(patch, tree)


def apply(patch: Patch, tree: Path, reverse: bool = False) -> None:
    """One patch, as dpkg-source would: offsets are taken, fuzz is not."""
    way = "--reverse" if reverse else "--forward"
    command = ["patch", "-p1", "--fuzz=0", way, "--batch", "--no-backup-if-mismatch"]
    done = subprocess.run(
        [*command, "--remove-empty-files", "--reject-file=-"],
        cwd=tree,
        input=patch.text.encode("utf-8", errors="surrogateescape"),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        output = (done.stdout + done.stderr).decode("utf-8", errors="replace")
        raise BuildError(
            f"{patch.name} does not apply to {tree.name}: {failures(output)}. "
            "The patch needs a refresh against this source."
        )


def failures(output: str) -> str:
    """Which hunks of which files patch(1) refused, from what it printed."""
    found: list[str] = []
    file = "?"
    for line in output.splitlines():
        if named := PATCHING.match(line):
            file = named[1]
        elif hunk := FAILED.match(line):
            found.append(f"{file}: hunk {hunk[1]} at line {hunk[2]}")
        elif line.startswith(("can't find file", "patch: ****", "The next patch would")):
            found.append(line)
    return "; ".join(found) or output.strip()


def _extract(archive: Path, into: Path) -> None:
    try:
        with tarfile.open(archive) as handle:
            # Owners are ours, and nothing lands outside. Debian 12's first Python 3.11
            # does not know the filter, later ones do.
            handle.extraction_filter = getattr(tarfile, "data_filter", None)
            handle.extractall(into)  # noqa: S202
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BuildError(f"{archive} cannot be unpacked: {error}") from error
