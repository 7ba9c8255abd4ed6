# SPDX-License-Identifier: Apache-2.0
"""Cells of the rig that need ESP in the kernel: libreswan, in a guest that has it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from vici_mif.build import guest, kernel
from vici_mif.build.cache import Cache
from vici_mif.build.charon import Charon, Request, default_patches
from vici_mif.build.errors import BuildError
from vici_mif.build.guest import Guest
from vici_mif.lab.interop import images, implementations
from vici_mif.lab.interop.results import FILE, Results

pytestmark = [pytest.mark.guest, pytest.mark.long, pytest.mark.timeout(3000)]

ROOT = Path(__file__).parent.parent
OURS, THEIRS = "ours-6.1.0", "libreswan"
CELLS = {
    ("gateway-cannot-clone", OURS, THEIRS): "fallback",
    ("old-client", THEIRS, OURS): "pass",
}


def test_libreswan_carries_payload_where_the_kernel_has_esp(tmp_path: Path) -> None:
    """As a gateway that cannot clone its tunnel is moved, as an old client it reaches the far side.

    `python -m vici_mif.lab.interop unpack libreswan` lays its files where the guest finds them.
    """
    try:
        guest.require_tools()
        kernel.find(Cache())
        Charon().path(Request(default_patches(), "6.1.0"))
    except BuildError as error:
        pytest.skip(str(error))
    theirs = implementations.read(ROOT / "docker" / "implementations.json")[THEIRS]
    if not theirs.image or not images.root(theirs.image).is_dir():
        pytest.skip("no files of libreswan: python -m vici_mif.lab.interop unpack libreswan")

    guest.run(Guest(_script(), tmp_path, share=tmp_path, timeout=2700))

    said = (tmp_path / "said").read_text() if (tmp_path / "said").exists() else ""
    assert (tmp_path / "netns" / FILE).exists(), said[-6000:]
    found = Results.model_validate_json((tmp_path / "netns" / FILE).read_bytes())
    told = {
        (c.scenario, c.client, c.gateway): c.outcome
        for c in found.cells
        if THEIRS in (c.client, c.gateway) and c.outcome != "unsupported"
    }
    assert told == CELLS, said[-6000:]


def _script() -> str:
    pairs = ["--clients", f"{OURS},{THEIRS}", "--gateways", f"{THEIRS},{OURS}"]
    scenarios = ["--scenarios", ",".join(scenario for scenario, _, _ in CELLS)]
    words = [sys.executable, "-m", "vici_mif.lab.interop", "run", "--backend", "netns", *pairs]
    return (
        f"out=$PWD; cd {shlex.quote(str(ROOT))} && VICI_MIF_PATIENCE=8 "
        f'{shlex.join([*words, *scenarios])} --out "$out" >"$out/said" 2>&1'
    )
