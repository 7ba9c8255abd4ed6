# SPDX-License-Identifier: Apache-2.0
"""What happens to a running family: rekeying, deletes, others' hands, a controller that died."""

from __future__ import annotations

import time

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import UPLINKS, Controller, all_home, on, ping, running
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab

CONFIG = "{links: [eth0, wlan0], hold_down: 2s, spares: 0}"
SERVER = "10.100.0.2"


def swanctl(lab: Lab, *words: str, host: str = "client") -> None:
    lab.charons[host].swanctl(*words)


def all_reach(controller: Controller) -> bool:
    tunnels = on(controller.peer)
    return all(
        link in tunnels
        and tunnels[link].inner
        and ping(controller.lab, SERVER, tunnels[link].inner[0], count=1) == 1
        for link in UPLINKS
    )


def test_rekeyed_sas_are_the_same_tunnels(client: Controller) -> None:
    """Every unique id changes; nothing is authenticated, cloned or opened again."""
    lab = client.lab
    before = client.peer
    for sa in rig.sas(lab):
        swanctl(lab, "--rekey", "--ike-id", str(sa.unique_id))
    eventually(lambda: {s.unique_id for s in rig.sas(lab)}.isdisjoint(_ids(before)))

    after = client.until(lambda p: all_home(p) and _ids(p).isdisjoint(_ids(before)))

    assert (after.authentications, after.clones) == (before.authentications, before.clones)
    assert after.family == before.family
    assert {t.inner for t in after.tunnels} == {t.inner for t in before.tunnels}
    eventually(lambda: all_reach(client))


def _ids(peer: PeerStatus) -> set[int]:
    return {tunnel.ike_id for tunnel in peer.tunnels}


def test_rekeyed_children_keep_their_names_and_addresses(client: Controller) -> None:
    """Home is in the name, so the name must live on."""
    lab = client.lab
    before = {c.name: c for sa in rig.sas(lab) for c in sa.children}
    for child in before.values():
        swanctl(lab, "--rekey", "--child-id", str(child.unique_id))

    def rekeyed() -> bool:
        now = {c.name: c for sa in rig.sas(lab) for c in sa.children if c.state == "INSTALLED"}
        return now.keys() == before.keys() and all(
            now[name].spi_in != before[name].spi_in and now[name].local_ts == before[name].local_ts
            for name in before
        )

    eventually(rekeyed)
    client.until(all_home)
    eventually(lambda: all_reach(client))


def test_a_delete_of_the_peer_is_healed(client: Controller) -> None:
    """The gateway closes one tunnel, then all of them: each time all are there again."""
    lab = client.lab
    clone = next(sa for sa in rig.sas(lab, "gateway") if sa.cloned)
    swanctl(lab, "--terminate", "--ike-id", str(clone.unique_id), host="gateway")
    eventually(lambda: all_home(client.peer) and all_reach(client))
    assert client.peer.authentications == 1

    before = {sa.unique_id for sa in rig.sas(lab)}
    swanctl(lab, "--terminate", "--ike", "rw", host="gateway")
    eventually(lambda: before.isdisjoint({sa.unique_id for sa in rig.sas(lab)}), within=30)
    client.until(all_home)
    eventually(lambda: all_reach(client))
    # Once more, unless a clone asked for between the first delete and the last kept the family.
    assert client.peer.authentications in {1, 2}


def test_a_local_terminate_is_an_order(client: Controller) -> None:
    """`swanctl --terminate` on this host means down, until `up`."""
    lab = client.lab
    swanctl(lab, "--terminate", "--ike", "hq")

    client.until(lambda p: p.state == "down" and "vici-mif up" in p.why)
    eventually(lambda: rig.sas(lab) == [])

    assert client.command("up", "hq").returncode == 0
    client.until(all_home)


def test_a_clone_made_by_hand_is_adopted(client: Controller) -> None:
    """It is a member of the family like any other, and is not deleted as a stranger."""
    lab = client.lab
    root = rig.sas(lab)[0]

    made = rig.request(lab, "clone", {"ike-id": root.unique_id})

    assert made["success"] == "yes"
    client.until(lambda p: int(made["ike-id"]) in _ids(p))
    assert client.peer.family == root.family
    eventually(lambda: all_reach(client))


def test_a_dead_controller_leaves_charon_roaming(client: Controller) -> None:
    """Killed, then a link goes: when the pins have run out charon moves the tunnel by itself."""
    lab = client.lab
    inner = on(client.peer)["wlan0"].inner[0]
    before = rig.spis(lab)
    client.kill()
    lab.link_down("wlan0")

    lost_at = time.monotonic()
    eventually(lambda: ping(lab, SERVER, inner, count=1) == 1, within=60)
    print(f"controller and uplink gone, traffic back: {time.monotonic() - lost_at:.1f} s")

    client.start()
    lab.link_up("wlan0")
    client.until(all_home)
    assert {spi[0] for spi in before} == {spi[0] for spi in rig.spis(lab)}


def test_others_take_our_rules_away(client: Controller) -> None:
    """networkd deletes foreign rules at its restart: they are back, and nothing left in clear."""
    lab = client.lab
    before = rig.ours(lab)
    for line in [line for line in before if "lookup" in line]:
        priority = line.partition(":")[0]
        lab.client.exec(["ip", "rule", "del", "priority", priority], check=False)

    eventually(lambda: sorted(rig.ours(lab)) == sorted(before), within=5)

    eventually(lambda: all_reach(client))


def test_a_dead_gateway_does_not_lock_the_host_out(make_lab: MakeLab) -> None:
    """0.0.0.0/0 and nobody answers: bound and unbound traffic of the host itself lives."""
    lab = make_lab(uplinks=2, full=True, start_charons=False)
    lab.charons["client"].start()
    with running(lab, CONFIG) as controller:
        controller.until(lambda p: p.state == "down" and p.why)
        for wire in lab.topology.uplinks:
            address = wire.a.addresses[0].partition("/")[0]
            assert ping(lab, "192.0.2.1", address, count=2) == 2
        assert ping(lab, "192.0.2.1", count=2) == 2

        lab.charons["gateway"].start()
        controller.until(all_home, within=90)
        assert all(
            ping(lab, "192.0.2.1", t.inner[0], count=2) == 2 for t in controller.peer.tunnels
        )


def test_an_inner_source_never_takes_the_uplink(make_lab: MakeLab) -> None:
    """0.0.0.0/0, and the family dies: what still has an inner address is refused here."""
    lab = make_lab(uplinks=2, full=True, capture=True)
    with running(lab, CONFIG) as controller:
        peer = controller.until(all_home)
        inner = peer.tunnels[0].inner[0]
        lab.charons["gateway"].kill()
        lab.charons["client"].kill()
        controller.until(lambda p: p.state == "down")
        lab.client.exec(["ip", "addr", "add", f"{inner}/32", "dev", "lo"])

        assert ping(lab, "192.0.2.1", inner, count=3) == 0
        assert ping(lab, "192.0.2.1", count=2) == 2

        assert rig.in_clear(lab, "net 10.222.0.0/24") == {}
