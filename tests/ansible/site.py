# SPDX-License-Identifier: Apache-2.0
"""A converged gateway and client, and what charon and the controller say there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.ansible.hosts import Host
from tests.ansible.plays import Ansible, Run
from tests.ansible.rollout import CLIENT, GATEWAY

INFO = "vici_mif.ipsec.vici_info"
PATH = "vici_mif.ipsec.mif_path"


@dataclass(frozen=True)
class Site:
    """Both hosts, and how the first runs went."""

    ansible: Ansible
    gateway: Host
    client: Host
    first: Mapping[str, Run]

    def info(self, host: str) -> Mapping[str, Any]:
        """What the module `vici_info` returns."""
        return self.ansible.module(host, INFO).task(host, "it")

    def tunnels(self) -> dict[str, list[tuple[Any, ...]]]:
        """What must not change: unique ids and SPIs, on both hosts."""
        return {host: _identity(self.info(host)) for host in (GATEWAY, CLIENT)}

    def path(self, *options: str, **arguments: Any) -> Run:
        """The module `mif_path` on the client."""
        return self.ansible.module(CLIENT, PATH, *options, **arguments)

    def status(self) -> Mapping[str, Any]:
        """`vici-mif status --json` of the client."""
        found: dict[str, Any] = json.loads(self.client.run("vici-mif", "status", "--json").out)
        return found

    def pids(self) -> list[str]:
        """Main processes of charon and the controller: a restart changes them."""
        show = ("systemctl", "show", "-p", "MainPID", "strongswan", "vici-mif")
        return [host.run(*show, check=True).out for host in (self.gateway, self.client)]


def _identity(info: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (t["id"], *t["spis"], *((c["name"], c["spi_in"], c["spi_out"]) for c in t["children"]))
        for t in info["tunnels"]
    ]
