# SPDX-License-Identifier: Apache-2.0
"""What a run that fails leaves: the files from before, as they were, and nothing beside them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ansible.hosts import Host, pings
from tests.ansible.rollout import CLIENT, TARGET
from tests.ansible.site import Site
from tests.ansible.test_rollout import wished

pytestmark = pytest.mark.long

SWANCTL = "/etc/swanctl/conf.d/"
MODES = {
    "/etc/strongswan.d/vici-mif.conf": "640 root vici-mif",
    f"{SWANCTL}vici-mif.conf": "640 root vici-mif",
    f"{SWANCTL}vici-mif-secrets.conf": "400 nobody root",
}
"""What an operator or an older role has made of them."""


def mode(host: Host, path: str) -> str:
    return host.run("stat", "-c", "%a %U %G", path, check=True).out.strip()


def refused() -> dict[str, Any]:
    """What `vici-mif check` does not let pass, after charon's files are written."""
    broken: dict[str, Any] = wished("client", "controller")
    broken["connections"]["hq"]["linkz"] = ["eth0"]
    return broken


def test_a_file_of_another_mode_is_kept(site: Site) -> None:
    """Two have the same content, one has another: all are there again, as they were."""
    before = site.tunnels()
    for path, wanted in MODES.items():
        bits, owner, group = wanted.split()
        site.client.run("chown", f"{owner}:{group}", path, check=True)
        site.client.run("chmod", bits, path, check=True)
    files = [site.client.read(path) for path in MODES]
    more = wished("client", "connections")
    more["hq"]["dpd_delay"] = "30s"
    with pings(site.client, TARGET) as counted:
        run = site.ansible.play(
            "vici_mif.ipsec.clients", client_controller=refused(), client_connections=more
        )
        left = {path: mode(site.client, path) for path in MODES}
        contents = [site.client.read(path) for path in MODES]
        loaded = site.client.run("swanctl", "--list-conns", check=True).out
        again = site.ansible.play("vici_mif.ipsec.clients")

    assert "Write what the controller is to do" in run.failures(CLIENT)
    assert "Write secrets" in " ".join(run.changed(CLIENT))
    assert (left, contents) == (MODES, files)
    assert "hq: IKEv2" in loaded
    assert again.code == 0, again.text
    assert mode(site.client, f"{SWANCTL}vici-mif-secrets.conf") == "600 root root"
    assert site.tunnels() == before
    assert counted["received"] == counted["sent"]
