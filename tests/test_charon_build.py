# SPDX-License-Identifier: Apache-2.0
"""charon, really built from the source of strongSwan."""

import io
import subprocess
import time
from pathlib import Path

import pytest

from tests.release import pack
from vici_mif.build import compile as compiling
from vici_mif.build.__main__ import main
from vici_mif.build.cache import Cache
from vici_mif.build.charon import Charon, Request, default_patches
from vici_mif.build.errors import BuildError, UnavailableError
from vici_mif.build.progress import Progress
from vici_mif.build.sources import checksum

pytestmark = [pytest.mark.build, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def prefix() -> Path:
    """The stock build in the cache, made if it is not there."""
    charon = Charon()
    try:
        record = charon.build(Request(default_patches(), stock=True))
    except UnavailableError as error:
        pytest.skip(str(error))
    return charon.cache.prefix(record)


def test_it_has_the_programs(prefix: Path) -> None:
    """charon says which release it is."""
    charon = prefix / "libexec/ipsec/charon"
    text = subprocess.run([charon, "--version"], capture_output=True, text=True, check=False)
    assert "strongSwan" in text.stdout + text.stderr
    assert (prefix / "sbin/swanctl").is_file()
    assert (prefix / "bin/pki").is_file()


@pytest.mark.parametrize(
    "plugin", ["vici", "kernel-libipsec", "kernel-netlink", "save-keys", "eap-mschapv2", "ml"]
)
def test_it_has_the_plugins(prefix: Path, plugin: str) -> None:
    """Those the lab counts on."""
    assert list(prefix.glob(f"lib/ipsec/plugins/libstrongswan-{plugin}.so"))


def test_a_second_call_does_nothing(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In under a second of the processor's; it leaves the prefix as it is, and prints it."""
    made, began = prefix.stat().st_mtime_ns, time.process_time()
    assert main(["charon", "build", "--stock"]) == 0
    assert time.process_time() - began < 1
    assert prefix.stat().st_mtime_ns == made
    assert Path(capsys.readouterr().out.strip()) == prefix


def test_path_prints_the_same(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """charon path --stock."""
    assert main(["charon", "path", "--stock"]) == 0
    assert Path(capsys.readouterr().out.strip()) == prefix


def test_path_says_when_nothing_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what to run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["charon", "path", "--stock"]) == 1
    assert "vici-mif charon build --stock" in capsys.readouterr().err


def a_base(directory: Path, version: str, digest: str) -> None:
    """A series for a release that nobody has published."""
    (directory / version).mkdir(parents=True)
    (directory / version / "base").write_text(
        f"Version: {version}\nTag: {version}\nTarball: strongswan-{version}.tar.bz2\n"
        f"SHA256: {digest}\nDebian: {version}-1\nSuites: trixie-updates\n"
    )


def test_the_newest_series_that_can_be_had(tmp_path: Path) -> None:
    """No source of the newer one anywhere, Debian and upstream included: the older is taken."""
    (tmp_path / "tarballs").mkdir()
    tarball = tmp_path / "tarballs/strongswan-0.9.8.tar.bz2"
    pack(tarball, "strongswan-0.9.8", {"configure.ac": ""})
    a_base(tmp_path / "patches", "0.9.9", "1" * 64)
    a_base(tmp_path / "patches", "0.9.8", checksum(tarball))
    told = io.StringIO()
    charon = Charon(Cache(tmp_path / "cache"), Progress(told))
    request = Request(tmp_path / "patches", stock=True, tarballs=tmp_path / "tarballs")
    series, source = charon.pick(request)
    assert (series.base.version, source.tarball) == ("0.9.8", tarball)
    assert "strongSwan 0.9.9 cannot be had: named directory: " in told.getvalue()


def test_no_source_at_all(tmp_path: Path) -> None:
    """Every way that was tried is named, and the way out."""
    a_base(tmp_path / "patches", "0.9.9", "1" * 64)
    charon = Charon(Cache(tmp_path / "cache"), Progress(io.StringIO()))
    with pytest.raises(BuildError, match=r"(?s)0\.9\.9: .*Debian: .*upstream: .*--tarballs DIR"):
        charon.pick(Request(tmp_path / "patches", stock=True))


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs them."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BuildError, match=r"apt-get install autoconf automake gcc libtool make"):
        compiling.require_tools()


def test_a_header_that_is_missing() -> None:
    """The compiler itself is asked."""
    assert compiling.has_header("stdio.h")
    assert not compiling.has_header("no/such/header.h")


def test_what_cannot_be_had_is_no_failure_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """69, so that a test run can skip it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    a_base(tmp_path / "patches", "0.9.9", "1" * 64)
    words = ["charon", "build", "--stock", "--patches", str(tmp_path / "patches")]
    assert main(words) == 69
