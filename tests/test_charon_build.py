# SPDX-License-Identifier: Apache-2.0
"""charon, really built from the source of strongSwan."""

import subprocess
import time
from pathlib import Path

import pytest

from vici_mif.build.__main__ import main
from vici_mif.build.charon import Charon, Request, default_patches

pytestmark = [pytest.mark.build, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def prefix() -> Path:
    """The stock build in the cache, made if it is not there."""
    charon = Charon()
    return charon.cache.prefix(charon.build(Request(default_patches(), stock=True)))


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
    """In under a second, and it prints the prefix."""
    began = time.monotonic()
    assert main(["charon", "build", "--stock"]) == 0
    assert time.monotonic() - began < 1
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
