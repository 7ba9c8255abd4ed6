# SPDX-License-Identifier: Apache-2.0
"""The commands of README.md's sections on packages and on the rig, as they stand there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import readme
from tests.docker.conftest import ROOT, Needs, compose, has_image
from vici_mif.build.charon import default_patches
from vici_mif.build.deb import series_for
from vici_mif.build.wheelhouse import PYTHONS


def composed(lines: list[str]) -> list[str]:
    """They name the command that is here."""
    here = " ".join(compose())
    return [line.replace("docker compose", here) for line in lines]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    name = f"rig-readme-{os.getpid()}"
    # what runs this test is installed: make need not do it again
    stamp = tmp_path / "installed"
    stamp.touch()
    flags = f"VENV={sys.prefix} STAMP={stamp}"
    return {**os.environ, "COMPOSE_PROJECT_NAME": name, "MAKEFLAGS": f"-- {flags}"}


@pytest.fixture
def alone(environment: dict[str, str]) -> Iterator[None]:
    """Whatever happens, nothing of the rig is left."""
    yield
    (tidy,) = composed(["docker compose down -v -t 2"])
    command = ["bash", "-c", tidy]
    subprocess.run(command, cwd=ROOT / "docker", env=environment, capture_output=True, check=False)


def typed(
    lines: list[str], environment: dict[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """In one shell, in the tree; all of them have to succeed, or to say what out there is gone."""
    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -ex", *lines])],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if "skipped: " in done.stderr:
        words = ("vici-mif: ", "skipped: ")
        said = [line for line in done.stderr.splitlines() if any(word in line for word in words)]
        pytest.skip("; ".join(said[-2:]))
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.timeout(3600)
def test_the_rig_does_what_stands_there(
    needs_images: Needs, environment: dict[str, str], alone: None
) -> None:
    """All of them succeed; the tunnel of the uplink that went is answered over the other."""
    needs_images("ours-6.1.0")
    lines = readme.commands("Container rig")
    assert lines[0] == "make images"
    done = typed(composed(lines), environment, 600)

    assert "peer hq  up" in done.stdout
    assert "peer hq  degraded" in done.stdout
    # typed at once after the uplink went: what was sent while the tunnel moved may be lost
    assert "icmp_seq=3 ttl=" in done.stdout


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_packages_and_wheels_are_made(engine: None, environment: dict[str, str]) -> None:
    """Below dist/: packages of each suite with every patch of its series, wheels for its Python."""
    for suite in PYTHONS:
        has_image(suite)
    typed(readme.commands("On Debian's strongSwan"), environment, 7000)

    for suite, python in PYTHONS.items():
        wanted = {f"debian/patches/vici-mif/{name}" for name in patches(suite)}
        assert packed(ROOT / "dist" / suite) == wanted
        tag = f"cp{python.replace('.', '')}"
        assert list((ROOT / "dist/wheelhouse").glob(f"pydantic_core-*-{tag}-*.whl"))
    assert list((ROOT / "dist/wheelhouse").glob("vici_mif-*.whl"))
    assert list((ROOT / "dist").glob("vici_mif-*.tar.gz"))


def patches(suite: str) -> list[str]:
    """Names of the series that stands on what this suite has."""
    return [patch.name for patch in series_for(default_patches(), suite).patches]


def packed(directory: Path) -> set[str]:
    """The patches of ours in the source package that the packages were built from."""
    with tarfile.open(next(directory.glob("strongswan_*+mif*.debian.tar.xz"))) as source:
        return {name for name in source.getnames() if "/vici-mif/" in name}
