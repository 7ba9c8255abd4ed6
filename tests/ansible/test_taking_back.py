# SPDX-License-Identifier: Apache-2.0
"""What a run that fails leaves: the files from before, as they were, and nothing beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.hosts import Host, pings
from tests.ansible.plays import Run
from tests.ansible.rollout import CLIENT, TARGET
from tests.ansible.site import Site
from tests.ansible.test_rollout import wished
from tests.namespace import eventually

pytestmark = pytest.mark.long

SWANCTL = "/etc/swanctl/conf.d/"
MODES = {
    "/etc/strongswan.d/vici-mif.conf": "640 root vici-mif",
    f"{SWANCTL}vici-mif.conf": "640 root vici-mif",
    f"{SWANCTL}vici-mif-secrets.conf": "400 nobody root",
}
"""What an operator or an older role has made of them."""
RULES = re.compile(r"^1[56]\d:.*\n", re.MULTILINE)
LTE = """\
connections {
  hq-lte {
    version = 2
    local_addrs = 198.51.100.2
    remote_addrs = 198.51.100.1
    vips = 0.0.0.0
    local {
      auth = psk
      id = branch1.example.org
    }
    remote {
      auth = psk
      id = gateway.example.org
    }
    children {
      net {
        remote_ts = 10.100.0.0/24
      }
    }
  }
}
"""
"""A file of the operator's: another connection to the same gateway, that the roles do not know.

The gateway has an address in its network, as 5.9.8 lays no route over kernel-libipsec else."""


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


@pytest.fixture
def bare(site: Site) -> Iterator[Host]:
    """The client without a controller; afterwards with it again."""
    client = site.client
    client.run("systemctl", "disable", "--now", "vici-mif", check=True)
    client.run("vici-mif", "down", check=True)
    client.run("vici-mif", "up")
    client.run("rm", "/etc/vici-mif/config.yaml", check=True)
    try:
        yield client
    finally:
        run = site.ansible.play("vici_mif.ipsec.clients")
        assert run.code == 0, run.text
        # a tunnel that was open before was given one inner address
        client.run("vici-mif", "peer", "revoke", "hq")
        eventually(site.settled, 90)


def ours(host: Host) -> str:
    """Tables, rules and routes of the controller in the kernel, and orders that wait for it."""
    tables = host.run("nft", "list", "tables", check=True).out
    rules = RULES.findall(host.run("ip", "rule", check=True).out)
    routes = host.run("ip", "route", "show", "table", "all", "proto", "77", check=True).out
    orders = json.loads(host.read("/var/lib/vici-mif/orders.json"))["orders"]
    return tables + "".join(rules) + routes + "".join(order["kind"] for order in orders)


def closed(run: Run) -> bool:
    """Whether `vici-mif down` was come to."""
    return any(result.task.endswith(" : Let it leave nothing") for result in run.results[CLIENT])


@pytest.fixture
def open_before(bare: Host, tmp_path: Path) -> Iterator[list[str]]:
    """Connections that are open there without a controller."""
    (tmp_path / "lte.conf").write_text(LTE)
    bare.bring(SWANCTL, [tmp_path / "lte.conf"])
    try:
        bare.run("swanctl", "--load-all", "--noprompt", check=True)
        for name in ("hq", "hq-lte"):
            bare.run("swanctl", "--initiate", "--ike", name, "--child", "net", check=True)
        yield ["hq", "hq-lte"]
    finally:
        bare.run("swanctl", "--terminate", "--ike", "hq-lte")
        bare.run("rm", f"{SWANCTL}lte.conf")
        bare.run("swanctl", "--load-all", "--noprompt")


def test_a_first_controller_leaves_nothing(site: Site, bare: Host, open_before: list[str]) -> None:
    """One of its peers is nobody: the tunnels from before are back, also the one that the other
    has in `authenticate`, and nothing is in their way."""
    controller, more = wished("client", "controller"), wished("client", "connections")
    controller["connections"]["other"] = controller["connections"]["hq"]
    parts = {"without_clone": "authenticate", "authenticate": open_before}
    controller["connections"]["hq"] = {**controller["connections"]["hq"], **parts}
    more["other"] = {**more["hq"], "children": {"net": {"remote_ts": "10.101.0.0/16"}}}
    more["other"]["remote"] = {"auth": "psk", "id": "nobody.example.org"}
    run = site.ansible.play(
        "vici_mif.ipsec.clients",
        client_controller=controller,
        client_connections=more,
        client_gate_retries=5,
    )

    assert "Wait for the paths: " in run.failures(CLIENT)
    assert run.failures(CLIENT).strip().endswith("The configuration from before is in force again.")
    assert ours(bare) == ""
    assert bare.run("test", "-e", "/etc/vici-mif/config.yaml").code == 1
    assert bare.run("systemctl", "is-enabled", "vici-mif").out.strip() == "disabled"
    tunnels = site.info(CLIENT)["tunnels"]
    assert sorted(tunnel["connection"] for tunnel in tunnels) == open_before
    assert not any(tunnel["cloned"] for tunnel in tunnels)
    assert bare.run("ping", "-c", "3", TARGET).code == 0
    assert closed(run)


@pytest.fixture
def halted(bare: Host) -> Iterator[Host]:
    """No charon runs, and none can be started."""
    bare.run("systemctl", "stop", "strongswan", check=True)
    bare.run("systemctl", "mask", "strongswan", check=True)
    try:
        yield bare
    finally:
        bare.run("systemctl", "unmask", "strongswan", check=True)


def test_a_charon_that_does_not_run_is_not_asked(site: Site, halted: Host) -> None:
    """As on a host that is new: the mark names what was wrong, and the files are back. The
    controller was not started yet, and so it has nothing to close."""
    file = f"{SWANCTL}vici-mif.conf"
    before = halted.read(file)
    more = wished("client", "connections")
    more["hq"]["dpd_delay"] = "30s"
    run = site.ansible.play("vici_mif.ipsec.clients", client_connections=more)

    assert "Let charon run: " in run.failures(CLIENT)
    assert "masked" in run.failures(CLIENT)
    assert "The configuration from before is in force again." in run.failures(CLIENT)
    assert "Write what the controller is to do" in " ".join(run.changed(CLIENT))
    assert halted.run("test", "-e", "/etc/vici-mif/config.yaml").code == 1
    assert not closed(run)
    assert halted.read(file) == before
    assert halted.run("sh", "-c", f"ls {SWANCTL} | grep -c '~'").out.strip() == "0"


@pytest.fixture
def away(site: Site) -> Iterator[None]:
    """The gateway is in maintenance."""
    site.gateway.run("systemctl", "stop", "strongswan", check=True)
    try:
        eventually(lambda: site.status()["peers"][0]["state"] == "down", 60)
        yield
    finally:
        site.gateway.run("systemctl", "start", "strongswan", check=True)
        site.ansible.play("vici_mif.ipsec.clients")
        eventually(site.settled, 120)


def test_a_peer_that_was_down_may_stay_so(site: Site, away: None) -> None:
    """What has nothing to do with it stays changed, and the run says who is away; a second peer
    that does not come up is worse than before."""
    controller, more = wished("client", "controller"), wished("client", "connections")
    controller["connections"]["hq"]["hold_down"] = "7s"
    changed = site.ansible.play("vici_mif.ipsec.clients", client_controller=controller)
    file = site.client.read("/etc/vici-mif/config.yaml")
    controller["connections"]["other"] = controller["connections"]["hq"]
    more["other"] = more["hq"]
    second = site.ansible.play(
        "vici_mif.ipsec.clients",
        client_controller=controller,
        client_connections=more,
        client_gate_retries=5,
    )

    assert changed.code == 0, changed.text
    assert changed.task(CLIENT, "Say which are not up, as before")["msg"].startswith("hq: ")
    assert "7s" in file
    assert "peer other " in second.failures(CLIENT)
    assert site.client.read("/etc/vici-mif/config.yaml") == file
