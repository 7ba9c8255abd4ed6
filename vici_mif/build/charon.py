# SPDX-License-Identifier: Apache-2.0
"""Building charon: pick a series whose source can be had, build it once, find it again."""

import os
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vici_mif.build import compile as compiling
from vici_mif.build import series as series_files
from vici_mif.build import tree
from vici_mif.build.cache import Cache, Record, key
from vici_mif.build.compile import PLAIN, Builder, Flavour
from vici_mif.build.errors import BuildError, UnavailableError
from vici_mif.build.progress import Progress
from vici_mif.build.series import Series
from vici_mif.build.sources import Source, Sources


@dataclass(frozen=True)
class Request:
    """What is to be built; two equal requests are answered by one build."""

    patches: Path
    release: str = ""
    stock: bool = False
    tarballs: Path | None = None
    flavour: Flavour = PLAIN


def default_patches() -> Path:
    """strongswan-patches of the source tree we run from, or as it is installed."""
    named = os.environ.get("VICI_MIF_PATCHES", "")
    here = Path(__file__).resolve().parents[2] / "strongswan-patches"
    installed = Path(sysconfig.get_path("data")) / "share" / "vici-mif" / "strongswan-patches"
    return Path(named) if named else next((p for p in (here, installed) if p.is_dir()), here)


class Charon:
    """The builds of one cache."""

    def __init__(self, cache: Cache | None = None, progress: Progress | None = None) -> None:
        self.cache = cache or Cache()
        self.progress = progress or Progress()

    def path(self, request: Request) -> Path:
        """The prefix of a finished build."""
        record = self._chosen(request)
        if record is None:
            flag = " --stock" if request.stock else ""
            raise BuildError(f"charon is not built yet. Run: vici-mif charon build{flag}")
        return self.cache.prefix(record)

    def build(self, request: Request, refresh: bool = False) -> Record:
        """Build unless it is there; refresh looks for newer sources first."""
        record = None if refresh else self._chosen(request)
        if record:
            return record
        compiling.require_tools()
        record = self.compiled(*self.pick(request, refresh), request.flavour)
        # what was built from a named directory answers calls that name none as well
        for asked in (request, replace(request, tarballs=None)):
            self.cache.choose(self._name(asked), record)
        return record

    def clean(self, requests: Iterable[Request]) -> list[str]:
        """Remove every build but those that answer these requests."""
        records = map(self._chosen, requests)
        return self.cache.clean(record.key for record in records if record)

    def builder(self, record: Record) -> Builder:
        """The compiled source tree of a build, for the suites."""
        place = self.cache.build(record.key)
        found = sorted((place / "tree").glob("*/configure.ac"))
        if not found:
            raise BuildError(f"the source tree in {place} is gone. Remove {place} and build again")
        return Builder(found[0].parent, place / "build.log", self.progress)

    def _chosen(self, request: Request) -> Record | None:
        """The build that answered this request before, unless its series has changed."""
        record = self.cache.chosen(self._name(request))
        current = {series.digest for series in self._candidates(request)}
        return record if record and record.series in current else None

    def _name(self, request: Request) -> str:
        newest = self._candidates(request)[0]
        named = str(request.tarballs.resolve()) if request.tarballs else ""
        parts = [request.release, str(request.stock), named, newest.base.sha256, newest.digest]
        return key([*parts, *request.flavour.words])

    def _candidates(self, request: Request) -> list[Series]:
        """The series to try, newest first; stock needs their bases only."""
        every = series_files.read_all(request.patches)
        wanted = [s for s in every if request.release in ("", s.base.version)]
        if not wanted:
            have = ", ".join(s.base.version for s in every)
            raise BuildError(f"no series for strongSwan {request.release}; there are {have}")
        if request.stock:
            return [Series(s.base, ()) for s in wanted]
        if not any(s.patches for s in wanted):
            raise BuildError(f"{request.patches}: the series has no patches; --stock needs none")
        return [s for s in wanted if s.patches]

    def compiled(self, series: Series, source: Source, flavour: Flavour) -> Record:
        """The build of exactly this, made unless it is there."""
        name = key([source.digest, series.digest, *flavour.words])
        with self.cache.lock(f"build-{name}"):
            return self.cache.finished(name) or self._compile(name, series, source, flavour)

    def _compile(self, name: str, series: Series, source: Source, flavour: Flavour) -> Record:
        place = self.cache.begin(name)
        builder = self.prepare(series, source, place)
        builder.configure(flavour, place / "prefix")
        builder.make()
        if flavour.install:
            builder.install()
        record = Record(name, series.base.version, source.label, series.digest)
        self.cache.finish(record)
        return record

    def prepare(self, series: Series, source: Source, place: Path) -> Builder:
        """A tree with the series applied, ready to be configured."""
        self.progress.step(f"unpacking {source.tarball.name}")
        work = tree.unpack(source, place / "tree")
        if series.patches:
            self.progress.step(f"applying {len(series.patches)} patches without fuzz")
            tree.apply_series(series, work)
        return Builder(work, place / "build.log", self.progress)

    def pick(self, request: Request, refresh: bool = False) -> tuple[Series, Source]:
        """The newest series whose source can be had, and say why."""
        sources = Sources(self.cache, request.tarballs, refresh)
        failed: list[str] = []
        for series in self._candidates(request):
            version = series.base.version
            self.progress.step(f"looking for the source of strongSwan {version}")
            try:
                with self.cache.lock("sources"):
                    source, reasons = sources.find(series.base)
            except BuildError as error:
                failed.append(f"{version}: {error}")
                self.progress.step(f"strongSwan {version} cannot be had: {error}")
            else:
                why = f" ({'; '.join(reasons)})" if reasons else ""
                self.progress.step(f"strongSwan {version}: {source.label}{why}")
                return series, source
        raise UnavailableError(
            "no source of strongSwan can be had:\n  " + "\n  ".join(failed) + "\n"
            "Put a release tarball into a directory and name it with --tarballs DIR."
        )
