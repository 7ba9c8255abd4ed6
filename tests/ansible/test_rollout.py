# SPDX-License-Identifier: Apache-2.0
"""Roles and modules on real hosts: what they change, and what keeps running meanwhile."""

from __future__ import annotations

import copy
import shlex
from typing import Any

import pytest

from tests import readme
from tests.ansible.hosts import pings
from tests.ansible.plays import Run
from tests.ansible.rollout import CLIENT, GATEWAY, TARGET, VAULT, commands, inventory
from tests.ansible.site import Site
from tests.namespace import eventually

FILES = {
    "gateway": ["/etc/swanctl/conf.d/vici-mif.conf", "/etc/strongswan.d/vici-mif.conf"],
    "client": ["/etc/swanctl/conf.d/vici-mif.conf", "/etc/vici-mif/config.yaml"],
}


def wished(role: str, name: str) -> Any:
    """A variable as README has it, to be changed."""
    return copy.deepcopy(inventory()[f"{role}s"]["vars"][f"{role}_{name}"])


def test_the_first_run_converges(site: Site) -> None:
    """One authentication, a tunnel on each link, and the network behind the gateway answers."""
    for run in site.first.values():
        assert run.code == 0, run.text
    eventually(site.settled, 60)
    peer = site.status()["peers"][0]

    assert (peer["state"], peer["mode"], peer["authentications"]) == ("up", "per-path", 1)
    assert {path["name"]: path["state"] for path in peer["paths"]} == {
        "eth0/192.0.2.1": "active",
        "eth1/198.51.100.1": "active",
    }
    assert site.client.run("ping", "-c", "3", TARGET).code == 0


def test_the_second_run_changes_nothing(site: Site) -> None:
    """changed=0; the tunnels are the same ones, and no packet is lost meanwhile."""
    eventually(site.settled, 60)
    before = site.tunnels()
    with pings(site.client, TARGET) as counted:
        runs = site.ansible.roll_out()

    assert [run.code for run in runs.values()] == [0, 0], runs
    assert runs["gateways"].changed(GATEWAY) == []
    assert runs["clients"].changed(CLIENT) == []
    assert site.tunnels() == before
    assert counted["sent"] > 50
    assert counted["received"] == counted["sent"]


@pytest.mark.long
def test_a_change_is_loaded_without_a_restart(site: Site) -> None:
    """Connections, limits and the controller's file change; no tunnel and no packet is lost."""
    before, pids = site.tunnels(), site.pids()
    more = wished("gateway", "connections")
    more["rw2"] = {**more["rw"], "pools": "rw2"}
    pools = wished("gateway", "pools") | {"rw2": {"addrs": "10.223.0.0/24"}}
    controller = wished("client", "controller")
    controller["connections"]["hq"]["hold_down"] = "7s"
    with pings(site.client, TARGET) as counted:
        gateways = site.ansible.play(
            "vici_mif.ipsec.gateways",
            gateway_connections=more,
            gateway_pools=pools,
            gateway_clone_ike_sa={"max_clones": 6},
        )
        clients = site.ansible.play("vici_mif.ipsec.clients", client_controller=controller)
        loaded = site.connections()
        back = site.ansible.roll_out()

    assert (gateways.code, clients.code) == (0, 0), gateways.text + clients.text
    assert loaded == ["rw", "rw2"]
    assert back["gateways"].changed(GATEWAY) != []
    assert site.connections() == ["rw"]
    assert (site.tunnels(), site.pids()) == (before, pids)
    assert counted["received"] == counted["sent"]


@pytest.mark.long
def test_check_mode_tells_and_does_nothing(site: Site) -> None:
    """--check --diff shows the lines that would change, no secret, and changes nothing."""
    more = wished("client", "connections")
    more["hq"]["dpd_delay"] = "30s"
    files = [site.client.read(file) for file in FILES["client"]]
    run = site.ansible.play(
        "vici_mif.ipsec.clients",
        "--check",
        "--diff",
        client_connections=more,
        vault_secret="an-0ther-secret",
    )

    assert run.code == 0, run.text
    assert [task.rpartition(" : ")[2] for task in run.changed(CLIENT)] == [
        "Write connections and pools",
        "Write secrets",
    ]
    (shown,) = run.task(CLIENT, "Write connections and pools")["diff"]
    assert 'dpd_delay = "30s"' in shown["after"]
    assert "dpd_delay" not in shown["before"]
    assert "an-0ther-secret" not in run.text
    assert VAULT["vault_secret"] not in run.text
    assert [site.client.read(file) for file in FILES["client"]] == files


@pytest.mark.long
def test_what_charon_refuses_is_taken_back(site: Site) -> None:
    """A broken connection: the old files are back, the host has failed, no tunnel has dropped."""
    before, pids = site.tunnels(), site.pids()
    files = [site.gateway.read(file) for file in FILES["gateway"]]
    broken = wished("gateway", "connections")
    broken["rw"]["remote_adrs"] = "192.0.2.2"
    with pings(site.client, TARGET) as counted:
        run = site.ansible.play(
            "vici_mif.ipsec.gateways",
            gateway_connections=broken,
            gateway_clone_ike_sa={"max_clones": 2},
        )

    assert run.code != 0
    assert "Let charon load what swanctl has" in run.failures(GATEWAY)
    assert "The configuration from before is in force again." in run.failures(GATEWAY)
    assert [site.gateway.read(file) for file in FILES["gateway"]] == files
    assert (site.tunnels(), site.pids()) == (before, pids)
    assert counted["received"] == counted["sent"]
    again = site.ansible.play("vici_mif.ipsec.gateways")
    assert (again.code, again.changed(GATEWAY)) == (0, [])


@pytest.mark.long
def test_what_the_controller_refuses_is_never_written(site: Site) -> None:
    """`vici-mif check` names the line before the old file is replaced; other files come back."""
    before = site.tunnels()
    files = [site.client.read(file) for file in FILES["client"]]
    broken = wished("client", "controller")
    broken["connections"]["hq"]["linkz"] = ["eth0"]
    more = wished("client", "connections")
    more["hq"]["dpd_delay"] = "30s"
    run = site.ansible.play(
        "vici_mif.ipsec.clients", client_controller=broken, client_connections=more
    )

    assert run.code != 0
    assert "Write what the controller is to do" in run.failures(CLIENT)
    assert "linkz" in run.failures(CLIENT)
    assert [site.client.read(file) for file in FILES["client"]] == files
    assert site.tunnels() == before


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "value"),
    [("links", ["eth0", "eth9"]), ("children", ["nett"])],
    ids=["a link that is not there", "a child that charon has not"],
)
def test_what_brings_no_tunnel_is_taken_back(site: Site, key: str, value: list[str]) -> None:
    """charon and the controller take it, the gate does not: it is as before, and none was lost.

    Tried with a link that is missing, a configuration wants a tunnel less, and one of the two
    without a home is closed if the gate takes longer than `SURPLUS_DELAY`: a spare.
    """
    before, pids = site.homes(), site.pids()
    files = [site.client.read(file) for file in FILES["client"]]
    controller, more = wished("client", "controller"), wished("client", "connections")
    controller["connections"]["hq"][key] = value
    more["hq"]["dpd_delay"] = "30s"
    with pings(site.client, TARGET) as counted:
        run = refused(site, client_controller=controller, client_connections=more)
        eventually(lambda: states(site) == {"active"}, 30)

    said = run.failures(CLIENT)
    assert "Wait for the paths: " in said
    assert "peer hq " in said
    assert value[-1] in said
    assert [site.client.read(file) for file in FILES["client"]] == files
    assert (site.homes(), site.pids()) == (before, pids)
    assert counted["received"] == counted["sent"] > 100
    again = site.ansible.play("vici_mif.ipsec.clients")
    assert (again.code, again.changed(CLIENT)) == (0, [])


@pytest.mark.long
def test_a_family_that_does_not_come_back_is_taken_back(site: Site) -> None:
    """The peer by another name, as somebody who is not there: the old one authenticates again."""
    pids = site.pids()
    files = [site.client.read(file) for file in FILES["client"]]
    controller, other = wished("client", "controller"), wished("client", "connections")
    controller["connections"]["other"] = controller["connections"].pop("hq")
    other["other"] = other.pop("hq")
    other["other"]["remote"]["id"] = "nobody.example.org"
    run = refused(site, client_controller=controller, client_connections=other)

    said = run.failures(CLIENT)
    assert "Wait for the tunnels: " in said
    assert "without a tunnel: gateway.example.org" in said
    assert [site.client.read(file) for file in FILES["client"]] == files
    eventually(lambda: states(site) == {"active"}, 30)
    assert [peer["name"] for peer in site.status()["peers"]] == ["hq"]
    assert [f["identity"] for f in site.info(CLIENT)["families"]] == ["gateway.example.org"]
    assert site.client.run("ping", "-c", "3", TARGET).code == 0
    assert site.pids() == pids


def refused(site: Site, **extra: Any) -> Run:
    """A client's run that loads everything, and that only the gate ends."""
    run = site.ansible.play("vici_mif.ipsec.clients", client_gate_retries=5, **extra)
    assert run.code != 0
    assert run.stats[CLIENT]["failures"] == 1
    for task in ("Let charon load what swanctl has", "Let the controller read its file again"):
        assert run.task(CLIENT, task)["rc"] == 0
    assert "The configuration from before is in force again." in run.failures(CLIENT)
    return run


def states(site: Site) -> set[str]:
    """In which states the paths of the client's first peer are."""
    return {path["state"] for path in site.status()["peers"][0]["paths"]}


@pytest.mark.long
def test_a_failure_leaves_the_other_hosts_alone(site: Site) -> None:
    """One host after the other: the second gateway is not even connected to."""
    with site.ansible.another("gateways", "gw2"):
        run = site.ansible.play("vici_mif.ipsec.gateways", gateway_security_updates="perhaps")

    assert run.stats[GATEWAY]["failures"] == 1
    assert "gw2" not in run.stats


@pytest.mark.long
def test_facts_of_charon(site: Site) -> None:
    """What vici_info says of the gateway and of the client is what charon says."""
    gateway, client = site.info(GATEWAY), site.info(CLIENT)
    said = site.gateway.run("swanctl", "--version").out

    assert gateway["patched"] is True
    assert gateway["version"] in said
    assert [f["identity"] for f in gateway["families"]] == ["branch1.example.org"]
    assert [f["identity"] for f in client["families"]] == ["gateway.example.org"]
    assert sorted(t["spis"] for t in gateway["tunnels"]) == sorted(
        t["spis"] for t in client["tunnels"]
    )
    assert [t["cloned"] for t in client["tunnels"]].count(False) == 1
    assert (
        site.ansible.module(GATEWAY, "vici_mif.ipsec.vici_info", socket="/run/nobody").task(
            GATEWAY, "it"
        )["why"]
        == "/run/nobody: No such file or directory"
    )


@pytest.mark.long
def test_a_path_is_drained_and_used_again(site: Site) -> None:
    """Idempotent, truthful in check mode, and without a lost packet."""
    with pings(site.client, TARGET) as counted:
        told = site.path("--check", "--diff", path="eth1", state="drained")
        assert site.status()["orders"] == []
        drained = site.path(path="eth1", state="drained")
        again = site.path(path="eth1", state="drained")
        orders = site.status()["orders"]
        used = site.path(path="eth1")
        still = site.path(path="eth1")

    assert told.task(CLIENT, "it")["diff"] == {"before": "", "after": "drain  eth1\n"}
    assert [run.task(CLIENT, "it")["changed"] for run in (told, drained, again, used, still)] == [
        True, True, False, True, False,
    ]  # fmt: skip
    assert [path["state"] for path in drained.task(CLIENT, "it")["paths"]] == ["drained"]
    assert [(o["kind"], o["path"]) for o in orders] == [("drain", "eth1")]
    assert site.status()["orders"] == []
    assert counted["received"] == counted["sent"]


@pytest.mark.long
def test_a_path_that_is_configured_is_not_absent(site: Site) -> None:
    """It says what is in the way; one that was taken out is absent, and its orders are gone."""
    there = site.path(path="eth1", state="absent", timeout=1)
    site.path(path="eth1", state="drained")
    less = wished("client", "controller")
    less["connections"]["hq"] |= {"links": ["eth0"], "remotes": {"use": ["192.0.2.1"]}}
    taken = site.ansible.play("vici_mif.ipsec.clients", client_controller=less)
    gone = site.path(path="eth1", state="absent")
    again = site.path(path="eth1", state="absent")
    orders = site.status()["orders"]
    back = site.ansible.play("vici_mif.ipsec.clients")

    assert "still configured or in use: eth1/198.51.100.1" in there.failures(CLIENT)
    assert taken.code == 0, taken.text
    assert gone.task(CLIENT, "it")["changed"] is True
    assert again.task(CLIENT, "it")["changed"] is False
    assert orders == []
    assert back.code == 0, back.text
    assert states(site) == {"active"}


@pytest.mark.long
def test_held_back_or_giving_way(site: Site) -> None:
    """Debian's next security update finds the packages held, or not."""
    held = site.gateway.run("apt-mark", "showhold").out.split()
    site.ansible.play("vici_mif.ipsec.gateways", gateway_security_updates="give_way")
    given = site.gateway.run("apt-mark", "showhold").out.split()
    site.ansible.play("vici_mif.ipsec.gateways")

    assert {"charon-systemd", "strongswan-libcharon", "libstrongswan"} <= set(held)
    assert given == []
    assert site.gateway.run("apt-mark", "showhold").out.split() == held


@pytest.mark.long
@pytest.mark.parametrize(
    "line", dict.fromkeys([*readme.commands("Roll it out with Ansible"), *commands()])
)
def test_the_commands_of_the_readme(site: Site, line: str) -> None:
    """Each ends well, typed as it stands in the project's README or the collection's."""
    done = site.ansible.command(*shlex.split(line), check=False)

    assert done.returncode == 0, done.stdout + done.stderr
