# SPDX-License-Identifier: Apache-2.0
"""Drain, undrain and revoke by hand with real charons, under datagrams both ways."""

from __future__ import annotations

import time

from tests.real import rig
from tests.real.rig import Controller, all_home
from tests.real.traffic import Traffic
from vici_mif.core.model import Sa
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab

PER_MOVE = 5
"""Datagrams that a move may take: 50 ms of one flow. On a quiet host it is none, as measured in
docs/operating.md; a host with far more work than cores was seen to lose one burst of 34 ms."""

CONFIG = "{links: [eth0, wlan0], hold_down: 1s, spares: 0}"
DRAINED, OTHER = "wlan0", "eth0"


def state(peer: PeerStatus, link: str) -> str:
    return next(path.state for path in peer.paths if path.link == link)


def order(client: Controller, *words: str, code: int = 0) -> str:
    done = client.command(*words)
    assert done.returncode == code, (done.stdout, done.stderr, client.said())
    return done.stdout + done.stderr


def few(lost: dict[str, int]) -> bool:
    """No more than an instant."""
    print("lost in a handover:", lost)
    return sum(lost.values()) <= PER_MOVE


def test_drain_and_undrain_under_traffic(client: Controller, flows: Traffic) -> None:
    """No silence, no other key; and not one datagram when the controller dies in between."""
    before, began_at = rig.spis(client.lab), time.time()
    assert order(client, "path", "drain", DRAINED).startswith("drained: wlan0/")
    assert state(client.peer, DRAINED) == "drained"
    assert {(t.current or "").partition("/")[0] for t in client.peer.tunnels} == {OTHER}
    drained_at = time.time()
    assert few(flows.lost(began_at, drained_at))

    client.kill()
    client.start()
    client.until(lambda p: p.state == "up" and state(p, DRAINED) == "drained")
    assert "drain" in order(client, "orders")
    restarted_at = time.time()
    assert flows.lost(drained_at, restarted_at) == {}

    order(client, "path", "undrain", DRAINED)
    client.until(all_home)
    assert few(flows.lost(restarted_at, time.time()))
    assert rig.spis(client.lab) == before
    assert flows.failures() == []


def test_the_last_path_is_not_drained(client: Controller) -> None:
    """The command says what it waits for, and ends with 1; the tunnel goes on."""
    client.lab.link_down(OTHER)
    client.until(lambda p: state(p, OTHER) == "failed")
    said = order(client, "path", "drain", "hq", DRAINED, code=1)
    assert "no other path works" in said
    assert {(t.current or "").partition("/")[0] for t in client.peer.tunnels} == {DRAINED}
    client.lab.link_up(OTHER)

    client.until(lambda p: state(p, DRAINED) == "drained")


def keys(lab: Lab, host: str = "client") -> dict[str, Sa]:
    """IKE SAs by the home in their child's name."""
    return {c.name.partition("@")[2]: sa for sa in rig.sas(lab, host) for c in sa.children}


def test_revoke_changes_the_keys_of_one_tunnel_only(client: Controller) -> None:
    """Both SPIs of its IKE SA and its child's; the root is no exception."""
    before = keys(client.lab)
    root = next(home for home, sa in before.items() if not sa.cloned)
    said = order(client, "tunnel", "revoke", root)
    assert f"{root}: IKE SA #{before[root].unique_id} was closed, its keys are gone" in said
    client.until(all_home)
    after = keys(client.lab)

    assert after.keys() == before.keys()
    assert {home for home in before if _spis(before[home]) & _spis(after[home])} == {
        home for home in before if home != root
    }
    assert all(_spis(before[h]) == _spis(after[h]) for h in before if h != root)
    assert client.peer.authentications == 1
    assert after[root].local_vips == before[root].local_vips
    gone = (before[root].spi_in, before[root].spi_responder)
    assert gone not in {(sa.spi_in, sa.spi_responder) for sa in rig.sas(client.lab, "gateway")}


def _spis(sa: Sa) -> set[str]:
    (child,) = sa.children
    return {sa.spi_in, sa.spi_responder, child.spi_in, child.spi_out}


def test_a_peer_is_revoked_and_authenticated_anew(client: Controller) -> None:
    """All keys at both ends are others."""
    before = {spi for sa in keys(client.lab).values() for spi in _spis(sa)}
    said = order(client, "peer", "revoke", "hq")
    assert said.count("was closed") == 2
    client.until(all_home)

    assert before.isdisjoint({spi for sa in keys(client.lab).values() for spi in _spis(sa)})
    # those that were closed may still be on their way out
    assert sum(sa.established for sa in rig.sas(client.lab, "gateway")) == 2
    assert client.peer.authentications == 2
