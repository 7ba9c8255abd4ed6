# SPDX-License-Identifier: Apache-2.0
"""Variables and tags that README's inventory does not use."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.ansible.hosts import Host, pings
from tests.ansible.plays import Run
from tests.ansible.rollout import CLIENT, GATEWAY, SETTINGS, TARGET
from tests.ansible.site import Site
from tests.ansible.test_rollout import FILES, wished
from tests.namespace import eventually

pytestmark = pytest.mark.long

CONTROLLER = {"version": 1, "gateway": {"connections": ["rw"], "source_check": "count"}}


@pytest.fixture
def watched(site: Site) -> Iterator[Run]:
    """The gateway with a controller beside its charon; afterwards without, as before."""
    try:
        yield site.ansible.play("vici_mif.ipsec.gateways", gateway_controller=CONTROLLER)
    finally:
        site.gateway.run("systemctl", "disable", "--now", "vici-mif.service")
        site.gateway.run("vici-mif", "down")
        site.gateway.run("rm", "-f", "/etc/vici-mif/config.yaml")


def gateway_of(site: Site) -> dict[str, Any]:
    """The part of the gateway's status about those that came."""
    found = json.loads(site.gateway.run("vici-mif", "status", "--json").out)["gateway"]
    assert isinstance(found, dict)
    return found


def test_a_gateway_with_a_controller_shows_its_families(site: Site, watched: Run) -> None:
    """Started, enabled, and in force; a second run changes nothing, and no run stops it."""
    before = site.tunnels()
    assert watched.code == 0, watched.text
    with pings(site.client, TARGET) as counted:
        eventually(lambda: gateway_of(site)["families"] != [], 30)
        told = gateway_of(site)
        again = site.ansible.play("vici_mif.ipsec.gateways", gateway_controller=CONTROLLER)
        without = site.ansible.play("vici_mif.ipsec.gateways")

    (family,) = told["families"]
    assert family["identity"] == "branch1.example.org"
    assert family["tunnels"] == len(site.info(GATEWAY)["tunnels"])
    assert (told["sources"]["mode"], told["sources"]["why"]) == ("count", "")
    assert (again.changed(GATEWAY), without.changed(GATEWAY)) == ([], [])
    for state in ("is-active", "is-enabled"):
        assert site.gateway.run("systemctl", state, "vici-mif.service").code == 0
    assert site.tunnels() == before
    assert counted["received"] == counted["sent"]


def ran(run: Run) -> set[str]:
    """Names of tasks, without their roles."""
    return {result.task.rpartition(" : ")[2] for result in run.results[GATEWAY]}


def test_only_the_configuration(site: Site) -> None:
    """By tags: nothing is installed nor looked for; loaded, and taken back where it is broken."""
    before, files = site.tunnels(), [site.gateway.read(file) for file in FILES["gateway"]]
    tags = ("--tags", "gateway_configure,gateway_run")
    more = wished("gateway", "connections")
    more["rw2"] = {**more["rw"], "pools": "rw2"}
    pools = wished("gateway", "pools") | {"rw2": {"addrs": "10.223.0.0/24"}}
    run = site.ansible.play(
        "vici_mif.ipsec.gateways", *tags, gateway_connections=more, gateway_pools=pools
    )
    loaded = site.connections()
    more["rw2"]["remote_adrs"] = "192.0.2.2"
    broken = site.ansible.play("vici_mif.ipsec.gateways", *tags, gateway_connections=more)
    kept = site.connections()
    back = site.ansible.play("vici_mif.ipsec.gateways", *tags)

    assert (run.code, back.code) == (0, 0), run.text + back.text
    assert ran(run).isdisjoint(
        {"Install what the controller needs", "Write the systemd units", "See what is held back"}
    )
    assert loaded == kept == ["rw", "rw2"]
    assert "The configuration from before is in force again." in broken.failures(GATEWAY)
    assert site.connections() == ["rw"]
    assert [site.gateway.read(file) for file in FILES["gateway"]] == files
    assert site.tunnels() == before


def test_only_the_programs(site: Site) -> None:
    """By its tag: what is wished of the configuration waits."""
    more = wished("gateway", "connections")
    more["rw2"] = more["rw"]
    run = site.ansible.play(
        "vici_mif.ipsec.gateways", "--tags", "gateway_install", gateway_connections=more
    )

    assert (run.code, run.changed(GATEWAY)) == (0, [])
    assert "See what is held back" in ran(run)
    assert "Write connections and pools" not in ran(run)
    assert site.connections() == ["rw"]


PASSWORD = "c0rrect-h0rse"


def test_passwords_in_settings_are_not_shown(site: Site) -> None:
    """Of a RADIUS server, and as the argument of a hook: in no difference, nor to other users."""
    before = site.tunnels()
    settings = {"plugins": {**SETTINGS["plugins"], "eap-radius": {"secret": PASSWORD}}}
    controller = wished("client", "controller")
    controller["daemon"] = {"hooks": {"on_path_change": f"/bin/true {PASSWORD}"}}
    gateways = site.ansible.play("vici_mif.ipsec.gateways", "--diff", gateway_settings=settings)
    clients = site.ansible.play("vici_mif.ipsec.clients", "--diff", client_controller=controller)
    back = site.ansible.roll_out("--diff")

    assert "Write the settings of charon" in " ".join(gateways.changed(GATEWAY))
    assert gateways.task(GATEWAY, "Let charon read strongswan.conf again")["rc"] == 0
    assert "Write what the controller is to do" in " ".join(clients.changed(CLIENT))
    for run in (gateways, clients, *back.values()):
        assert run.code == 0, run.text
        assert PASSWORD not in run.text
    for host, path in (
        (site.gateway, "/etc/strongswan.d/vici-mif.conf"),
        (site.client, "/etc/vici-mif/config.yaml"),
    ):
        assert host.run("stat", "-c", "%a %U", path).out.split() == ["600", "root"]
    assert site.tunnels() == before


MARTIANS = "net.ipv4.conf.all.log_martians"
SYSCTL_FILE = "/etc/sysctl.d/60-vici-mif.conf"


def kernel(host: Host, key: str = MARTIANS) -> str:
    return host.run("sysctl", "--values", key, check=True).out.strip()


@pytest.fixture
def settable(site: Site) -> Iterator[Host]:
    """The gateway's kernel takes settings, which an engine keeps from its containers."""
    enter = ("nsenter", "--target", str(site.gateway.pid), "--mount", "mount", "-o")
    subprocess.run([*enter, "remount,bind,rw", "/proc/sys"], check=True)
    before = kernel(site.gateway)
    try:
        yield site.gateway
    finally:
        site.gateway.run("sysctl", "--write", f"{MARTIANS}={before}")
        subprocess.run([*enter, "remount,bind,ro", "/proc/sys"], check=True)
        site.ansible.play("vici_mif.ipsec.gateways")


def test_settings_of_the_kernel(site: Site, settable: Host) -> None:
    """Written and in force, once; a run that fails takes them back, its patterns too."""
    before, loose = site.tunnels(), kernel(settable, "net.ipv4.conf.up0.rp_filter")
    wish: dict[str, Any] = {"net.ipv4.ip_forward": 1, MARTIANS: 1}
    run = site.ansible.play("vici_mif.ipsec.gateways", gateway_sysctl=wish)
    again = site.ansible.play("vici_mif.ipsec.gateways", gateway_sysctl=wish)
    file, value = settable.read(SYSCTL_FILE), kernel(settable)
    broken = wished("gateway", "connections")
    broken["rw"]["remote_adrs"] = "192.0.2.2"
    other = {MARTIANS: 0, "net.ipv4.conf.up*.rp_filter": 1 if loose != "1" else 2}
    failed = site.ansible.play(
        "vici_mif.ipsec.gateways", gateway_sysctl=other, gateway_connections=broken
    )

    assert (run.code, again.code) == (0, 0), run.text + again.text
    assert "Write the settings of the kernel" in " ".join(run.changed(GATEWAY))
    assert file.splitlines()[-2:] == ["net.ipv4.ip_forward = 1", f"{MARTIANS} = 1"]
    assert (again.changed(GATEWAY), value) == ([], "1")
    assert failed.task(GATEWAY, "Apply the kernel's settings")["rc"] == 0
    assert "The configuration from before is in force again." in failed.failures(GATEWAY)
    assert settable.read(SYSCTL_FILE) == file
    assert (kernel(settable), kernel(settable, "net.ipv4.conf.up0.rp_filter")) == ("1", loose)
    assert site.tunnels() == before
