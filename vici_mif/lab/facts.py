# SPDX-License-Identifier: Apache-2.0
"""What a daemon that is no charon is told: facts from which its image makes files of its own."""

from __future__ import annotations

import shlex
from ipaddress import ip_network
from pathlib import Path

from vici_mif.lab import conf
from vici_mif.lab.errors import LabError
from vici_mif.lab.topology import CLIENT, GATEWAY, POOLS, Auth, Topology, bare

FACTS, KEY = "facts.env", "psk"


def write_facts(topology: Topology, directory: Path, host: str, secret: str) -> None:
    """What an end has to know, in shell variables; the key in a file of its own."""
    if topology.wish.auth is not Auth.PSK or topology.wish.outer != 4:
        raise LabError("a foreign daemon has a pre-shared key and speaks over IPv4")
    key = directory / KEY
    key.touch(mode=0o600)
    key.write_text(secret)
    own = _client(topology) if host == CLIENT else _gateway(topology, host)
    facts = {"AUTH": "psk", "PSK_FILE": str(key), "LOCAL_ID": conf.IDENTITIES[host], **own}
    lines = (f"{name}={shlex.quote(value)}\n" for name, value in facts.items())
    (directory / FACTS).write_text("".join(lines))


def _client(topology: Topology) -> dict[str, str]:
    return {
        "ROLE": "client",
        "LOCAL_ADDRESS": bare(topology.uplinks[0].a.addresses[0]),
        "REMOTE_ADDRESS": topology.addresses_of(GATEWAY)[0],
        "REMOTE_ID": conf.IDENTITIES[GATEWAY],
        "REMOTE_TS": conf.selectors(topology.wish)[1][0],
    }


def _gateway(topology: Topology, host: str) -> dict[str, str]:
    pool = list(ip_network(POOLS[0]).hosts())
    return {
        "ROLE": "gateway",
        "LOCAL_ADDRESS": topology.addresses_of(host)[0],
        "REMOTE_ID": conf.IDENTITIES[CLIENT],
        "LOCAL_TS": conf.selectors(topology.wish)[1][0],
        "POOL_FIRST": str(pool[0]),
        "POOL_LAST": str(pool[-1]),
    }
