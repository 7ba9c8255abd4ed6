# SPDX-License-Identifier: Apache-2.0
"""docker/compose.yaml, played as a new user would: up, status, an uplink goes, down."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker.conftest import ROOT, Needs, compose
from tests.namespace import eventually

pytest.importorskip("docker.errors")
import docker

PATIENCE = 120.0


class Project:
    """The compose file under a project name of its own, by whichever compose there is."""

    def __init__(self, command: list[str], name: str) -> None:
        self.name = name
        self._command = [*command, "-p", name]

    def __call__(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [*self._command, *words],
            cwd=ROOT / "docker",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self, *words: str, check: bool = True) -> str:
        """A command in the container `client`."""
        return self("exec", "-T", "client", *words, check=check)

    def containers(self) -> dict[str, Any]:
        """What the engine says of each service."""
        label = f"com.docker.compose.project={self.name}"
        found = docker.from_env().containers.list(filters={"label": label})
        return {c.labels["com.docker.compose.service"]: c.attrs for c in found}

    def healthy(self) -> bool:
        state = self.containers()["client"]["State"]
        return bool(state["Health"]["Status"] == "healthy")


@pytest.fixture(scope="module")
def project(needs_images: Needs) -> Iterator[Project]:
    needs_images("ours-6.1.0")
    project = Project(compose(), f"rig-test-{os.getpid()}")
    try:
        project("up", "-d")
        yield project
    finally:
        project("down", "-v", "-t", "2", check=False)


@pytest.mark.timeout(3600)
def test_up_and_a_status(project: Project) -> None:
    """One authentication, a tunnel on each uplink; the health check is the controller's word."""
    eventually(project.healthy, within=PATIENCE)

    status = project.client("vici-mif", "status", "--json", "--wait", "up", "--timeout", "60")
    (peer,) = json.loads(status)["peers"]
    assert (peer["state"], peer["authentications"]) == ("up", 1)
    homes = {tunnel["home"] for tunnel in peer["tunnels"]}
    assert {"fibre/203.0.113.1", "lte/203.0.113.1"} <= homes


def test_an_uplink_goes(project: Project) -> None:
    """Its tunnel is answered over the other uplink, with its inner address."""
    eventually(project.healthy, within=PATIENCE)
    status = project.client("vici-mif", "status", "--json", "--wait", "up", "--timeout", "60")
    (peer,) = json.loads(status)["peers"]
    inner = next(t["inner"][0] for t in peer["tunnels"] if t["home"] == "fibre/203.0.113.1")

    project.client("ip", "link", "set", "fibre", "down")
    ping = ("ping", "-n", "-W", "2", "-I", inner, "10.100.0.1", "-c")
    eventually(lambda: "1 received" in project.client(*ping, "1", check=False), PATIENCE)
    said = project.client(*ping, "3")

    assert " 0% packet loss" in said


def test_no_container_is_privileged(project: Project) -> None:
    """NET_ADMIN and /dev/net/tun, and no more than that."""
    containers = project.containers()
    assert containers
    for attrs in containers.values():
        config = attrs["HostConfig"]
        assert not config["Privileged"]
        assert [word.removeprefix("CAP_") for word in config["CapAdd"]] == ["NET_ADMIN"]
        devices = {device["PathOnHost"] for device in config["Devices"] or ()}
        assert devices <= {"/dev/net/tun"}


def test_the_secret_was_made_at_the_start(project: Project) -> None:
    """No file of the repository has it."""
    text = project.client("cat", "/keys/secrets.conf")
    secret = text.partition('secret = "')[2].partition('"')[0]

    assert len(secret) >= 32
    files = [path for path in Path(ROOT / "docker").rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
