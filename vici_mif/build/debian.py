# SPDX-License-Identifier: Apache-2.0
"""Debian's source package with our series behind its own patches, and a changelog entry."""

import re
import shutil
import tempfile
from pathlib import Path

from vici_mif.build import tree
from vici_mif.build.errors import BuildError, UnavailableError
from vici_mif.build.series import Series
from vici_mif.build.sources import Source

FOLDER = "vici-mif"
TOP = re.compile(r"^(\S+) \((\S+)\)")
DATE = re.compile(r"^Date: (.+)$", re.MULTILINE)
# deb-changelog(5)
ENTRY = """\
{name} ({version}) {suite}; urgency=medium

  * Add the series of vici-mif for strongSwan {release}: cloned IKE SAs (RFC 7791)
    and moves on request (RFC 4555). Nothing changes until it is configured.

 -- vici-mif <vici-mif@localhost>  {date}

"""


def applies(series: Series, source: Source) -> None:
    """Try the series on the source; BuildError names patch and hunk.

    UnavailableError when it is Debian that has moved since the series was refreshed.
    """
    with tempfile.TemporaryDirectory() as work:
        unpacked = tree.unpack(source, Path(work))
        try:
            tree.apply_series(series, unpacked)
        except BuildError as error:
            if source.version == series.base.debian:
                raise
            raise UnavailableError(
                f"needs refresh: Debian has {source.version}, the series for "
                f"{series.base.version} was made for {series.base.debian}. {error}"
            ) from error


def assemble(series: Series, source: Source, suite: str, into: Path) -> tuple[Path, str]:
    """The tree to build packages from, beside its tarball; and the version they will have."""
    work = tree.lay_out(source, into)
    shutil.copy(source.tarball, into / f"strongswan_{series.base.version}.orig.tar.bz2")
    _add_patches(series, work / "debian" / "patches")
    return work, _add_entry(series, suite, work / "debian" / "changelog")


def _add_patches(series: Series, patches: Path) -> None:
    (patches / FOLDER).mkdir()
    for patch in series.patches:
        file = patches / FOLDER / patch.name
        file.write_text(patch.text, encoding="utf-8", errors="surrogateescape")
    with (patches / "series").open("a") as order:
        order.writelines(f"{FOLDER}/{patch.name}\n" for patch in series.patches)


def _add_entry(series: Series, suite: str, changelog: Path) -> str:
    text = changelog.read_text(encoding="utf-8")
    top = TOP.match(text)
    if top is None:
        raise BuildError(f"{changelog}: does not begin with a package and its version")
    version = f"{top[2]}+mif{series.base.revision}"
    # the time of the last patch, not of this build: the same input gives the same packages
    dates = DATE.findall(series.patches[-1].header)
    entry = ENTRY.format(
        name=top[1], version=version, suite=suite, release=series.base.version, date=dates[0]
    )
    changelog.write_text(entry + text, encoding="utf-8")
    return version
