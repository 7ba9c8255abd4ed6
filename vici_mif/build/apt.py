# SPDX-License-Identifier: Apache-2.0
"""Debian's source packages through apt, beside the system's lists and never in them.

apt itself checks the archive's signature and each file's checksum. Mirrors, proxies
and credentials are those of the machine; lists and cache are ours, so a normal user
can do it as well as root.
"""

import os
import subprocess
from collections.abc import Iterable
from functools import cmp_to_key
from pathlib import Path

from vici_mif.build import mirrors
from vici_mif.build.deb822 import stanzas
from vici_mif.build.errors import BuildError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Hooks of the system's update (docker-clean, command-not-found) write where a normal
# user may not, and are no business of private lists. The sandbox user _apt cannot
# enter a home directory; with it apt warns and then does without.
CONFIGURATION = """\
Dir::Etc::sourcelist "{room}/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "{room}/lists";
Dir::Cache "{room}/cache";
APT::Sandbox::User "root";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::IndexTargets::deb-src::Contents-dsc::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def system_mirrors() -> mirrors.Mirrors:
    """The Debian mirrors of this machine's apt configuration."""
    entries: list[mirrors.Entry] = []
    for path in _configured():
        parse = mirrors.parse_sources if path.suffix == ".sources" else mirrors.parse_list
        entries += parse(_text(str(path)))
    return mirrors.derive(entries, _text)


def _configured() -> list[Path]:
    asked = ["LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"]
    named = dict(
        line.partition("=")[::2] for line in _run(["apt-config", "shell", *asked]).splitlines()
    )
    parts = Path(named.get("PARTS", "").strip("'") or "/etc/apt/sources.list.d")
    single = Path(named.get("LIST", "").strip("'") or "/etc/apt/sources.list")
    return [single, *sorted(p for p in parts.glob("*") if p.suffix in (".list", ".sources"))]


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class Apt:
    """One private apt: its own lists in a room of the cache."""

    def __init__(self, room: Path, source_list: str) -> None:
        self._room = room
        for name in ("lists/partial", "cache/archives/partial"):
            (room / name).mkdir(parents=True, exist_ok=True)
        (room / "sources.list").write_text(source_list)
        (room / "apt.conf").write_text(CONFIGURATION.format(room=room))

    def update(self) -> None:
        """Fetch the lists; a suite that does not answer is left out by apt."""
        self._apt("apt-get", "-qq", "update")

    def versions(self, package: str) -> list[str]:
        """The versions of a source package in all lists, newest first."""
        text = self._apt("apt-cache", "showsrc", "--only-source", package)
        found = {stanza["version"] for stanza in stanzas(text) if "version" in stanza}
        return sorted(found, key=cmp_to_key(_compare), reverse=True)

    def source(self, package: str, version: str, into: Path) -> None:
        """Download a source package; apt checks it, and fails unless it arrives whole."""
        command = ["apt-get", "-qq", "source", "--download-only", "--only-source"]
        self._apt(*command, f"{package}={version}", cwd=into)

    def binary(self, package: str, into: Path) -> None:
        """Download a binary package without installing it."""
        self._apt("apt-get", "-qq", "download", package, cwd=into)

    def depends(self, package: str) -> list[str]:
        """The names a package depends on directly."""
        text = self._apt("apt-cache", "depends", "--no-recommends", "--no-suggests", package)
        lines = (line.strip() for line in text.splitlines())
        return [line.removeprefix("Depends: ") for line in lines if line.startswith("Depends: ")]

    def _apt(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        return _run([tool, "-c", str(self._room / "apt.conf"), *arguments], cwd)


def private(kind: str, room: Path, suites: Iterable[str]) -> Apt:
    """A private apt for the packages (`deb`) or source packages (`deb-src`) of these suites."""
    keyring = str(KEYRING) if KEYRING.exists() else ""
    text = mirrors.lines(kind, system_mirrors(), suites, keyring)
    if not text:
        raise BuildError("no Debian archive over HTTP(S) in this machine's apt configuration")
    return Apt(room, text)


def _compare(left: str, right: str) -> int:
    if left == right:
        return 0
    command = ["dpkg", "--compare-versions", left, "lt", right]
    return -1 if subprocess.run(command, check=False).returncode == 0 else 1


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise BuildError(f"no {command[0]}: this machine is no Debian") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise BuildError(f"{command[0]}: {' '.join(lines) or done.stderr.strip() or 'failed'}")
    return done.stdout
