# SPDX-License-Identifier: Apache-2.0
"""A controller that lacks a capability says so and goes on with what it may do."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.namespace import eventually, own_namespace
from vici_mif.edges.control import ask

ROOT = Path(__file__).parent.parent
SETPRIV = shutil.which("setpriv")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(SETPRIV is None, reason="needs setpriv: util-linux"),
]


@contextmanager
def without(capability: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """`vici-mif run` as root with all capabilities but one, and without a charon."""
    file = directory / "config.yaml"
    file.write_text(
        "version: 1\nconnections:\n  hq: {links: [lo]}\n"
        f"daemon: {{vici: {directory}/none, run_dir: {directory}/run, state_dir: {directory}/state,"
        f" journal: {directory}/journal, group: nogroup}}\n"
    )
    assert SETPRIV is not None
    argv = [SETPRIV, f"--bounding-set=-{capability}", f"--inh-caps=-{capability}"]
    argv += [sys.executable, "-m", "vici_mif", "run", "-c", str(file)]
    with own_namespace(), (directory / "said").open("w") as said:
        child = subprocess.Popen(argv, cwd=ROOT, stderr=said, text=True)
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()


def test_without_chown_the_status_is_roots_alone(tmp_path: Path) -> None:
    """A warning says what is missing; the controller runs, and ends as ever."""
    if os.geteuid():
        pytest.skip("needs root: runs the controller")
    said = tmp_path / "said"
    with without("chown", tmp_path) as controller:
        eventually(lambda: "only root can read the status" in said.read_text())
        warning = next(line for line in said.read_text().splitlines() if "CAP_CHOWN" in line)
        assert "status.sock: cannot be given to group 'nogroup': Operation not permitted" in warning
        assert ask(tmp_path / "run", {"ask": "status"})["ok"]
        assert stat.S_IMODE((tmp_path / "run" / "status.sock").stat().st_mode) == 0o600
        controller.terminate()
        assert controller.wait(20) == 0
    assert "Traceback" not in said.read_text()
