# SPDX-License-Identifier: Apache-2.0
"""The rig's files hold what every builder and every compose takes; no engine is asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import implementations, plan

DOCKER = Path(__file__).parent.parent / "docker"
SCENARIOS = Path(__file__).parent / "scenarios"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()


def test_every_builder_takes_the_dockerfile() -> None:
    """No syntax line, no mounts, no heredoc: what only some builders know."""
    assert "syntax=" not in DOCKERFILE
    assert "--mount" not in DOCKERFILE
    assert "<<" not in DOCKERFILE


def test_the_compose_file_is_for_both_versions() -> None:
    """What only v1 wants or only v2 knows is not there, and nothing is privileged."""
    tree = yaml.safe_load((DOCKER / "compose.yaml").read_text())

    assert set(tree) == {"services", "networks", "volumes"}
    for service in tree["services"].values():
        assert service["cap_add"] == ["NET_ADMIN"]
        assert service.get("devices", ["/dev/net/tun"]) == ["/dev/net/tun"]
        assert not {"privileged", "network_mode", "security_opt"} & set(service)


def test_implementations_name_stages_that_exist() -> None:
    """Every image is a stage of the Dockerfile."""
    stages = set(re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.MULTILINE))
    known = implementations.read(DOCKER / "implementations.json")

    assert {i.image.target for i in known.values() if i.image} <= stages


def test_a_strange_implementation_is_named(tmp_path: Path) -> None:
    """By its name, with those that are known; a mistake in the file by its place."""
    known = implementations.read(DOCKER / "implementations.json")
    with pytest.raises(LabError, match=r"no such implementation: elsewhere \(known: ours-6\.1\.0"):
        implementations.chosen(known, "elsewhere")

    file = tmp_path / "broken.json"
    file.write_text('{"a": {"titel": "b"}}')
    with pytest.raises(LabError, match="titel"):
        implementations.read(file)

    file.write_text('{"a": {"title": "b", "replaces": "c"}}')
    with pytest.raises(LabError, match="a replaces c, which is not there"):
        implementations.read(file)


def test_an_upgraded_end_begins_as_what_it_replaces() -> None:
    """Where the scenario has a stock charon; a cell is named by what stands there at its end."""
    known = implementations.read(DOCKER / "implementations.json")
    ours = {name: known[name] for name in ("ours-6.1.0", "ours-6.0.1")}
    found = plan.scenarios(SCENARIOS, "gateway-upgraded-first,client-upgraded-first,old-client")
    wanted = plan.Plan("netns", ours, ours, found, Path(), plan.replaced(known, ours, ours))

    first = {n: wanted.cast(s, "ours-6.1.0", "ours-6.0.1").first for n, s in found.items()}

    assert first == {
        "gateway-upgraded-first": {"client": "debian-12", "gateway": "debian-13"},
        "client-upgraded-first": {"client": "ours-6.1.0", "gateway": "debian-13"},
        "old-client": {"client": "ours-6.1.0", "gateway": "ours-6.0.1"},
    }
    assert set(wanted.taking_part) == {*ours, "debian-12", "debian-13"}
