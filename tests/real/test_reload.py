# SPDX-License-Identifier: Apache-2.0
"""Another configuration with real charons under datagrams: only the difference, without a loss."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, on, running
from tests.real.traffic import traffic
from vici_mif.core.status import PeerStatus

ALL = "{links: [eth0, wlan0, wwan0], hold_down: 1s, spares: 0}"
ONE = "{links: [eth0], hold_down: 1s, spares: 0}"
TWO = "{links: [eth0, wlan0], hold_down: 1s, spares: 0}"


def at_home(*links: str) -> Callable[[PeerStatus], bool]:
    def check(peer: PeerStatus) -> bool:
        seated = on(peer)
        return (
            peer.state == "up"
            and {path.link for path in peer.paths} == set(links)
            and all(link in seated and seated[link].children for link in links)
        )

    return check


@pytest.fixture
def client(make_lab: MakeLab) -> Iterator[Controller]:
    lab = make_lab(uplinks=3, capture=True)
    with running(lab, ALL) as controller:
        controller.until(at_home("eth0", "wlan0", "wwan0"))
        yield controller
    assert rig.in_clear(lab) == {}


def rewrite(client: Controller, before: str, after: str) -> None:
    text = client.file.read_text()
    assert before in text
    client.file.write_text(text.replace(before, after))


def test_only_the_difference(client: Controller) -> None:
    """The same file, a broken one, a link less, a link more: no datagram of the others is lost."""
    lab, before = client.lab, rig.spis(client.lab)
    kept = {t.inner[0] for t in client.peer.tunnels if not (t.home or "").startswith("wwan0")}
    with traffic(lab, sorted(kept)) as flows:
        began_at = time.time()
        assert client.command("reload").stdout == "the same as before: nothing to do\n"

        rewrite(client, "hold_down", "hold_dwn")
        broken = client.command("reload")
        assert broken.returncode == 78
        assert f"{client.file}:3:" in broken.stderr
        assert "hold_dwn" in client.status().daemon.config_refused
        assert rig.spis(lab) == before

        rewrite(client, ALL.replace("hold_down", "hold_dwn"), TWO)
        assert client.command("reload").stdout == "in force\n"
        client.until(at_home("eth0", "wlan0"))
        eventually(lambda: "wwan0" not in "\n".join(rig.ours(lab)), 5)  # the kernel's follow
        assert client.status().daemon.config_refused == ""
        assert flows.lost(began_at, time.time()) == {}

        rewrite(client, TWO, ALL)
        client.hang_up()
        client.until(at_home("eth0", "wlan0", "wwan0"))
        assert flows.lost(began_at, time.time()) == {}
    assert client.peer.authentications == 1


def test_links_that_are_added(make_lab: MakeLab) -> None:
    """The family has one inner address: another follows it that has three, and nothing is lost."""
    lab = make_lab(uplinks=3, capture=True)
    with running(lab, ONE) as client:
        client.until(at_home("eth0"))
        (inner,) = client.peer.tunnels[0].inner
        with traffic(lab, [inner]) as flows:
            began_at = time.time()
            rewrite(client, ONE, ALL)
            assert client.command("reload").stdout == "in force\n"
            client.until(at_home("eth0", "wlan0", "wwan0"))
            eventually(lambda: len(rig.sas(lab)) == 3, 20)  # the old family is left
            assert flows.lost(began_at, time.time()) == {}
        assert client.peer.authentications == 2
        assert inner in {t.inner[0] for t in client.peer.tunnels}
    assert rig.in_clear(lab) == {}


def test_links_for_which_there_are_no_addresses(make_lab: MakeLab) -> None:
    """The gateway grants less by now: what it gave then is kept, and nothing is lost."""
    lab = make_lab(uplinks=3, capture=True)
    with running(lab, TWO) as client:
        client.until(at_home("eth0", "wlan0"))
        gateway = lab.host("gateway").strongswan_conf
        gateway.write_text(gateway.read_text().replace("max_clones = 8", "max_clones = 1"))
        lab.charons["gateway"].swanctl("--reload-settings")
        before = rig.spis(lab)
        with traffic(lab, sorted(t.inner[0] for t in client.peer.tunnels)) as flows:
            began_at = time.time()
            rewrite(client, TWO, ALL)
            assert client.command("reload").stdout == "in force\n"
            client.until(lambda p: p.authentications == 2)
            eventually(lambda: rig.spis(lab) == before, 20)  # the other family is closed
            assert flows.lost(began_at, time.time()) == {}
        assert "the peer gave 2 inner addresses for 3 tunnels" in client.peer.why
    assert rig.in_clear(lab) == {}


def test_the_controllers_own_keys(client: Controller) -> None:
    """What needs a restart is refused by name, with all of the file; a hook begins at once."""
    told = client.directory / "told"
    rewrite(client, "daemon: {", "daemon: {rules: 100-119, ")
    rewrite(client, ALL, TWO)
    refused = client.command("reload")
    assert refused.returncode == 78
    assert "daemon.rules: cannot change while the controller runs: restart it" in refused.stderr
    assert {path.link for path in client.peer.paths} == {"eth0", "wlan0", "wwan0"}

    rewrite(client, TWO, ALL)
    script = client.directory / "hook"
    script.write_text(f"#!/bin/sh\ncat >> {told}\n")
    script.chmod(0o755)
    rewrite(client, "rules: 100-119", f"hooks: {{on_path_change: {script}}}")
    assert client.command("reload").stdout == "in force\n"
    client.lab.link_down("wwan0")

    def failed() -> bool:
        changes = [json.loads(line) for line in told.read_text().splitlines()]
        return any((c["link"], c["state"]) == ("wwan0", "failed") for c in changes)

    eventually(lambda: told.exists() and failed())


def test_a_peer_that_is_taken_out_leaves_nothing(client: Controller) -> None:
    """Its IKE SAs are closed at both ends, and nothing of ours is in the kernel."""
    lab = client.lab
    rewrite(client, "  hq: ", "  nobody: ")
    assert client.command("reload").returncode == 0
    eventually(lambda: [p.name for p in client.status().peers] == ["nobody"])

    assert rig.sas(lab) == []
    eventually(lambda: rig.sas(lab, "gateway") == [], 5)
    eventually(lambda: rig.ours(lab) == [], 5)  # nft ends after the peer


def test_a_controller_that_dies_while_it_closes_a_peer(client: Controller) -> None:
    """Its successor does not know the peer any more, and closes what is left of it."""
    lab = client.lab
    for link in rig.UPLINKS:
        lab.cut(link)  # the deletions are not answered, so there is a moment to die in
    lab.cut("wwan0")
    rewrite(client, "  hq: ", "  nobody: ")
    client.hang_up()  # a command of ours takes a part of that moment to start
    eventually(lambda: [o.kind for o in client.status().orders] == ["retire"])
    assert rig.sas(lab)
    client.kill()
    client.start()
    eventually(lambda: rig.sas(lab) == [], within=30)
    eventually(lambda: not client.status().orders, within=10)
    eventually(lambda: rig.ours(lab) == [], within=20)
