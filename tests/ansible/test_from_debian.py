# SPDX-License-Identifier: Apache-2.0
"""Hosts with nothing but Debian's own packages, and the way from there to ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.hosts import Host, link, unreached
from tests.ansible.plays import Ansible
from tests.ansible.rollout import CLIENT, GATEWAY, LINKS, TARGET, VAULT, inventory
from tests.ansible.site import INFO, Site
from tests.namespace import eventually

# eth0 is the engine's own, for packages
UPLINKS = dict(zip(("wan0", "wan1"), LINKS.values(), strict=True))
STOCK = {"gateway_packages": "", "client_packages": ""}


@pytest.fixture(scope="module")
def stock(
    engine: Any, image: str, wheels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """README's gateway and client, rolled out without packages of ours."""
    directory = tmp_path_factory.mktemp("stock")
    (directory / "wheels").symlink_to(wheels)
    hosts: list[Host] = []
    try:
        for name in (GATEWAY, CLIENT):
            host = Host(engine, f"ansible-stock-{name}-{os.getpid()}", image, network="bridge")
            hosts.append(host)
        gateway, client = hosts
        for number, (interface, net) in enumerate(UPLINKS.items()):
            link(((client, interface, f"{net}.2/24"), (gateway, f"up{number}", f"{net}.1/24")))
        gateway.run("ip", "address", "add", f"{TARGET}/32", "dev", "lo", check=True)
        for host in hosts:
            host.boot()
            # not copied again by the role, and that saves a minute each
            host.bring("/var/cache/vici-mif/wheels", wheels.glob("*.whl"))
        groups = inventory({GATEWAY: gateway.name, CLIENT: client.name})
        groups["clients"]["vars"]["client_controller"]["connections"]["hq"]["links"] = [*UPLINKS]
        ansible = Ansible(directory, groups, VAULT)
        ansible.install()
        first = ansible.roll_out(**STOCK)
        for run in first.values():
            if run.code and (line := unreached(run.text)):
                pytest.skip(f"Debian's archive cannot be reached from a container: {line}")
        yield Site(ansible, gateway, client, first)
    finally:
        for host in hosts:
            host.remove()


def held(host: Host) -> list[str]:
    return host.run("apt-mark", "showhold", check=True).out.split()


def test_debians_charon_carries_one_tunnel(stock: Site) -> None:
    """Without packages of ours: one authentication, one tunnel; a second run changes nothing."""
    for run in stock.first.values():
        assert run.code == 0, run.text
    peer = stock.status()["peers"][0]
    assert (peer["state"], peer["mode"]) == ("up", "single")
    assert stock.info(GATEWAY)["patched"] is False
    assert stock.client.run("ping", "-c", "3", TARGET).code == 0
    # their security updates are Debian's
    assert (held(stock.gateway), held(stock.client)) == ([], [])
    before = stock.tunnels()
    again = stock.ansible.roll_out(**STOCK)
    assert [run.code for run in again.values()] == [0, 0], again
    assert again["gateways"].changed(GATEWAY) == again["clients"].changed(CLIENT) == []
    assert stock.tunnels() == before


@pytest.mark.long
def test_from_debians_charon_to_ours(stock: Site, debs: Path) -> None:
    """With packages and permission there are two clones more, from the same files."""
    (stock.ansible.directory / "packages").symlink_to(debs)
    waits = stock.ansible.play("vici_mif.ipsec.gateways")
    assert (waits.code, waits.changed(GATEWAY)) == (0, [])
    assert "charon-systemd" in waits.task(GATEWAY, "Say what waits for permission")["msg"]

    files = stock.gateway.read("/etc/swanctl/conf.d/vici-mif.conf")
    for name, run in stock.ansible.roll_out(gateway_upgrade=True, client_upgrade=True).items():
        assert run.code == 0, f"{name}: {run.text}"
    assert stock.gateway.read("/etc/swanctl/conf.d/vici-mif.conf") == files
    assert stock.ansible.module(GATEWAY, INFO).task(GATEWAY, "it")["patched"] is True
    assert "charon-systemd" in held(stock.gateway)
    eventually(lambda: stock.status()["peers"][0]["mode"] == "per-path", 90)
    eventually(lambda: stock.status()["peers"][0]["state"] == "up", 90)
    assert stock.client.run("ping", "-c", "3", TARGET).code == 0
