# SPDX-License-Identifier: Apache-2.0
"""A cell of the matrix in containers, and which images are trusted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import ROOT, Needs, has_image
from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import backends, implementations, plan, run
from vici_mif.lab.interop.implementations import Image, Implementation
from vici_mif.lab.interop.results import Results

pytest.importorskip("docker.errors")
OURS = "ours-6.1.0"
KINDS = {"one-clone": "clones"}


needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: pushes interfaces into containers"
)


def _play(out: Path, *names: str, scenarios: str) -> Results:
    known = implementations.read(ROOT / "docker" / "implementations.json")
    client, gateway = ({name: known[name]} for name in names)
    found = plan.scenarios(ROOT / "tests" / "scenarios", scenarios)
    before = plan.replaced(known, client, gateway)
    return run.run(plan.Plan("docker", client, gateway, found, out, before), print)


@needs_root
@pytest.mark.timeout(3600)
def test_a_clone_in_containers(needs_images: Needs, tmp_path: Path) -> None:
    """The cell holds, says what was seen, and keeps what it was judged by."""
    needs_images(OURS)

    results = _play(tmp_path, OURS, OURS, scenarios="one-clone")

    (cell,) = results.cells
    assert (cell.outcome, cell.why) == ("pass", "")
    assert cell.facts is not None
    assert (cell.facts.authentications, cell.facts.clones) == (1, 1)
    assert {"router-gw0.pcap", "client-ikev2_decryption_table", "client-charon.log",
            "journal-journal.jsonl", "ladder.txt"} <= set(cell.files)  # fmt: skip
    assert "N(CLONE_IKE_SA)" in (tmp_path / cell.folder / "ladder.txt").read_text()
    assert (tmp_path / "results.json").exists()
    assert "N(CLONE_IKE_SA)" in (tmp_path / "index.html").read_text()


@needs_root
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_gateway_of_debian(needs_images: Needs, tmp_path: Path) -> None:
    """It cannot clone: what needs that is unsupported, what does without is `fallback`."""
    needs_images(OURS, "debian-12")

    results = _play(tmp_path, OURS, "debian-12", scenarios="one-clone,gateway-cannot-clone")

    told = {cell.scenario: cell.outcome for cell in results.cells}
    assert told == {"one-clone": "unsupported", "gateway-cannot-clone": "fallback"}


@needs_root
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_both_are_upgraded_one_after_the_other(needs_images: Needs, tmp_path: Path) -> None:
    """Another image takes the place of Debian's, in either order; then there is a clone."""
    needs_images(OURS, "debian-12")

    orders = "gateway-upgraded-first,client-upgraded-first"
    results = _play(tmp_path, OURS, OURS, scenarios=orders)

    told = {cell.scenario: (cell.outcome, cell.why) for cell in results.cells}
    assert told == dict.fromkeys(orders.split(","), ("pass", ""))
    assert all(cell.facts and cell.facts.clones == 1 for cell in results.cells)


@pytest.fixture
def yes_man(engine: None, tmp_path: Path) -> Iterator[str]:
    """An image that plays everything, if one believes it."""
    name = "rig-test-yes-man"
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:bookworm-slim\n"
        "RUN printf '#!/bin/sh\\n[ \"$1\" = hold ] && exec sleep 60\\nexit 0\\n' "
        ">/usr/local/bin/endpoint && chmod +x /usr/local/bin/endpoint\n"
        "LABEL org.vici-mif.prefix=/usr\n"
        'ENTRYPOINT ["endpoint"]\n'
    )
    has_image("bookworm")
    build = ["docker", "build", "--quiet", "--tag", name, str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True)
    yield name
    subprocess.run(["docker", "rmi", "--force", name], check=False, capture_output=True)


@needs_root
def test_who_says_yes_to_everything_is_not_trusted(
    yes_man: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scenario with a random name is asked for first."""
    monkeypatch.setattr(backends.images, "build", lambda _: None)
    image = Image(name=yes_man, suite="bookworm", target="none")

    with pytest.raises(LabError, match=f"{yes_man} is not trusted: .* answered 0, not 127"):
        backends.in_containers(Implementation(title="a yes-man", image=image), KINDS)
