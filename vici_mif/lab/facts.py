# SPDX-License-Identifier: Apache-2.0
"""What a daemon that is no charon is told: facts from which its image makes files of its own."""

from __future__ import annotations

import shlex
from ipaddress import ip_network
from pathlib import Path

from vici_mif.lab import conf
from vici_mif.lab.errors import LabError
from vici_mif.lab.topology import CLIENT, POOLS, Auth, Topology

FACTS, KEY = "facts.env", "psk"


def write_facts(topology: Topology, directory: Path, host: str, secret: str) -> None:
    """What a gateway has to know, in shell variables; the key in a file of its own."""
    if host == CLIENT or topology.wish.auth is not Auth.PSK or topology.wish.outer != 4:
        raise LabError("a foreign daemon is a gateway with a pre-shared key, over IPv4")
    key = directory / KEY
    key.touch(mode=0o600)
    key.write_text(secret)
    pool = list(ip_network(POOLS[0]).hosts())
    facts = {
        "ROLE": "gateway",
        "AUTH": "psk",
        "LOCAL_ADDRESS": topology.addresses_of(host)[0],
        "LOCAL_ID": conf.IDENTITIES[host],
        "REMOTE_ID": conf.IDENTITIES[CLIENT],
        "LOCAL_TS": conf.selectors(topology.wish)[1][0],
        "POOL_FIRST": str(pool[0]),
        "POOL_LAST": str(pool[-1]),
        "PSK_FILE": str(key),
    }
    lines = (f"{name}={shlex.quote(value)}\n" for name, value in facts.items())
    (directory / FACTS).write_text("".join(lines))
