# SPDX-License-Identifier: Apache-2.0
"""Where strongSwan's source comes from: a named directory, Debian, upstream's release site.

Whatever the way, the release tarball must have the checksum that the series' `base`
records; Debian's own patches are covered by the archive's signature.
"""

import contextlib
import hashlib
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vici_mif.build import apt
from vici_mif.build.cache import Cache, key
from vici_mif.build.errors import BuildError
from vici_mif.build.series import Base

SITES = (
    "https://download.strongswan.org/{tarball}",
    "https://download.strongswan.org/old/{major}.x/{tarball}",
    "https://github.com/strongswan/strongswan/releases/download/{tag}/{tarball}",
)

Way = Callable[[Base], "Source"]


@dataclass(frozen=True)
class Source:
    """A release as it arrived: its tarball and, if it is Debian's, their packaging."""

    label: str
    tarball: Path
    debian: Path | None = None

    @property
    def version(self) -> str:
        """The version of Debian's source package, empty if it is none."""
        return self.debian.name.partition("_")[2].partition(".debian.")[0] if self.debian else ""

    @property
    def digest(self) -> str:
        """Changes with the release and with Debian's patches."""
        return key(checksum(path) for path in (self.tarball, self.debian) if path)


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def in_directory(directory: Path, base: Base, origin: str = "") -> Source:
    """The source in a directory: the release tarball, and Debian's beside it if it is there."""
    names = (base.tarball, base.tarball.replace("-", "_", 1).replace(".tar", ".orig.tar"))
    tarball = next((directory / name for name in names if (directory / name).is_file()), None)
    if tarball is None:
        raise BuildError(f"{directory} has neither {names[0]} nor {names[1]}")
    found = checksum(tarball)
    if found != base.sha256:
        raise BuildError(
            f"{tarball} is not the release: its SHA-256 is {found}, base says {base.sha256}"
        )
    debian = _packaging(directory, base)
    if base.needs_debian and debian is None:
        raise BuildError(
            f"{directory} lacks Debian's patches (strongswan_{base.debian}.debian.tar.xz)"
        )
    bare = Source(f"release tarball {tarball.name}", tarball, debian)
    label = f"Debian source package {bare.version}" if debian else bare.label
    return replace(bare, label=f"{label}{origin}")


def _packaging(directory: Path, base: Base) -> Path | None:
    found = {p.name: p for p in directory.glob(f"strongswan_{base.version}-*.debian.tar.*")}
    exact = next((p for n, p in found.items() if f"_{base.debian}.debian." in n), None)
    return exact or (found[max(found)] if found else None)


class Sources:
    """All ways to the source of a release, in the order they are tried."""

    def __init__(
        self,
        cache: Cache,
        tarballs: Path | None = None,
        refresh: bool = False,
        sites: tuple[str, ...] = SITES,
    ) -> None:
        self._cache = cache
        self._room = cache.room("sources")
        self._tarballs = tarballs
        self._refresh = refresh
        self._sites = sites

    def find(self, base: Base) -> tuple[Source, list[str]]:
        """The first source that can be had, and why the ways before it could not be used."""
        reasons: list[str] = []
        for name, way in self._ways():
            try:
                return way(base), reasons
            except BuildError as error:
                reasons.append(f"{name}: {error}")
        raise BuildError("; ".join(reasons))

    def _ways(self) -> Iterator[tuple[str, Way]]:
        named = self._tarballs
        if named:  # asked for by hand, so it comes before what we would look up ourselves
            yield "named directory", lambda base: in_directory(named, base, f" in {named}")
        if not self._refresh:
            yield "kept", self.kept
        yield "Debian", self.debian
        yield "upstream", self.upstream

    def kept(self, base: Base) -> Source:
        """What an earlier call has downloaded."""
        for directory in sorted(self._room.glob(f"{base.version}*"), reverse=True):
            with contextlib.suppress(BuildError):
                return in_directory(directory, base, ", downloaded before")
        raise BuildError("nothing downloaded before")

    def debian(self, base: Base) -> Source:
        """The newest version of this release in Debian whose files arrive whole."""
        archive = apt.private("deb-src", self._cache.room(f"apt/{base.version}"), base.suites)
        archive.update()
        failed: list[str] = []
        for version in archive.versions("strongswan"):
            if upstream_version(version) != base.version:
                continue
            try:
                source = self._download(archive, version, base)
            except BuildError as error:
                failed.append(f"{version}: {error}")
            else:
                newer = ", ".join(reason.partition(":")[0] for reason in failed)
                note = f" (newer but not to be had: {newer})" if newer else ""
                return replace(source, label=f"{source.label}{note}")
        suites = " ".join(base.suites)
        raise BuildError("; ".join(failed) or f"no source package of {base.version} in {suites}")

    def _download(self, archive: apt.Apt, version: str, base: Base) -> Source:
        with self._arriving(version) as directory:
            archive.source("strongswan", version, directory)
            in_directory(directory, base)
        return in_directory(self._room / version, base)

    def upstream(self, base: Base) -> Source:
        """The release tarball from upstream's sites."""
        if base.needs_debian:
            raise BuildError(f"this series stands on Debian's patches ({base.debian})")
        failed: list[str] = []
        for site in self._sites:
            url = site.format(tarball=base.tarball, tag=base.tag, major=base.version[0])
            try:
                with self._arriving(base.version) as directory:
                    _fetch(url, directory / base.tarball)
                    in_directory(directory, base)
                return in_directory(self._room / base.version, base, f" from {url}")
            except BuildError as error:
                failed.append(str(error))
        raise BuildError("; ".join(failed))

    @contextlib.contextmanager
    def _arriving(self, name: str) -> Iterator[Path]:
        """A directory that takes its place among the sources only when all went well."""
        with tempfile.TemporaryDirectory(dir=self._room, prefix=".arriving-") as work:
            yield Path(work)
            shutil.rmtree(self._room / name, ignore_errors=True)
            shutil.copytree(work, self._room / name)


def upstream_version(version: str) -> str:
    """The upstream part of a Debian version: 1:6.0.1-6+deb13u7 is a 6.0.1."""
    return version.rpartition("-")[0].rpartition(":")[2] or version


def _fetch(url: str, into: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, into.open("wb") as out:  # noqa: S310
            shutil.copyfileobj(answer, out)
    except (urllib.error.URLError, OSError) as error:
        raise BuildError(f"{url}: {getattr(error, 'reason', error)}") from error
