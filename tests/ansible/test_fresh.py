# SPDX-License-Identifier: Apache-2.0
"""A host that has nothing of it yet, looked at in check mode."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.hosts import Host
from tests.ansible.plays import Ansible
from tests.ansible.rollout import CLIENT, VAULT, inventory

pytestmark = pytest.mark.long


@pytest.fixture
def fresh(engine: Any, image: str) -> Iterator[Host]:
    host = Host(engine, f"ansible-fresh-{os.getpid()}", image)
    try:
        host.boot()
        yield host
    finally:
        host.remove()


def test_check_mode_tells_what_a_first_run_would_do(
    fresh: Host, debs: Path, wheels: Path, tmp_path: Path
) -> None:
    """It ends well, names what would be installed and written, and leaves the host empty."""
    (tmp_path / "packages").symlink_to(debs)
    (tmp_path / "wheels").symlink_to(wheels)
    ansible = Ansible(tmp_path, inventory({CLIENT: fresh.name}), VAULT)
    ansible.install()
    run = ansible.play("vici_mif.ipsec.clients", "--check", "--diff")

    assert run.code == 0, run.text
    told = {task.rpartition(" : ")[2] for task in run.changed(CLIENT)}
    assert told >= {
        "Install the wheel",
        "Say what would be installed",
        "Write connections and pools",
        "Write secrets",
        "Write what the controller is to do",
    }
    assert VAULT["vault_secret"] not in run.text
    for path in ("/opt/vici-mif", "/etc/vici-mif", "/etc/swanctl", "/var/cache/vici-mif"):
        assert fresh.run("test", "-e", path).code == 1
