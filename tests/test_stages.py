# SPDX-License-Identifier: Apache-2.0
"""A machine without docker: its stages are skipped, say why, and nothing fails over it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "cat", "dirname", "env", "grep", "id", "mkdir", "nohup", "seq", "setsid", "sleep")
TOOLS += ("tail", "tr")
NO_DOCKER = "skipped: no docker: install docker.io (scripts/packages rig)\n"
STAGES = ('containers "docker and not long"', "scripts/interop --backend docker")
STAGES += ("scripts/ansible-test", "files_of libreswan")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A directory for PATH with the tools that the scripts use, and no docker."""
    found = tmp_path / "bin"
    found.mkdir()
    for tool in TOOLS:
        (found / tool).symlink_to(str(shutil.which(tool)))
    return found


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(bare: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """What it says, in one, with nothing but these tools and no environment of ours."""
    given = {"PATH": str(bare), "HOME": str(bare), "VENV": str(bare / "no-venv")}
    given |= {"VICI_MIF_DOCKER_DIR": str(bare / "run"), "DOCKER_HOST": "unix:///nowhere"}
    return subprocess.run(
        argv, cwd=ROOT, env=given, check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_of_docker_is_skipped(bare: Path, stage: str) -> None:
    """The reason, then the word; the run goes on and ends well."""
    script = f'. scripts/stages; stage "with docker" {stage}; stage "the next" true; close'
    done = run(bare, "bash", "-uc", script)

    reason = f"== with docker\n{NO_DOCKER}== with docker: skipped: the reason stands above\n"
    assert reason in done.stdout
    assert "== the next: ok, " in done.stdout
    assert done.stdout.endswith("skipped: [with docker]\n")
    assert done.returncode == 0


def test_without_docker(bare: Path) -> None:
    """69, and the package to install."""
    done = run(bare, "scripts/docker-engine")
    assert (done.returncode, done.stdout) == (69, NO_DOCKER)


def test_without_an_engine(bare: Path) -> None:
    """The command alone: nobody answers it, and none can be started."""
    program(bare / "docker", "exit 1")
    done = run(bare, "scripts/docker-engine")
    assert (done.returncode, done.stdout[:25]) == (69, "skipped: no docker engine")


def test_an_engine_that_does_not_start(bare: Path) -> None:
    """Its last word is the reason; only root tries."""
    program(bare / "docker", "exit 1")
    program(bare / "dockerd", "echo 'no iptables here'; exit 1")
    (bare / "id").unlink()
    program(bare / "id", "echo 0")
    done = run(bare, "scripts/docker-engine")
    reason = "skipped: dockerd does not start here: no iptables here\n"
    assert (done.returncode, done.stdout) == (69, reason)
