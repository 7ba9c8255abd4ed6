# SPDX-License-Identifier: Apache-2.0
"""journal.jsonl and the older files beside it: whole lines, or none."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path

from vici_mif.edges.files import FileError

NAME = "journal.jsonl"
LONGEST = 50_000_000
"""Characters of a line; that of a large planner's state has a hundredth of it."""
MOST_BYTES = 10_000_000
FILES = 10
"""With the one that is written."""


class JournalFile:
    """Opened by the first line; after an error the next line tries again."""

    def __init__(self, directory: Path, most_bytes: int = MOST_BYTES, files: int = FILES) -> None:
        self._path = directory / NAME
        self._most = most_bytes
        self._older = files - 1
        self._file: int | None = None
        self._lock: int | None = None
        self._size = 0

    @property
    def full(self) -> bool:
        """The next line where one may begin to read belongs into a new file."""
        return self._size >= self._most

    def append(self, text: str) -> None:
        """One line with its end. Raises FileError; then nothing of it is left."""
        data = text.encode()
        try:
            if self._file is None:
                self._open()
            assert self._file is not None
            _write(self._file, data)
        except OSError as error:
            self._cut()
            raise FileError(f"{self._path}: {error.strerror or error}") from error
        self._size += len(data)

    def rotate(self) -> None:
        """journal.jsonl becomes journal.jsonl.1, that one .2, and the oldest goes."""
        self._close_file()
        try:
            RotatingFileHandler(self._path, backupCount=self._older, delay=True).doRollover()
        except OSError as error:
            raise FileError(f"{self._path}: {error.strerror or error}") from error
        self._size = 0

    def close(self) -> None:
        self._close_file()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open(self) -> None:
        """Who was killed may have left half a line: ours begins on its own."""
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = _locked(self._path.parent)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._file).st_size
        if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
            _write(self._file, b"\n")
            self._size += 1

    def _cut(self) -> None:
        """A disk that got full in the middle of a line."""
        if self._file is None:
            return
        with suppress(OSError):  # the half line is ended when it is opened again
            os.ftruncate(self._file, self._size)
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _locked(directory: Path) -> int:
    """One controller for one directory: rotation renames what another would still write."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise OSError(error.errno, "another controller writes here: set daemon.journal") from None
    return file


# --- reading --------------------------------------------------------------------------


def files_of(path: Path) -> list[Path]:
    """A file, or all of a directory's journal, oldest first. Raises FileError."""
    if not path.is_dir():
        return [path]
    found = [(int(x.suffix[1:]), x) for x in path.glob(f"{NAME}.*") if x.suffix[1:].isdecimal()]
    older = [file for _, file in sorted(found, reverse=True)]
    newest = [path / NAME] if (path / NAME).exists() else []
    if not older and not newest:
        raise FileError(f"{path}: no {NAME} there")
    return [*older, *newest]


def read(file: Path) -> Iterator[tuple[int, str]]:
    """Line by line with its number, without those that are empty. Raises FileError."""
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            for number, line in enumerate(iter(partial(text.readline, LONGEST), ""), 1):
                if len(line) == LONGEST:
                    raise FileError(f"{file}:{number}: no journal has lines this long")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise FileError(f"{file}: {error.strerror or error}") from error
