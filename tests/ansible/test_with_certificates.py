# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys that the roles bring, and both ends that authenticate with them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.hosts import pings
from tests.ansible.plays import Run
from tests.ansible.rollout import CLIENT, GATEWAY, TARGET, inventory
from tests.ansible.site import Site
from tests.namespace import eventually
from vici_mif.lab import keys

pytestmark = pytest.mark.long

PEERS = {"gateway": "gateway.example.org", "client": "branch1.example.org"}
PRIVATE = "/etc/swanctl/private/{}.pem"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """An authority, and a certificate and a key for each end."""
    ca = keys.authority("Rollout CA")
    keys.write_certificate(ca.certificate, tmp_path / "x509ca/ca.pem")
    for role, identity in PEERS.items():
        keys.issue(ca, identity).write(tmp_path, "x509", role)
    return tmp_path


def wished(role: str, files: Path) -> dict[str, Any]:
    """README's variables of a role, with certificates in place of the shared key."""
    found = copy.deepcopy(inventory()[f"{role}s"]["vars"])
    (connection,) = found[f"{role}_connections"].values()
    connection["local"] |= {"auth": "pubkey", "certs": f"{role}.pem"}
    connection["remote"] |= {"auth": "pubkey"}
    brings = {"x509ca": "ca.pem", "x509": f"{role}.pem", "private": f"{role}.pem"}
    return {
        f"{role}_connections": found[f"{role}_connections"],
        f"{role}_credentials": [
            {"src": str(files / kind / name), "kind": kind} for kind, name in brings.items()
        ],
    }


def play(site: Site, files: Path, *options: str) -> dict[str, Run]:
    return {
        role: site.ansible.play(f"vici_mif.ipsec.{role}s", *options, **wished(role, files))
        for role in PEERS
    }


@pytest.fixture
def brought(site: Site, files: Path) -> Iterator[Mapping[str, Run]]:
    """Both roles have run with them; afterwards all is as it was."""
    try:
        yield play(site, files, "--diff")
    finally:
        site.ansible.roll_out()
        for host in (site.gateway, site.client):
            host.run("sh", "-c", "rm -f /etc/swanctl/x509*/*.pem /etc/swanctl/private/*.pem")
        authenticate_anew(site)


def authenticate_anew(site: Site) -> None:
    site.client.run("vici-mif", "peer", "revoke", "hq")
    eventually(lambda: site.status()["peers"][0]["state"] == "up", 60)


def test_both_ends_authenticate_with_what_was_brought(
    site: Site, brought: Mapping[str, Run], files: Path
) -> None:
    """Loaded without a restart or a lost packet; used at the next authentication; nothing shown."""
    for role, host, machine in (
        ("gateway", GATEWAY, site.gateway),
        ("client", CLIENT, site.client),
    ):
        run = brought[role]
        assert run.code == 0, run.text
        assert "Copy certificates and keys" in " ".join(run.changed(host))
        assert "PRIVATE KEY" not in run.text
        path = PRIVATE.format(role)
        assert machine.read(path) == (files / "private" / f"{role}.pem").read_text()
        assert machine.run("stat", "-c", "%a %U", path).out.split() == ["600", "root"]
        assert PEERS[role] in machine.run("swanctl", "--list-certs").out

    with pings(site.client, TARGET) as counted:
        again = play(site, files)
    assert (again["gateway"].changed(GATEWAY), again["client"].changed(CLIENT)) == ([], [])
    assert counted["received"] == counted["sent"]

    authenticate_anew(site)
    said = site.client.run("journalctl", "-u", "strongswan", "--no-pager", "-n", "300").out
    assert "authentication of 'gateway.example.org' with ECDSA" in said
    assert site.client.run("ping", "-c", "3", TARGET).code == 0


def test_what_cannot_be_loaded_takes_its_credentials_along(site: Site, files: Path) -> None:
    """A broken connection beside them: neither certificate nor key is left on the host."""
    before = site.tunnels()
    broken = wished("gateway", files)
    broken["gateway_connections"]["rw"]["remote_adrs"] = "192.0.2.2"
    run = site.ansible.play("vici_mif.ipsec.gateways", **broken)

    assert run.code != 0
    assert "The configuration from before is in force again." in run.failures(GATEWAY)
    assert site.gateway.run("test", "-e", PRIVATE.format("gateway")).code == 1
    assert site.gateway.run("test", "-e", "/etc/swanctl/x509ca/ca.pem").code == 1
    assert site.tunnels() == before
