# SPDX-License-Identifier: Apache-2.0
"""A road warrior with virtual IPs: one authentication, one tunnel for each uplink, real packets.

What is claimed is read from charon's list-sas, from `ip`, and from captures at the router.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, on, ping, running
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import Auth

UPLINKS = ("eth0", "wlan0", "wwan0")
SERVER = "10.100.0.2"
HOLD_DOWN = 2
CONFIG = f"{{links: [eth0, wlan0, wwan0], hold_down: {HOLD_DOWN}s, spares: 0}}"

STALE = """
rule add from 10.222.0.77 lookup 7839 pref 150 proto 77
route add unreachable 10.100.0.0/24 table 7839 proto 77
"""
"""Of a tunnel that is there no more."""


@pytest.fixture
def client(make_lab: MakeLab) -> Iterator[Controller]:
    """Up with three tunnels; captures run."""
    lab = make_lab(capture=True)
    with running(lab, CONFIG) as controller:
        controller.until(all_home)
        yield controller
        assert rig.in_clear(lab) == {}


def all_home(peer: PeerStatus) -> bool:
    return rig.all_home(peer, UPLINKS)


def local_of(lab: Lab) -> dict[str, str]:
    """Outer address of each link."""
    return {wire.a.name: wire.a.addresses[0].partition("/")[0] for wire in lab.topology.uplinks}


def test_three_tunnels_from_one_authentication(client: Controller) -> None:
    """Three IKE SAs of one family, two of them cloned, each on its own pair, one child each."""
    found = [sa for sa in rig.sas(client.lab) if sa.children]
    homes = local_of(client.lab)

    assert len({sa.family for sa in found}) == 1
    assert sorted(sa.cloned for sa in found) == [False, True, True]
    assert {str(sa.local) for sa in found} == set(homes.values())
    assert {child.name for sa in found for child in sa.children} == {
        f"net@{link}/203.0.113.1" for link in UPLINKS
    }
    assert client.peer.authentications == 1
    assert client.peer.clones >= 2


def test_each_inner_address_travels_on_its_own_uplink(client: Controller) -> None:
    """A ping from an inner address moves the counter of its uplink and of no other."""
    for link, tunnel in on(client.peer).items():
        before = {other: rig.esp_bytes(client.lab, other) for other in UPLINKS}
        assert ping(client.lab, SERVER, tunnel.inner[0], count=20) == 20
        sent = {other: rig.esp_bytes(client.lab, other) - before[other] for other in UPLINKS}
        assert sent[link] > 20 * 84
        assert all(sent[other] < 20 * 84 / 2 for other in UPLINKS if other != link)


def test_an_unbound_socket_uses_the_first_inner_address(client: Controller) -> None:
    """What does not bind goes through a tunnel as well."""
    assert ping(client.lab, SERVER, count=5) == 5


def test_a_link_that_goes_and_comes(client: Controller) -> None:
    """Its tunnel is parked with its inner address alive, and goes home after the hold-down."""
    lab = client.lab
    inner = on(client.peer)["wlan0"].inner[0]
    untouched = {spi for spi in rig.spis(lab) if spi[0] != on(client.peer)["wlan0"].ike_id}

    lab.link_down("wlan0")
    peer = client.until(lambda p: all(t.current != "wlan0/203.0.113.1" for t in p.tunnels))
    assert len([t for t in peer.tunnels if t.children]) == 3
    eventually(lambda: ping(lab, SERVER, inner, count=1) == 1)
    assert untouched <= rig.spis(lab)

    lab.link_up("wlan0")
    client.until(all_home)
    assert on(client.peer)["wlan0"].inner[0] == inner
    eventually(lambda: ping(lab, SERVER, inner, count=1) == 1)
    assert untouched <= rig.spis(lab)


def test_the_root_link_goes(client: Controller) -> None:
    """The first SA's own uplink is nothing special: it is parked as any other."""
    lab = client.lab
    inner = on(client.peer)["eth0"].inner[0]

    lab.link_down("eth0")
    client.until(lambda p: all(t.current != "eth0/203.0.113.1" for t in p.tunnels))
    eventually(lambda: ping(lab, SERVER, inner, count=1) == 1)

    lab.link_up("eth0")
    client.until(all_home)
    assert ping(lab, SERVER, inner) == 5
    assert client.peer.authentications == 1


def test_a_new_lease_moves_the_tunnel(client: Controller) -> None:
    """DHCP gives another address: same path, same SPIs, same inner address."""
    lab = client.lab
    before = on(client.peer)["wlan0"]
    untouched = rig.spis(lab)

    lab.client.exec(["ip", "addr", "del", "192.168.2.100/24", "dev", "wlan0"])
    lab.client.exec(["ip", "addr", "add", "192.168.2.77/24", "dev", "wlan0"])
    lab.client.exec(
        ["ip", "route", "replace", "default", "via", "192.168.2.1", "dev", "wlan0", "metric", "600"]
    )

    peer = client.until(lambda p: all_home(p) and on(p)["wlan0"].local == "192.168.2.77")
    assert on(peer)["wlan0"].inner == before.inner
    eventually(lambda: ping(lab, SERVER, before.inner[0], count=1) == 1)
    assert rig.spis(lab) == untouched


def test_a_killed_controller_changes_nothing_and_its_successor_adopts(
    client: Controller,
) -> None:
    """kill -9: traffic goes on; started again it finds everything and changes no SPI.

    What a controller leaves that died in the middle of something is taken away, and no more.
    """
    lab = client.lab
    before, laid = rig.spis(lab), sorted(rig.ours(lab))
    client.kill()
    assert ping(lab, SERVER) == 5
    assert rig.spis(lab) == before
    assert sorted(rig.ours(lab)) == laid

    lab.client.exec(["ip", "-batch", "-"], stdin=STALE)
    assert len(rig.ours(lab)) == len(laid) + 2
    client.start()
    client.until(all_home)
    eventually(lambda: sorted(rig.ours(lab)) == laid)

    assert rig.spis(lab) == before
    assert ping(lab, SERVER) == 5


def test_killed_while_parked_the_tunnel_still_goes_home(client: Controller) -> None:
    """Home is in the child's name, so a restart in the middle does not forget it."""
    lab = client.lab
    lab.link_down("wwan0")
    client.until(lambda p: all(t.current != "wwan0/203.0.113.1" for t in p.tunnels))
    client.kill()
    client.start()
    client.until(lambda p: len(p.tunnels) >= 3)

    lab.link_up("wwan0")

    client.until(all_home)


def test_load_all_changes_nothing(client: Controller) -> None:
    """`swanctl --load-all` under traffic, unchanged and with an added child: no id, no SPI."""
    lab = client.lab
    before = rig.spis(lab)
    charon = lab.charons["client"]
    charon.load()
    assert rig.spis(lab) == before

    file = lab.client.swanctl_dir / "swanctl.conf"
    text = file.read_text()
    more = "children {\n      more {\n        remote_ts = 10.101.0.0/24\n      }"
    file.write_text(text.replace("children {", more, 1))
    charon.load()

    assert rig.spis(lab) == before
    assert ping(lab, SERVER) == 5


def test_sigterm_keeps_the_tunnels_and_gives_the_pins_back(client: Controller) -> None:
    """on_stop: keep is the default: tunnels and steering stay, charon may roam again."""
    lab = client.lab
    before = rig.spis(lab)

    assert client.stop() == 0

    assert rig.spis(lab) == before
    assert all(sa.pinned_delay is None for sa in rig.sas(lab))
    assert ping(lab, SERVER) == 5
    client.start()
    client.until(all_home)
    assert rig.spis(lab) == before


def test_down_leaves_nothing_and_up_brings_it_back(client: Controller) -> None:
    """An order is kept over a restart, and taken back by `up`."""
    lab = client.lab
    assert client.command("down").returncode == 0
    eventually(lambda: rig.sas(lab) == [])
    eventually(lambda: rig.ours(lab) == [])
    client.kill()
    client.start()
    client.until(lambda p: p.state == "down" and "vici-mif up" in p.why)

    assert client.command("up").returncode == 0
    client.until(all_home)
    assert ping(lab, SERVER) == 5


def test_down_without_a_controller(client: Controller) -> None:
    """The same from the command line alone; the next start obeys it."""
    lab = client.lab
    client.kill()

    done = client.command("down")

    assert done.returncode == 0, done.stderr
    assert rig.sas(lab) == []
    assert rig.ours(lab) == []
    client.start()
    client.until(lambda p: p.state == "down" and "vici-mif up" in p.why)


def test_sigterm_with_close_leaves_nothing(make_lab: MakeLab) -> None:
    """on_stop: close ends the tunnels and takes everything of ours away."""
    lab = make_lab(uplinks=2)
    with running(lab, "{links: [eth0, wlan0], on_stop: close}") as controller:
        controller.until(lambda p: p.state == "up" and {"eth0", "wlan0"} <= on(p).keys())

        assert controller.stop() == 0

    eventually(lambda: rig.sas(lab) == [])
    assert rig.ours(lab) == []


def test_two_uplinks_and_ipv6_inside(make_lab: MakeLab) -> None:
    """Each tunnel has an inner address of both versions."""
    lab = make_lab(uplinks=2, ipv6=True)
    with running(lab, "{links: [eth0, wlan0]}") as controller:
        controller.until(lambda p: p.state == "up" and {"eth0", "wlan0"} <= on(p).keys())
        for tunnel in on(controller.peer).values():
            six = [address for address in tunnel.inner if ":" in address]
            four = [address for address in tunnel.inner if ":" not in address]
            assert ping(lab, SERVER, four[0]) == 5
            assert ping(lab, "fd00:100::2", six[0]) == 5


def test_ipv6_outside(make_lab: MakeLab) -> None:
    """IKE and ESP over IPv6."""
    lab = make_lab(uplinks=2, outer=6)
    with running(lab, "{links: [eth0, wlan0]}") as controller:
        controller.until(lambda p: p.state == "up" and {"eth0", "wlan0"} <= on(p).keys())
        assert all(sa.local.version == 6 for sa in rig.sas(lab))
        for tunnel in on(controller.peer).values():
            assert ping(lab, SERVER, tunnel.inner[0]) == 5


def test_everything_through_the_tunnel(make_lab: MakeLab) -> None:
    """0.0.0.0/0: the world is reached through the tunnels, and the host's own uplinks live."""
    lab = make_lab(full=True, capture=True)
    with running(lab, CONFIG) as controller:
        controller.until(all_home)
        for tunnel in on(controller.peer).values():
            assert ping(lab, "192.0.2.1", tunnel.inner[0]) == 5
        assert ping(lab, "192.0.2.1", local_of(lab)["wlan0"]) == 5
        assert rig.in_clear(lab, "net 10.222.0.0/24") == {}


@pytest.mark.parametrize("auth", [Auth.CERT, Auth.EAP])
def test_other_authentications(make_lab: MakeLab, auth: Auth) -> None:
    """A clone needs no authentication, so the method of the first does not matter."""
    lab = make_lab(auth=auth)
    with running(lab, CONFIG) as controller:
        controller.until(all_home)
        assert controller.peer.authentications == 1


def test_preferred_uplink_is_a_black_hole_at_the_start(make_lab: MakeLab) -> None:
    """Link up and path dead: the next pair is tried and payload flows within five seconds."""
    lab = make_lab(start_charons=True)
    lab.cut("eth0")
    with running(lab, CONFIG) as controller:
        controller.until(lambda _: True)  # the seconds count from when it runs
        eventually(lambda: ping(lab, SERVER, count=1) == 1, within=5)
