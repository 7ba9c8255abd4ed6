# SPDX-License-Identifier: Apache-2.0
"""The example in the collection's README, on containers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.ansible.plays import COLLECTION

README = (COLLECTION / "README.md").read_text()
GATEWAY, CLIENT = "gw1", "branch1"
LINKS = {"eth0": "192.0.2", "eth1": "198.51.100"}
TARGET = "10.100.0.1"
VAULT = {"vault_secret": "Es9vBq4hTw2kXr7m"}
# user-space ESP: not every kernel that runs containers has its own
SETTINGS = {"plugins": {"kernel-libipsec": {"load": True}}}


def inventory(containers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What stands in README.md as inventory.yml, and what containers need beside it."""
    text = re.search(r"```yaml\n(gateways:.*?)```", README, re.DOTALL)
    assert text
    found: dict[str, Any] = yaml.safe_load(text[1])
    for group, prefix in (("gateways", "gateway"), ("clients", "client")):
        found[group]["vars"][f"{prefix}_settings"] = SETTINGS
        found[group]["vars"][f"{prefix}_gate_retries"] = 60
        for name in found[group]["hosts"]:
            found[group]["hosts"][name] = {"ansible_host": (containers or {}).get(name, name)}
    return found


def commands() -> list[str]:
    """What README.md tells to type after that."""
    text = re.search(r"```\n(ansible-galaxy.*?)```", README, re.DOTALL)
    assert text
    return text[1].splitlines()
