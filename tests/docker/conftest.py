# SPDX-License-Identifier: Apache-2.0
"""A docker engine and the rig's images for the tests here. All of them carry `docker`."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SKIPPED = 69
_HERE = Path(__file__).parent

Needs = Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def engine() -> None:
    """An engine that answers: `DOCKER_HOST` leads to it."""
    if os.geteuid():
        pytest.skip("needs root: pushes interfaces into containers")
    done = subprocess.run(
        [ROOT / "scripts/docker-engine"], capture_output=True, text=True, check=False
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    if host := re.search(r"DOCKER_HOST=(\S+)", done.stdout):
        os.environ["DOCKER_HOST"] = host[1]


@pytest.fixture(scope="session")
def needs_images(engine: None) -> Needs:
    """Builds images by the names of docker/implementations.json; what is built is quick."""
    # docker is no dependency of a checkout's other tests
    from vici_mif.lab.interop import images, implementations

    known = implementations.read(ROOT / "docker" / "implementations.json")

    def build(*names: str) -> None:
        try:
            images.build(known[name].image for name in names if known[name].image)
        except images.SkippedError as error:
            pytest.skip(f"no image of {', '.join(names)}: {error}")

    return build


def has_image(suite: str) -> None:
    """The clean system of a suite that images are built on."""
    command = [ROOT / "scripts/base-image", suite]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
