# SPDX-License-Identifier: Apache-2.0
"""What runs already and cannot do all is followed by a new family, and traffic goes on."""

from __future__ import annotations

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import ping, running
from tests.real.under_ping import Pinging
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import Profile

SERVER = "10.100.0.2"
CONFIG = "{links: [eth0, wlan0], spares: 0}"
PATIENCE = 60.0


def enable_cloning(lab: Lab) -> None:
    """The administrators of both ends set it and reload; what is up was built without."""
    for name in ("client", "gateway"):
        file = lab.host(name).strongswan_conf
        text = file.read_text()
        assert "clone_ike_sa" not in text
        more = "charon {\n  clone_ike_sa {\n    max_clones = 8\n  }\n"
        file.write_text(text.replace("charon {\n", more, 1))
        lab.charons[name].swanctl("--reload-settings")


def one_family(lab: Lab, peer: PeerStatus) -> bool:
    return {sa.family for sa in rig.sas(lab)} == {peer.family}


def two_home(peer: PeerStatus) -> bool:
    return peer.state == "up" and len([t for t in peer.tunnels if t.home == t.current]) == 2


def test_an_sa_that_was_built_without_cloning(make_lab: MakeLab) -> None:
    """Both ends learned it meanwhile: a full family, the same inner address, no ping lost."""
    lab = make_lab(uplinks=2, max_clones=0, capture=True)
    lab.charons["client"].swanctl("--initiate", "--child", "net")
    (before,) = rig.sas(lab)
    assert not before.clone_supported
    enable_cloning(lab)
    inner = str(before.local_vips[0])
    with Pinging(lab, inner, SERVER) as pinging, running(lab, CONFIG) as controller:
        peer = controller.until(lambda p: p.mode == "per-path" and two_home(p), PATIENCE)
        eventually(lambda: one_family(lab, peer), 15)
        eventually(lambda: len(rig.sas(lab, "gateway")) == 2, 15)
        assert inner in {address for t in controller.peer.tunnels for address in t.inner}
    assert pinging.lost == 0, pinging
    assert rig.in_clear(lab) == {}


def test_an_sa_that_the_peer_began(make_lab: MakeLab) -> None:
    """Only its initiator may move it: ours follows, and the peer's is closed last; no ping is
    lost."""
    lab = make_lab(uplinks=2, profile=Profile.SITE)
    local = lab.topology.uplinks[0].a.addresses[0].partition("/")[0]
    begin_at_the_gateway(lab, local)
    eventually(lambda: ping(lab, "10.2.0.2", count=1, host="station") == 1)
    (before,) = rig.sas(lab)
    assert not before.original_initiator
    pinging = Pinging(lab, "", "10.2.0.2", host="station")
    with pinging, running(lab, CONFIG) as controller:
        peer = controller.until(
            lambda p: p.mode == "one" and p.state == "up" and len(p.tunnels) == 2, PATIENCE
        )
        eventually(lambda: one_family(lab, peer), 15)
        assert all(sa.original_initiator for sa in rig.sas(lab))
    assert pinging.lost == 0, pinging


def begin_at_the_gateway(lab: Lab, client: str) -> None:
    """It is told where the client is, and begins."""
    file = lab.gateway.swanctl_dir / "swanctl.conf"
    text = file.read_text()
    assert "remote_addrs" not in text
    named = f"local_addrs = {text.split('local_addrs = ', 1)[1].splitlines()[0]}\n"
    file.write_text(text.replace(named, f"{named}    remote_addrs = {client}\n", 1))
    lab.charons["gateway"].load()
    lab.charons["gateway"].swanctl("--initiate", "--child", "net")
