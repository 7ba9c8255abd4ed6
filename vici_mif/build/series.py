# SPDX-License-Identifier: Apache-2.0
"""A patch series: its order, the release it stands on, and its patches. Parsing is pure."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from vici_mif.build.deb822 import stanzas
from vici_mif.build.errors import BuildError

DIFF_START = re.compile(r"^(?:diff --git |--- \S)", re.MULTILINE)
SUBJECT = re.compile(r"^Subject: (?:\[PATCH[^]]*\] )?(.*(?:\n .*)*)", re.MULTILINE)
TRAILER = re.compile(r"^([A-Z][A-Za-z-]*): (.+)$")
TARGET = re.compile(r"^\+\+\+ b/(\S+)", re.MULTILINE)
FIELDS = ("version", "tag", "tarball", "sha256", "debian", "suites")


@dataclass(frozen=True)
class Base:
    """What a series stands on; the file `base` beside it.

    debian is the source package it was refreshed against. needs_debian says that
    it stands on Debian's own patches too and does not apply to the bare release.
    revision counts what was handed out as Debian packages of the same source.
    """

    version: str
    tag: str
    tarball: str
    sha256: str
    debian: str
    suites: tuple[str, ...]
    needs_debian: bool = False
    revision: int = 1


@dataclass(frozen=True)
class Patch:
    """One file of the series: a commit as git format-patch writes it."""

    name: str
    text: str

    @property
    def header(self) -> str:
        """Everything above the diff."""
        found = DIFF_START.search(self.text)
        return self.text[: found.start()] if found else self.text

    @property
    def subject(self) -> str:
        """The subject line, unfolded, without [PATCH]."""
        found = SUBJECT.search(self.header)
        return found[1].replace("\n", "") if found else ""

    @property
    def trailers(self) -> dict[str, str]:
        """The fields of the last paragraph of the message, if it is one of fields only."""
        message = self.header.partition("\n---\n")[0].rstrip()
        matches = [TRAILER.match(line) for line in message.split("\n\n")[-1].splitlines()]
        return {m[1]: m[2] for m in matches if m} if all(matches) else {}

    @property
    def files(self) -> list[str]:
        """The files it writes."""
        return TARGET.findall(self.text)


@dataclass(frozen=True)
class Series:
    """Patches in order, on a base."""

    base: Base
    patches: tuple[Patch, ...]

    @property
    def digest(self) -> str:
        """Changes with every byte of every diff, not with a message; empty without patches."""
        if not self.patches:
            return ""
        digest = hashlib.sha256()
        for patch in self.patches:
            diff = patch.text[len(patch.header) :].encode(errors="surrogateescape")
            digest.update(b"%d\n%s" % (len(diff), diff))
        return digest.hexdigest()


def parse_base(text: str, where: str = "base") -> Base:
    """The file `base`; a field that is missing is named."""
    fields = (stanzas(text) or [{}])[0]
    missing = [name for name in FIELDS if not fields.get(name)]
    if missing:
        raise BuildError(f"{where}: no field {', '.join(missing)}")
    if not fields.get("revision", "1").isdigit():
        raise BuildError(f"{where}: Revision is not a number")
    if not re.fullmatch(r"[0-9a-f]{64}", fields["sha256"]):
        raise BuildError(f"{where}: SHA256 is not a checksum of 64 hexadecimal digits")
    return Base(
        **{name: fields[name] for name in FIELDS if name != "suites"},
        suites=tuple(fields["suites"].split()),
        needs_debian=fields.get("needs-debian", "no") == "yes",
        revision=int(fields.get("revision", "1")),
    )


def parse_order(text: str) -> list[str]:
    """The names in a quilt series file."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [words[0] for words in lines if words]


def read(directory: Path) -> Series:
    """The series in a directory; without a file `series` it has no patches yet."""
    base = parse_base(_text(directory / "base"), str(directory / "base"))
    order = directory / "series"
    names = parse_order(_text(order)) if order.exists() else []
    return Series(base, tuple(Patch(name, _text(directory / name)) for name in names))


def read_all(directory: Path) -> list[Series]:
    """Every series below a directory, newest release first."""
    found = [read(base.parent) for base in directory.glob("*/base")]
    if not found:
        raise BuildError(
            f"{directory}: no series of patches here. "
            "Name the directory that holds 6.1.0/base with --patches."
        )
    return sorted(found, key=lambda series: number(series.base.version), reverse=True)


def number(version: str) -> tuple[int, ...]:
    """A release's version as numbers, to compare: 6.0.10 is newer than 6.0.9."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise BuildError(f"{path}: {error.strerror}") from error
