# SPDX-License-Identifier: Apache-2.0
"""The controller over the kernel's own ESP: tests of tests/real in a guest that has it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.test_links import TUNNELS
from vici_mif.build import guest, kernel
from vici_mif.build.cache import Cache
from vici_mif.build.errors import BuildError
from vici_mif.build.guest import Guest
from vici_mif.lab.abilities import OWN_CLOCK_VARIABLE
from vici_mif.lab.errors import LabError
from vici_mif.lab.installation import VARIABLE, default_prefix

pytestmark = pytest.mark.guest

ROOT = Path(__file__).parent.parent
FOR_THE_GUEST = ("vlan", "clock-jumps")
"""Scenarios that need what the development machines lack."""
TESTS = (
    "tests/test_steering.py::test_xfrm_interfaces",
    "tests/real/test_per_path.py::test_a_link_that_goes_and_comes",
    "tests/real/test_one.py::test_the_tunnel_moves_and_comes_back",
    *(f"tests/test_links.py::test_tunnels_are_none[{kind}]" for kind in TUNNELS),
    *(f"tests/real/test_scenarios.py::test_on_the_lab[{name}]" for name in FOR_THE_GUEST),
)


SUCCESSION = (
    "tests/real/test_succession.py::test_an_sa_that_was_built_without_cloning",
    "tests/real/test_reauth.py::test_ours_comes_first[moved]",
)
SOURCES = ("tests/real/test_gateway.py::test_a_replayed_spi_is_counted_and_dropped",)


@pytest.mark.timeout(1500)
def test_over_kernel_esp(tmp_path: Path) -> None:
    """xfrm interfaces, per-path and one: up, moved without a new SPI, home, nothing in clear."""
    _pass_in_the_guest(tmp_path, TESTS)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_succession_over_kernel_esp(tmp_path: Path) -> None:
    """A family follows another with the same inner addresses, from policies without our interface
    ids and from those with them: no ping is lost."""
    _pass_in_the_guest(tmp_path, SUCCESSION)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_sources_over_kernel_esp(tmp_path: Path) -> None:
    """The gateway's source check stands before the kernel's own ESP, too."""
    _pass_in_the_guest(tmp_path, SOURCES)


def _pass_in_the_guest(tmp_path: Path, tests: tuple[str, ...]) -> None:
    try:
        guest.require_tools()
        kernel.find(Cache())
        prefix = default_prefix()
    except (BuildError, LabError) as error:
        pytest.skip(str(error))
    options = ["-q", "-p", "no:cacheprovider", "-o", "timeout=600", "-m", ""]
    words = [sys.executable, "-m", "pytest", *options, *tests]
    script = (
        f"cd {shlex.quote(str(ROOT))} && "
        f"VICI_MIF_PATIENCE=8 {OWN_CLOCK_VARIABLE}=1 {VARIABLE}={shlex.quote(str(prefix))} "
        f"{shlex.join(words)} > result 2>&1; status=$?; cp result $OLDPWD/; exit $status"
    )

    status = guest.run(Guest(script, tmp_path, share=tmp_path, timeout=1200))

    said = (tmp_path / "result").read_text() if (tmp_path / "result").exists() else ""
    assert status == 0, said[-6000:]
    assert f"{len(tests)} passed" in said
