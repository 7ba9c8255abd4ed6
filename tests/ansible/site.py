# SPDX-License-Identifier: Apache-2.0
"""A converged gateway and client, and what charon and the controller say there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.ansible.hosts import Host
from tests.ansible.plays import Ansible, Run
from tests.ansible.rollout import CLIENT

INFO = "vici_mif.ipsec.vici_info"
IDENTITY = re.compile(r"(?:uniqueid|initiator-spi|responder-spi|spi-in|spi-out)=\w+")
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

    def tunnels(self) -> list[str]:
        """What must not change on either host, by charon's own word: unique ids and SPIs."""
        return [
            " ".join(sorted(IDENTITY.findall(host.run("swanctl", "--list-sas", "--raw").out)))
            for host in (self.gateway, self.client)
        ]

    def homes(self) -> dict[str, list[str]]:
        """SPIs of the tunnel of each path; a spare is left out, as no packet needs it."""
        tunnels = self.status()["peers"][0]["tunnels"]
        return {t["home"]: sorted(map(_spis, t["children"])) for t in tunnels if t["home"]}

    def connections(self) -> list[str]:
        """What the gateway's charon has loaded."""
        said = self.gateway.run("swanctl", "--list-conns").out
        return sorted(re.findall(r"^(\S+): IKEv", said, re.MULTILINE))

    def path(self, *options: str, **arguments: Any) -> Run:
        """The module `mif_path` on the client."""
        return self.ansible.module(CLIENT, PATH, *options, **arguments)

    def status(self) -> Mapping[str, Any]:
        """`vici-mif status --json` of the client."""
        found: dict[str, Any] = json.loads(self.client.run("vici-mif", "status", "--json").out)
        return found

    def settled(self) -> bool:
        """A tunnel with a child on each path, and the spare: nothing more will come."""
        (peer,) = self.status()["peers"]
        return (
            peer["state"] == "up"
            and {path["state"] for path in peer["paths"]} == {"active"}
            and len(peer["tunnels"]) == len(peer["paths"]) + 1
            and all(tunnel["children"] for tunnel in peer["tunnels"])
        )

    def pids(self) -> list[str]:
        """Main processes of charon and the controller: a restart changes them."""
        show = ("systemctl", "show", "-p", "MainPID", "strongswan", "vici-mif")
        return [host.run(*show, check=True).out for host in (self.gateway, self.client)]


def _spis(child: Mapping[str, str]) -> str:
    return f"{child['spi_in']} {child['spi_out']}"
