# SPDX-License-Identifier: Apache-2.0
"""Debian's source package with our series in it, and where packages are built."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests import test_tree
from tests.release import DEBIAN_PATCH, packaging, release
from vici_mif.build import container, deb, debian
from vici_mif.build.cache import Cache
from vici_mif.build.charon import default_patches
from vici_mif.build.cli import UNAVAILABLE
from vici_mif.build.container import Docker, Mmdebstrap
from vici_mif.build.errors import BuildError, UnavailableError
from vici_mif.build.series import Patch, Series
from vici_mif.build.sources import Source, Sources, in_directory
from vici_mif.shell.cli import main

OURS = (
    """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Someone <someone@example.org>
Date: Sat, 21 Nov 2026 01:06:00 +0000
Subject: [PATCH] a: Ours

---
"""
    + test_tree.OURS
)


def source_of(directory: Path, version: str, patch: str = DEBIAN_PATCH) -> tuple[Series, Source]:
    """Debian's source package in a version, and our series for 9.9.9-1."""
    base = release(directory)
    packaging(directory, version, patch)
    return Series(base, (Patch("0001-a-Ours.patch", OURS),)), in_directory(directory, base)


def test_our_patches_come_behind_debians(tmp_path: Path) -> None:
    """In a folder of their own, in Debian's order file, none of them applied."""
    series, source = source_of(tmp_path / "src", "9.9.9-1")
    work, _ = debian.assemble(series, source, "sid", tmp_path / "in")
    order = (work / "debian/patches/series").read_text().split()
    assert order == ["theirs.patch", "vici-mif/0001-a-Ours.patch"]
    assert (work / "debian/patches" / order[1]).read_text() == OURS
    assert "debian" not in (work / "src/a.c").read_text()
    assert (tmp_path / "in/strongswan_9.9.9.orig.tar.bz2").exists()


def test_the_changelog_says_whose_it_is(tmp_path: Path) -> None:
    """A version above Debian's, and the time of the last patch: no clock is asked."""
    series, source = source_of(tmp_path / "src", "9.9.9-1")
    series = replace(series, base=replace(series.base, revision=3))
    work, version = debian.assemble(series, source, "trixie", tmp_path / "in")
    text = (work / "debian/changelog").read_text()
    assert version == "9.9.9-1+mif3"
    assert text.startswith("strongswan (9.9.9-1+mif3) trixie; urgency=medium\n")
    assert "Sat, 21 Nov 2026 01:06:00 +0000\n\nstrongswan (9.9.9-1) sid" in text


@pytest.mark.skipif(not shutil.which("dpkg"), reason="no dpkg: this machine is no Debian")
@pytest.mark.parametrize(
    ("debian_has", "relation"),
    [
        ("6.0.1-6+deb13u7", "gt"),
        ("6.0.1-6+deb13u7+b1", "gt"),  # built again without a change
        ("6.0.1-6+deb13u7+mif2", "lt"),
        ("6.0.1-6+deb13u8", "lt"),
        ("6.0.1-6+deb13u10", "lt"),
        ("6.0.1-7", "lt"),
        ("6.0.2-1~deb13u1", "lt"),
    ],
)
def test_apt_takes_it_for_newer_until_debian_has_an_update(debian_has: str, relation: str) -> None:
    """dpkg's own comparison."""
    words = ["dpkg", "--compare-versions", "6.0.1-6+deb13u7+mif1", relation, debian_has]
    assert subprocess.run(words, check=False).returncode == 0


def test_a_series_that_no_longer_applies_needs_refresh(tmp_path: Path) -> None:
    """Debian has moved: patch, file and hunk are named, and it is no failure of ours."""
    theirs = DEBIAN_PATCH.replace("@@ -5,3 +5,4 @@", "@@ -3,4 +3,4 @@").replace(
        " five\n six\n seven\n+debian\n", " three\n-four\n+4\n five\n six\n"
    )
    series, source = source_of(tmp_path, "9.9.9-2", theirs)
    told = r"needs refresh: Debian has 9\.9\.9-2.* 9\.9\.9-1\. 0001-a-Ours.*src/a\.c: hunk 1"
    with pytest.raises(UnavailableError, match=told):
        debian.applies(series, source)


def test_a_series_that_never_applied_is_an_error(tmp_path: Path) -> None:
    """The version it says it was made for does not take it: nobody moved."""
    series, source = source_of(tmp_path, "9.9.9-1", DEBIAN_PATCH.replace("debian", "theirs"))
    wrong = replace(series.patches[0], text=OURS.replace(" four", " 4"))
    with pytest.raises(BuildError, match="0001-a-Ours") as caught:
        debian.applies(replace(series, patches=(wrong,)), source)
    assert not isinstance(caught.value, UnavailableError)


@pytest.mark.build
@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("dpkg-source"), reason="no dpkg-source: scripts/packages")
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_debians_own_tool_packs_and_unpacks_it(suite: str, tmp_path: Path) -> None:
    """With what each build of packages begins; it refuses fuzz and files nobody owns up to."""
    series = deb.series_for(default_patches(), suite)
    try:
        source, _ = Sources(Cache()).find(series.base)
    except BuildError as error:
        pytest.skip(f"no source of {series.base.version}: {error}")
    work, version = debian.assemble(series, source, suite, tmp_path / "in")

    for words in (["--build", work.name], ["--extract", f"strongswan_{version}.dsc", "out"]):
        done = subprocess.run(
            ["dpkg-source", *words], cwd=work.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    applied = (tmp_path / "in/out/.pc/applied-patches").read_text().split()
    ours = [f"vici-mif/{patch.name}" for patch in series.patches]
    assert applied[-len(ours) :] == ours
    assert len(applied) > len(ours)


@pytest.mark.parametrize(("suite", "version"), [("bookworm", "5.9.8"), ("trixie", "6.0.1")])
def test_each_suite_has_its_series(suite: str, version: str) -> None:
    """By the suites in `base`."""
    assert deb.series_for(default_patches(), suite).base.version == version


def test_a_suite_without_a_series_is_told_the_others() -> None:
    """Debian 11 has an older strongSwan."""
    with pytest.raises(BuildError, match=r"no series for bullseye; .* bookworm, trixie"):
        deb.series_for(default_patches(), "bullseye")


def test_why_there_is_nowhere_to_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each place says what it lacks."""
    monkeypatch.setenv("PATH", str(tmp_path))
    told = "no docker command; mmdebstrap: no mmdebstrap command"
    with pytest.raises(BuildError, match=told):
        container.find("trixie", (Docker(), Mmdebstrap()))


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
def test_an_engine_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command is there, nothing listens."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert Docker().missing("trixie").startswith("no engine: ")


def test_nowhere_to_build_is_no_failure_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither is a source that cannot be had; nothing is delivered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "empty").mkdir()
    words = ["--tarballs", str(tmp_path / "empty"), "--output", str(tmp_path / "out")]
    assert main(["charon", "deb", "--suite", "trixie", *words]) == UNAVAILABLE
    assert "Debian cannot be asked" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_was_delivered_before_goes(tmp_path: Path) -> None:
    """Two versions side by side would leave apt the choice; other files stay."""
    home, into = tmp_path / "home", tmp_path / "out"
    for directory, names in (
        (home, ["strongswan_2.dsc", "charon-systemd_2_amd64.deb", "Packages"]),
        (into, ["strongswan_1.dsc", "charon-systemd_1_amd64.deb", "Packages", "notes"]),
    ):
        directory.mkdir()
        for name in names:
            (directory / name).write_text(directory.name)
    deb.deliver(deb.Packages(home, "2"), into)
    assert sorted(path.name for path in into.iterdir()) == sorted(
        ["Packages", "charon-systemd_2_amd64.deb", "notes", "strongswan_2.dsc"]
    )
