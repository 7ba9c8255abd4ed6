# SPDX-License-Identifier: Apache-2.0
"""What is missing is said in plain words, and the best of the rest is used."""

from __future__ import annotations

from pathlib import Path

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, ping, running
from vici_mif.edges.control import ControlError
from vici_mif.lab.lab import Lab

SERVER = "10.100.0.2"
TWO = "{links: [eth0, wlan0], hold_down: 2s}"


def test_charon_without_the_series(make_lab: MakeLab, stock_charon: Path) -> None:
    """One tunnel, moved by charon's own roaming; the status says what to do about it."""
    lab = make_lab(uplinks=2, client_charon=stock_charon)
    with running(lab, TWO) as controller:
        peer = controller.until(lambda p: any(t.children for t in p.tunnels))
        assert peer.mode == "single"
        assert not controller.status().daemon.patched
        assert "charon" in peer.why
        assert ping(lab, SERVER) == 5

        lab.link_down("eth0")
        eventually(lambda: ping(lab, SERVER, count=1) == 1, within=30)


def test_charon_without_the_series_refused(make_lab: MakeLab, stock_charon: Path) -> None:
    """`without_clone: refuse` opens nothing and says why."""
    lab = make_lab(uplinks=2, client_charon=stock_charon)
    with running(lab, "{links: [eth0, wlan0], without_clone: refuse}") as controller:
        peer = controller.until(lambda p: "refuse" in p.why)
        assert peer.state == "down"
        assert rig.sas(lab) == []


def test_gateway_without_the_series(make_lab: MakeLab, stock_charon: Path) -> None:
    """The peer does not announce support: one tunnel, which we move when its link goes."""
    lab = make_lab(uplinks=2, gateway_charon=stock_charon)
    with running(lab, TWO) as controller:
        peer = controller.until(lambda p: any(t.children for t in p.tunnels))
        assert peer.mode == "single"
        inner = peer.tunnels[0].inner[0]
        assert ping(lab, SERVER, inner) == 5

        lab.link_down("eth0")
        controller.until(lambda p: any((t.current or "").startswith("wlan0/") for t in p.tunnels))
        eventually(lambda: ping(lab, SERVER, inner, count=1) == 1)

        lab.link_up("eth0")
        controller.until(lambda p: any((t.current or "").startswith("eth0/") for t in p.tunnels))
        assert ping(lab, SERVER, inner) == 5


def test_gateway_with_the_series_switched_off(make_lab: MakeLab) -> None:
    """max_clones = 0 at both ends is the same as a peer without support."""
    lab = make_lab(uplinks=2, max_clones=0)
    with running(lab, TWO) as controller:
        peer = controller.until(lambda p: any(t.children for t in p.tunnels))
        assert peer.mode == "single"
        assert ping(lab, SERVER) == 5


def test_no_charon_yet(make_lab: MakeLab) -> None:
    """The controller waits, says for what, and goes on by itself when charon comes."""
    lab = make_lab(uplinks=2, start_charons=False)
    with running(lab, TWO) as controller:
        eventually(lambda: _charon_why(controller))
        assert "charon.vici" in _charon_why(controller)

        lab.charons["gateway"].start()
        lab.charons["client"].start()
        controller.until(lambda p: p.state == "up")
        assert ping(lab, SERVER) == 5


def test_charon_crashes(make_lab: MakeLab) -> None:
    """Nothing leaves in clear while it is gone; then one new family."""
    lab = make_lab(uplinks=2, capture=True)
    with running(lab, TWO) as controller:
        peer = controller.until(lambda p: p.state == "up")
        inner = peer.tunnels[0].inner[0]
        lab.charons["client"].kill()
        controller.until(lambda p: p.state == "down")
        assert ping(lab, SERVER, count=3) == 0

        lab.charons["client"].start()
        controller.until(lambda p: p.state == "up")
        assert ping(lab, SERVER) == 5
        assert rig.in_clear(lab) == {}
        assert inner


def test_a_connection_charon_does_not_have(make_lab: MakeLab) -> None:
    """Waiting, with the name; it is not an error, since files may be loaded later."""
    lab = make_lab(uplinks=2)
    controller = Controller(lab, TWO)
    controller.file.write_text(controller.file.read_text().replace("  hq:", "  elsewhere:"))
    controller.start()
    try:
        peer = controller.until(lambda p: p.state == "waiting")
        assert "elsewhere" in peer.why
    finally:
        controller.stop()


def test_second_controller_in_the_same_namespace(make_lab: MakeLab) -> None:
    """It refuses to run, and the first goes on."""
    lab = make_lab(uplinks=2)
    with running(lab, TWO) as controller:
        controller.until(lambda p: p.state == "up")

        done = controller.command("run")

        assert done.returncode == 1
        assert "another controller" in done.stderr
        assert controller.peer.state == "up"


def _charon_why(controller: Controller) -> str:
    try:
        return controller.status().daemon.why
    except ControlError:
        return ""


def test_the_plan_changes_nothing(make_lab: MakeLab) -> None:
    """`check --plan` says what would be done first, and does nothing of it."""
    lab = make_lab(uplinks=2)
    done = Controller(lab, TWO).command("check", "--plan")

    assert done.returncode == 0, done.stderr
    assert "table 7791: routes of eth0" in done.stdout
    assert "CreateIke connection=hq pair=192.168.1.100 -> 203.0.113.1" in done.stdout
    assert rig.sas(lab) == []
    assert rig.ours(lab) == []


def test_the_plan_obeys_the_orders_that_are_kept(make_lab: MakeLab) -> None:
    """A drained path is not where the first tunnel begins; a broken file is said."""
    controller = Controller(make_lab(uplinks=2), TWO)
    kept = controller.command("path", "drain", "eth0")
    done = controller.command("check", "--plan")
    (orders,) = controller.directory.rglob("orders.json")
    orders.write_text("{")
    broken = controller.command("check", "--plan")

    assert kept.returncode == 3
    assert "CreateIke connection=hq pair=192.168.2.100 -> 203.0.113.1" in done.stdout, done.stderr
    assert broken.returncode == 1
    assert "remove it to have no orders" in broken.stderr


def test_an_authentication_per_path(make_lab: MakeLab, stock_charon: Path) -> None:
    """A stock gateway, two IKE SAs with an inner address each; each moves and comes home."""
    lab = make_lab(uplinks=2, gateway_charon=stock_charon)
    with running(lab, "{links: [eth0, wlan0], without_clone: authenticate}") as controller:
        peer = controller.until(
            lambda p: p.state == "up" and len([t for t in p.tunnels if t.children]) == 2
        )
        assert (peer.mode, peer.authentications) == ("authenticate", 2)
        inner = [t.inner[0] for t in peer.tunnels]
        assert len(set(inner)) == 2
        assert all(ping(lab, SERVER, address) == 5 for address in inner)

        lab.link_down("eth0")
        controller.until(lambda p: all((t.current or "").startswith("wlan0/") for t in p.tunnels))
        eventually(lambda: all(ping(lab, SERVER, address, count=1) == 1 for address in inner))
        assert len(rig.sas(lab, "gateway")) == 2


def test_a_connection_per_path_without_the_series(make_lab: MakeLab, stock_charon: Path) -> None:
    """`authenticate: [hq-a, hq-b]`: one tunnel each, on its own link, and down closes both."""
    lab = make_lab(uplinks=2, client_charon=stock_charon)
    file = lab.client.swanctl_dir / "swanctl.conf"
    head, block, tail = split_connection(file.read_text())
    each = {"hq-a": "192.168.1.100", "hq-b": "192.168.2.100"}
    blocks = [
        block.replace("  hq {", f"  {name} {{\n    local_addrs = {address}", 1)
        for name, address in each.items()
    ]
    file.write_text(head + "".join(blocks) + tail)
    lab.charons["client"].load()
    wish = "without_clone: authenticate, authenticate: [hq-a, hq-b]"
    with running(lab, f"{{links: [eth0, wlan0], {wish}}}") as controller:
        peer = controller.until(lambda p: p.state == "up")
        assert peer.mode == "authenticate"
        assert ends(lab) == each
        inner = {str(vip) for sa in rig.sas(lab) for vip in sa.local_vips}
        assert len(inner) == 2
        assert any(ping(lab, SERVER, source) == 5 for source in inner)

        first = {sa.unique_id for sa in rig.sas(lab)}
        lab.charons["gateway"].swanctl(
            "--terminate", "--ike-id", str(rig.sas(lab, "gateway")[0].unique_id)
        )
        eventually(lambda: first - {sa.unique_id for sa in rig.sas(lab)}, 20)
        controller.until(lambda p: p.state == "up" and ends(lab) == each, 60)
        assert controller.command("down").returncode == 0
        eventually(lambda: rig.sas(lab) == [])


def ends(lab: Lab) -> dict[str, str]:
    """Each connection that is established, and its address here."""
    return {sa.name: str(sa.local) for sa in rig.sas(lab) if sa.established}


def split_connection(text: str) -> tuple[str, str, str]:
    """What stands before the operator's connection, the connection, and the rest."""
    start = text.index("  hq {")
    end = text.index("\n  }\n", start) + len("\n  }\n")
    return text[:start], text[start:end], text[end:]
