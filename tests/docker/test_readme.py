# SPDX-License-Identifier: Apache-2.0
"""The commands of README.md's section on the rig, one after the other, as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import ROOT, Needs

HEADING = "## Container rig"


def commands() -> list[str]:
    """The indented lines of the section."""
    section = (ROOT / "README.md").read_text().partition(f"{HEADING}\n")[2].partition("\n## ")[0]
    return re.findall(r"^    (\S.*)$", section, re.MULTILINE)


def script(lines: list[str]) -> str:
    """As they are typed; Debian 12's compose has another name."""
    compose = ["docker", "compose", "version"]
    own = subprocess.run(compose, capture_output=True, check=False).returncode == 0
    if not own and not shutil.which("docker-compose"):
        pytest.skip("no docker compose: install docker-compose (scripts/packages rig)")
    text = "\n".join(["set -ex", *lines])
    return text if own else text.replace("docker compose", "docker-compose")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    name = f"rig-readme-{os.getpid()}"
    # what runs this test is installed: make need not do it again
    stamp = tmp_path / "installed"
    stamp.touch()
    flags = f"VENV={sys.prefix} STAMP={stamp}"
    own = {**os.environ, "COMPOSE_PROJECT_NAME": name, "MAKEFLAGS": f"-- {flags}"}
    yield own
    tidy = script(["cd docker", "docker compose down -v -t 2"])
    subprocess.run(["bash", "-c", tidy], cwd=ROOT, env=own, capture_output=True, check=False)


@pytest.mark.timeout(900)
def test_the_commands_do_what_stands_there(
    needs_images: Needs, environment: dict[str, str]
) -> None:
    """All of them succeed; the tunnel of the uplink that went is answered over the other."""
    needs_images("ours-6.1.0")
    lines = commands()
    assert lines[0] == "make images"
    done = subprocess.run(
        ["bash", "-c", script(lines)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "peer hq  up" in done.stdout
    assert "peer hq  degraded" in done.stdout
    assert " 0% packet loss" in done.stdout
