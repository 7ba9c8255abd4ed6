# SPDX-License-Identifier: Apache-2.0
"""What is handed out: the wheel, the source distribution, and a wheelhouse without an index."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from vici_mif import __version__
from vici_mif.build import wheelhouse
from vici_mif.build.errors import BuildError, UnavailableError

pytestmark = pytest.mark.build

ROOT = Path(__file__).parent.parent
CONFIG = "version: 1\nconnections:\n  hq: {links: [eth0]}\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheelhouse for the Python that runs this, with the extra `tui`."""
    into = tmp_path_factory.mktemp("wheelhouse")
    try:
        wheelhouse.fill(into, [f"{sys.version_info.major}.{sys.version_info.minor}"], "tui")
    except UnavailableError as error:
        pytest.skip(f"no package index: {error}")
    return into


@pytest.fixture(scope="module")
def program(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed into a venv of its own, from the directory alone."""
    venv = tmp_path_factory.mktemp("host") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    alone = ["--no-index", "--find-links", str(house), "vici-mif[tui]"]
    pip = [venv / "bin/pip", "--quiet", "--disable-pip-version-check", "install", *alone]
    subprocess.run(pip, check=True, env=nowhere())
    return venv / "bin/vici-mif"


def test_a_host_without_an_index_runs_it(program: Path, tmp_path: Path) -> None:
    """It knows its version, checks a configuration and writes its units."""
    assert output(program, "--version", cwd=tmp_path).split()[-1] == __version__
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    assert "good" in output(program, "check", "-c", str(config), cwd=tmp_path)
    # what is not Python came along
    assert "[Service]" in output(program, "units", cwd=tmp_path)


def test_a_host_without_the_tree_knows_the_series(program: Path, tmp_path: Path) -> None:
    """`vici-mif charon` of the wheel answers as that of the tree, by the digest of the series."""
    tree = [sys.executable, "-m", "vici_mif", "charon", "path", "--release"]
    wheel = [str(program), "charon", "path", "--release"]
    for release in ("6.1.0", "6.0.1"):
        there = answer([*wheel, release], tmp_path)
        assert there == answer([*tree, release], ROOT)
        assert "no series" not in there[1]


def answer(command: list[str], cwd: Path) -> tuple[int, str]:
    """Exit status, and all that is said."""
    done = subprocess.run(
        command, cwd=cwd, env=nowhere(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def output(program: Path, *words: str, cwd: Path) -> str:
    """What a command prints; it has to succeed."""
    done = subprocess.run(
        [program, *words], cwd=cwd, env=nowhere(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nowhere() -> dict[str, str]:
    """An environment without this tree on the path of Python."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_the_wheel_brings_every_series(house: Path) -> None:
    """All files of all releases, with their licence."""
    patches = ROOT / "strongswan-patches"
    with zipfile.ZipFile(next(house.glob("vici_mif-*.whl"))) as packed:
        parts = [
            name.partition("/share/vici-mif/strongswan-patches/") for name in packed.namelist()
        ]
    tree = {str(file.relative_to(patches)) for file in patches.rglob("*") if file.is_file()}

    assert {inside for _, mark, inside in parts if mark} == tree


def test_the_wheel_says_what_it_is(house: Path) -> None:
    """Types are ours to use, extras are named, the licence is inside, nothing of tests."""
    with zipfile.ZipFile(next(house.glob("vici_mif-*.whl"))) as packed:
        names = packed.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        said = Parser().parsestr(packed.read(metadata).decode())
    assert "vici_mif/py.typed" in names
    assert any(name.endswith("/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"vici_mif"}
    assert said["Version"] == __version__
    assert said["Requires-Python"] == ">=3.11"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said["License"] == "Apache-2.0 AND GPL-2.0-or-later"
    assert {"lab", "rig", "tui"} <= set(said.get_all("Provides-Extra", []))
    assert "Typing :: Typed" in said.get_all("Classifier", [])


def test_the_source_distribution_can_build_all(house: Path, tmp_path: Path) -> None:
    """Series, scripts, tests and roles are in it; nothing that was downloaded is."""
    try:
        packed = wheelhouse.sdist(tmp_path)
    except UnavailableError as error:
        pytest.skip(f"no package index: {error}")
    with tarfile.open(packed) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = (
        "LICENSE Makefile pyproject.toml scripts/test tests/test_wheelhouse.py "
        "strongswan-patches/6.1.0/series docs/charon.md ansible/galaxy.yml docker/Dockerfile"
    )
    assert set(expected.split()) <= names
    assert not [name for name in names if name.endswith((".whl", ".pyc", ".tar.bz2"))]


def test_what_no_index_has_is_no_failure_of_ours(tmp_path: Path) -> None:
    """A release of Python for which nothing was published: told, and nothing is half done."""
    with pytest.raises(UnavailableError, match=r"wheels for Python 3\.2"):
        wheelhouse.fill(tmp_path, ["3.2"])


def test_a_suite_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with those that there are."""
    with pytest.raises(SystemExit):
        wheelhouse.main(["potato"])
    assert "no such suite: potato (bookworm, trixie)" in capsys.readouterr().err


def test_a_tree_that_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's own words are shown."""
    monkeypatch.setattr(wheelhouse, "ROOT", tmp_path)
    with pytest.raises(BuildError, match="our wheel"):
        wheelhouse.wheel(tmp_path)
