# SPDX-License-Identifier: Apache-2.0
"""Newer packages: what happens without permission, and with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ansible.debs import newer, wanted
from tests.ansible.hosts import Host, pings
from tests.ansible.rollout import CLIENT, GATEWAY, TARGET
from tests.ansible.site import Site

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def packages(debs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same packages with a later version."""
    return newer(debs, tmp_path_factory.mktemp("newer") / "packages", wanted())


def version(host: Host) -> str:
    return host.run("dpkg-query", "-W", "-f", "${Version}", "charon-systemd", check=True).out


def spis(site: Site) -> set[str]:
    """Of all IKE SAs and CHILD SAs at the gateway."""
    return {word for word in site.tunnels()[0].split() if "spi" in word}


def test_without_permission_a_newer_package_waits(site: Site, packages: Path) -> None:
    """The run says so, and changes nothing: the tunnels and the packages are the same."""
    before, installed = site.tunnels(), version(site.client)
    with pings(site.client, TARGET) as counted:
        run = site.ansible.play("vici_mif.ipsec.clients", client_packages=str(packages))

    said = run.task(CLIENT, "Say what waits for permission")["msg"]
    assert (run.code, run.changed(CLIENT)) == (0, [])
    assert "charon-systemd" in said
    assert (site.tunnels(), version(site.client)) == (before, installed)
    assert counted["received"] == counted["sent"]


def test_a_drained_client_gets_a_newer_package(site: Site, packages: Path) -> None:
    """Its tunnels are closed in good order before, and come back with one authentication."""
    spis_before, installed = spis(site), version(site.client)
    run = site.ansible.play(
        "vici_mif.ipsec.clients", client_packages=str(packages), client_upgrade=True
    )
    again = site.ansible.play(
        "vici_mif.ipsec.clients", client_packages=str(packages), client_upgrade=True
    )
    closed = site.gateway.run("journalctl", "-u", "strongswan", "--no-pager").out

    assert run.code == 0, run.text
    assert version(site.client) == f"{installed}.1"
    assert closed.count("received DELETE for IKE_SA rw") >= 3
    # the gateway has one family: nothing of the old one waited for a timeout
    assert [f["identity"] for f in site.info(GATEWAY)["families"]] == ["branch1.example.org"]
    assert spis(site).isdisjoint(spis_before)
    assert (again.code, again.changed(CLIENT)) == (0, [])
    assert site.status()["orders"] == []
    assert site.client.run("ping", "-c", "3", TARGET).code == 0


def test_a_gateway_waits_until_its_clients_are_back(site: Site, packages: Path) -> None:
    """charon is started anew; the run ends well when the family from before is there again."""
    spis_before, installed = spis(site), version(site.gateway)
    run = site.ansible.play(
        "vici_mif.ipsec.gateways", gateway_packages=str(packages), gateway_upgrade=True
    )

    assert run.code == 0, run.text
    assert version(site.gateway) == f"{installed}.1"
    assert [f["identity"] for f in site.info(GATEWAY)["families"]] == ["branch1.example.org"]
    assert spis(site).isdisjoint(spis_before)
    assert "charon-systemd" in site.gateway.run("apt-mark", "showhold").out
