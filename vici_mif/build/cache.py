# SPDX-License-Identifier: Apache-2.0
"""The cache: downloaded sources, finished builds, and which build answered which request."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vici_mif.build.errors import BuildError


def home() -> Path:
    """$XDG_CACHE_HOME/vici-mif, else ~/.cache/vici-mif."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root.startswith("/") else Path.home() / ".cache") / "vici-mif"


def key(parts: Iterable[str]) -> str:
    """A short name for everything that a build depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """What a finished build says about itself."""

    key: str
    release: str
    source: str
    series: str
    why: str = ""


class Cache:
    """Directories by key; a record is written last, so half a build is never taken for one."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or home()
        self.builds = self.root / "charon"

    def room(self, name: str) -> Path:
        """A directory of the cache, made when it is missing."""
        path = self.root / name
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BuildError(
                f"the cache {path} cannot be made: {error.strerror}. "
                "Set XDG_CACHE_HOME to a directory you may write."
            ) from error
        return path

    def build(self, name: str) -> Path:
        """Where a build lives: prefix, tree, log."""
        return self.builds / name

    def prefix(self, record: Record) -> Path:
        """Where the programs of a finished build are installed."""
        return self.build(record.key) / "prefix"

    def finished(self, name: str) -> Record | None:
        """The record of a build, if it is whole."""
        return self._load(self.build(name) / "build.json")

    def finish(self, record: Record) -> None:
        """Mark a build as whole."""
        self._store(self.build(record.key) / "build.json", record)

    def begin(self, name: str) -> Path:
        """An empty place for a build; what an interrupted one left is removed."""
        path = self.build(name)
        shutil.rmtree(path, ignore_errors=True)
        return self.room(f"charon/{name}")

    def chosen(self, request: str) -> Record | None:
        """The whole build that answered this request before."""
        record = self._load(self.builds / "chosen" / f"{request}.json")
        return record if record and self.finished(record.key) else None

    def choose(self, request: str, record: Record) -> None:
        """Remember the answer to a request."""
        self.room("charon/chosen")
        self._store(self.builds / "chosen" / f"{request}.json", record)

    def clean(self, keep: Iterable[str]) -> list[str]:
        """Remove all whole builds but these; returns what was removed."""
        names = sorted({path.parent.name for path in self.builds.glob("*/build.json")} - set(keep))
        for name in names:
            shutil.rmtree(self.build(name))
        return names

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One at a time; the kernel gives the lock back when a process dies."""
        with (self.room("locks") / name).open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another vici-mif that holds {handle.name}", file=sys.stderr)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @staticmethod
    def _load(path: Path) -> Record | None:
        try:
            return Record(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    @staticmethod
    def _store(path: Path, record: Record) -> None:
        fresh = path.with_suffix(f".{os.getpid()}")  # two may finish at the same moment
        fresh.write_text(json.dumps(asdict(record), indent=1) + "\n")
        fresh.replace(path)
