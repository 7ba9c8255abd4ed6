# SPDX-License-Identifier: Apache-2.0
"""Debian packages that are newer than others, and otherwise the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.ansible.plays import COLLECTION


def newer(debs: Path, into: Path, names: list[str], suffix: str = ".1") -> Path:
    """The packages of these names with a later version."""
    into.mkdir()
    for name in names:
        deb = next(debs.glob(f"{name}_*.deb"))
        version = deb.name.split("_")[1]
        _repack(deb, version, version + suffix, into)
    return into


def _repack(deb: Path, version: str, later: str, into: Path) -> None:
    tree = into / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    # their own version, and that of each other where they depend on it
    control.write_text(control.read_text().replace(version, later))
    made = into / deb.name.replace(version, later)
    subprocess.run(
        ["dpkg-deb", "-Znone", "--build", "--root-owner-group", str(tree), str(made)],
        check=True,
        capture_output=True,
    )
    subprocess.run(["rm", "-r", str(tree)], check=True)


def wanted() -> list[str]:
    """What the roles install."""
    found: list[str] = yaml.safe_load((COLLECTION / "roles/base/defaults/main.yml").read_text())[
        "base_charon_packages"
    ]
    return found
