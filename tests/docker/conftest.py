# SPDX-License-Identifier: Apache-2.0
"""A docker engine and the rig's images for the tests here. All of them carry `docker`."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vici_mif.lab.interop import images, implementations

ROOT = Path(__file__).parent.parent.parent
_HERE = Path(__file__).parent

Needs = Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def engine() -> None:
    """An engine that answers: `DOCKER_HOST` leads to it."""
    done = _scripted("docker-engine")
    if host := re.search(r"DOCKER_HOST=(\S+)", done.stdout):
        os.environ["DOCKER_HOST"] = host[1]


@pytest.fixture(scope="session")
def needs_images(engine: None) -> Needs:
    """Builds images by the names of docker/implementations.json; what is built is quick."""
    known = implementations.read(ROOT / "docker" / "implementations.json")

    def build(*names: str) -> None:
        try:
            images.build(known[name].image for name in names if known[name].image)
        except images.SkippedError as error:
            pytest.skip(f"no image of {', '.join(names)}: {error}")

    return build


def compose() -> list[str]:
    """The command; Debian 12's has another name."""
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            done = subprocess.run([*command, "version"], capture_output=True, check=False)
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            return command
    pytest.skip("no docker compose: install docker-compose (scripts/packages rig)")


def has_image(suite: str) -> None:
    """The clean system of a suite that images are built on."""
    _scripted("base-image", suite)


def _scripted(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What a script of ours did; the test is skipped with the reason that it gives."""
    command = [ROOT / "scripts" / name, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == os.EX_UNAVAILABLE:
        pytest.skip(images.reason(done.stderr))
    assert done.returncode == 0, done.stderr
    return done
