# SPDX-License-Identifier: Apache-2.0
"""Debian packages of the patched strongSwan, built in a fresh system of their suite."""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vici_mif.build import container, debian
from vici_mif.build import series as series_files
from vici_mif.build.cache import Cache, key
from vici_mif.build.container import Docker, Job, Mmdebstrap, Place
from vici_mif.build.errors import BuildError, UnavailableError
from vici_mif.build.progress import Progress
from vici_mif.build.series import Series
from vici_mif.build.sources import Source, Sources

COMPILED = re.compile(r"(?:libtool: compile: +)?\S*gcc .* -c ")
STEP = "== "
# Packages is an index, so that the directory is an archive for apt: charon-systemd and
# strongswan-charon exclude each other, and who installs names what he wants.
SCRIPT = """\
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 DEB_BUILD_OPTIONS="{options}"
echo "== installing what the build needs"
apt-get -qq update
apt-get -qq --yes --no-install-recommends install build-essential
apt-get -qq --yes --no-install-recommends build-dep ./{tree}
echo "== building packages"
cd {tree}
nice -n {nice} dpkg-buildpackage -us -uc
cd ..
mkdir out
mv *.deb *.dsc *.tar.* *.changes *.buildinfo out
cd out
dpkg-scanpackages --multiversion . > Packages
"""


@dataclass(frozen=True)
class Order:
    """Which packages are wanted; `check` runs strongSwan's own tests in the build."""

    suite: str
    patches: Path
    tarballs: Path | None = None
    check: bool = False


@dataclass(frozen=True)
class Packages:
    """A directory with the packages of one version, their source, and an index for apt."""

    directory: Path
    version: str

    @property
    def names(self) -> list[str]:
        """The binary packages."""
        return sorted(path.name.partition("_")[0] for path in self.directory.glob("*.deb"))


def series_for(patches: Path, suite: str) -> Series:
    """The series that stands on what this suite has."""
    every = series_files.read_all(patches)
    found = [s for s in every if suite in s.base.suites and s.base.needs_debian and s.patches]
    if not found:
        have = sorted({s.base.suites[-1] for s in every if s.base.needs_debian})
        raise BuildError(f"no series for {suite}; there are some for {', '.join(have)}")
    return found[0]


class Watch:
    """Tells the operator how far a script is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._files = 0
        self.building = False

    def line(self, text: str) -> None:
        """One line of what the script prints."""
        if text.startswith(STEP):
            self._progress.step(text.removeprefix(STEP).strip())
            self.building = "building" in text
        elif COMPILED.match(text):
            self._files += 1
            self._progress.count(f"{self._files} files compiled")


class Debs:
    """The packages of one cache."""

    def __init__(
        self,
        cache: Cache | None = None,
        progress: Progress | None = None,
        places: tuple[Place, ...] = (),
    ) -> None:
        self._cache = cache or Cache()
        self._progress = progress or Progress()
        self._places = places or (Docker(), Mmdebstrap())

    def build(self, order: Order) -> Packages:
        """Packages for the newest source that Debian has, built unless they are there.

        UnavailableError when Debian has moved on, or there is nowhere to build.
        """
        series = series_for(order.patches, order.suite)
        source = self._source(series, order.tarballs)
        name = key(
            [source.digest, series.digest, str(series.base.revision), order.suite, str(order.check)]
        )
        with self._cache.lock(f"deb-{name}"):
            home = self._cache.room("deb") / name
            if not home.is_dir():
                debian.applies(series, source)
                self._build(order, series, source, home)
        return Packages(home, _version(home))

    def _source(self, series: Series, tarballs: Path | None) -> Source:
        self._progress.step(f"looking for the source of strongSwan {series.base.version}")
        with self._cache.lock("sources"):
            try:  # what was downloaded before may be older than what Debian has by now
                source, _ = Sources(self._cache, tarballs, refresh=True).find(series.base)
            except BuildError as error:
                self._progress.step(f"Debian cannot be asked: {error}")
                try:
                    source = Sources(self._cache).kept(series.base)
                except BuildError:
                    raise UnavailableError(str(error)) from error
        self._progress.step(source.label)
        return source

    def _build(self, order: Order, series: Series, source: Source, home: Path) -> None:
        try:
            place = container.find(order.suite, self._places)
        except BuildError as error:
            raise UnavailableError(str(error)) from error
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".building-") as room:
            work, version = debian.assemble(series, source, order.suite, Path(room) / "in")
            self._progress.step(f"strongswan {version} for {order.suite}, with {place.name}")
            out = Path(room) / "out"
            out.mkdir()
            log = home.with_suffix(".log")
            log.unlink(missing_ok=True)
            script = SCRIPT.format(tree=work.name, nice=os.nice(0), options=_options(order.check))
            watch = Watch(self._progress)
            try:
                place.run(Job(order.suite, script, work.parent, log, watch.line), out)
            except BuildError as error:
                # without mirrors and packages of theirs nothing of ours was tried
                raise error if watch.building else UnavailableError(str(error)) from error
            out.rename(home)


def _options(check: bool) -> str:
    return f"parallel={os.cpu_count() or 1} noautodbgsym{'' if check else ' nocheck'}"


def _version(home: Path) -> str:
    description = next(home.glob("*.dsc")).name
    return description.partition("_")[2].removesuffix(".dsc")


def deliver(packages: Packages, into: Path) -> None:
    """Copy them to a directory of the caller's, in place of what was delivered before."""
    into.mkdir(parents=True, exist_ok=True)
    for old in [*into.glob("*strongswan*"), *into.glob("*charon*"), into / "Packages"]:
        old.unlink(missing_ok=True)
    for path in packages.directory.iterdir():
        shutil.copy(path, into)
