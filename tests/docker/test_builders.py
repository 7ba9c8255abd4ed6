# SPDX-License-Identifier: Apache-2.0
"""docker/Dockerfile by hand, with each builder that docker has."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.docker.conftest import ROOT, Needs
from vici_mif import __version__

OURS = "ours-6.1.0"
BUILDERS = {"BuildKit": "1", "the one before": "0"}
CHARON = "/opt/strongswan/libexec/ipsec/charon"
MISSING = "buildx component is missing"


def _docker(*words: str, kit: str = "") -> subprocess.CompletedProcess[str]:
    own = {**os.environ, **({"DOCKER_BUILDKIT": kit} if kit else {})}
    return subprocess.run(
        ["docker", *words], cwd=ROOT, env=own, capture_output=True, text=True, check=False
    )


@pytest.fixture
def tag() -> Iterator[str]:
    name = f"rig-test-builder:{os.getpid()}"
    yield name
    _docker("rmi", "--force", name)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("builder", BUILDERS)
def test_a_builder_takes_the_dockerfile(builder: str, tag: str, needs_images: Needs) -> None:
    """The command of its first lines gives an image whose charon and controller run."""
    needs_images(OURS)  # wheels and source are where the build looks for them
    words = ["build", "-f", "docker/Dockerfile", "--target", "controller", "--tag", tag, "."]
    done = _docker(*words, kit=BUILDERS[builder])
    if MISSING in done.stderr:
        pytest.skip(f"no BuildKit: {shutil.which('docker')} has no buildx")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]

    said = _docker("run", "--rm", tag, "sh", "-c", f"{CHARON} --version && vici-mif --version")

    assert said.returncode == 0, said.stderr
    assert "strongSwan 6.1.0" in said.stdout
    assert __version__ in said.stdout
