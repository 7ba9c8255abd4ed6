# SPDX-License-Identifier: Apache-2.0
"""An inline `connection:` where charon has none: PSK, certificates, EAP-MSCHAPv2."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.namespace import eventually
from tests.real import rig
from tests.real.conftest import MakeLab
from tests.real.rig import Controller, on, ping
from vici_mif.core.status import PeerStatus
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import Auth

CLIENT, GATEWAY = "client.lab.example", "gateway.lab.example"

COMMON = """
      remote_addrs: 203.0.113.1
      proposals: aes128gcm16-prfsha256-x25519
      vips: 0.0.0.0
      children:
        net: {remote_ts: 10.100.0.0/24, esp_proposals: aes128gcm16-x25519}
"""
AUTHENTICATIONS = {
    Auth.PSK: f"""
      local: {{auth: psk, id: {CLIENT}}}
      remote: {{auth: psk, id: {GATEWAY}}}
      secrets:
        ike-hq: {{id: [{CLIENT}, {GATEWAY}], secret: {{file: SECRET}}}}
""",
    Auth.CERT: f"""
      local: {{auth: pubkey, id: {CLIENT}, certs: DIR/x509/client.pem}}
      remote: {{auth: pubkey, id: {GATEWAY}, cacerts: DIR/x509ca/lab.pem}}
      secrets:
        private-hq: {{file: DIR/private/client.pem}}
""",
    Auth.EAP: f"""
      local: {{auth: eap-mschapv2, id: {CLIENT}, eap_id: {CLIENT}}}
      remote: {{auth: pubkey, id: {GATEWAY}, cacerts: DIR/x509ca/lab.pem}}
      secrets:
        eap-hq: {{id: {CLIENT}, secret: {{env: HQ_PASSWORD}}}}
""",
}


def bare(lab: Lab, directory: Path) -> str:
    """Take the operator's connection away from the client; its secret is returned."""
    operators = lab.client.swanctl_dir / "swanctl.conf"
    found = re.search(r'secret = "?([^"\n]+)"?', operators.read_text())
    secret = found[1] if found else ""
    (directory / "secret").write_text(secret + "\n")
    operators.write_text("")
    lab.charons["gateway"].start()
    lab.charons["client"].start()
    return secret


def with_inline(lab: Lab, auth: Auth, directory: Path) -> Controller:
    text = (COMMON + AUTHENTICATIONS[auth]).replace("SECRET", str(directory / "secret"))
    text = text.replace("DIR", str(lab.client.swanctl_dir))
    controller = Controller(lab)
    controller.file.write_text(
        f"version: 1\nconnections:\n  hq:\n    links: [eth0, wlan0]\n    connection:{text}\n"
        f"daemon: {{state_dir: {directory}, journal: {directory / 'journal'}}}\n"
    )
    return controller


@pytest.mark.parametrize("auth", list(Auth))
def test_inline(
    make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: Auth
) -> None:
    """Two tunnels, payload on both, and no secret in anything that is written."""
    lab = make_lab(uplinks=2, auth=auth, start_charons=False)
    secret = bare(lab, tmp_path)
    monkeypatch.setenv("HQ_PASSWORD", secret)
    controller = with_inline(lab, auth, tmp_path)
    controller.start()
    try:
        controller.until(lambda p: p.state == "up" and {"eth0", "wlan0"} <= on(p).keys())
        for tunnel in on(controller.peer).values():
            assert ping(lab, "10.100.0.2", tunnel.inner[0]) == 5
        if secret:
            assert secret not in controller.log.read_text()
            assert secret not in controller.status().to_json()
    finally:
        controller.stop()
    noted = (tmp_path / "journal" / "journal.jsonl").read_text()
    assert "LoadConnection" in noted
    assert not secret or secret not in noted


def test_a_secret_that_is_not_there(make_lab: MakeLab, tmp_path: Path) -> None:
    """The file is named in the status, and nothing is tried without it."""
    lab = make_lab(uplinks=2, start_charons=False)
    bare(lab, tmp_path)
    controller = with_inline(lab, Auth.PSK, tmp_path)
    (tmp_path / "secret").unlink()
    controller.start()
    try:
        peer = controller.until(lambda p: "secret" in p.why)
        assert peer.state in ("down", "waiting")
        assert rig.sas(lab) == []
    finally:
        controller.stop()


def test_a_secret_that_changes_and_a_key_that_goes(make_lab: MakeLab, tmp_path: Path) -> None:
    """Reload hands a new content to charon; a peer that goes takes its private key along."""
    lab = make_lab(uplinks=2, auth=Auth.CERT, start_charons=False)
    operators, key = lab.client.swanctl_dir / "private/client.pem", tmp_path / "key.pem"
    shutil.move(operators, key)  # else it is the operator's, and stays
    bare(lab, tmp_path)
    controller = with_inline(lab, Auth.CERT, tmp_path)
    controller.file.write_text(controller.file.read_text().replace(str(operators), str(key)))
    controller.start()
    try:
        controller.until(complete)
        before, (first,) = rig.spis(lab), keys(lab)
        assert controller.command("reload").stdout == "the same as before: nothing to do\n"
        lab.host("client").exec(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)])
        assert controller.command("reload").stdout == "in force\n"
        eventually(lambda: len(keys(lab)) == 1 and keys(lab) != [first])
        assert rig.spis(lab) == before

        text = controller.file.read_text()
        ours, daemon = text.partition("    connection:")[0], text[text.index("daemon:") :]
        controller.file.write_text(ours.replace("hq:", "other:") + daemon)
        assert controller.command("reload").returncode == 0
        eventually(lambda: keys(lab) == [] and rig.sas(lab) == [])
    finally:
        controller.stop()


def test_what_swanctl_unloads_comes_back(make_lab: MakeLab, tmp_path: Path) -> None:
    """`--load-all` takes connection and secret, `--load-creds` the secret alone; a reload takes
    what it drops."""
    lab = make_lab(uplinks=2, start_charons=False)
    bare(lab, tmp_path)
    controller = with_inline(lab, Auth.PSK, tmp_path)
    controller.start()
    try:
        controller.until(complete)
        before, first = rig.spis(lab), loaded(lab)
        assert first == {"get-conns": ["hq"], "get-shared": ["vici-mif-hq-ike-hq"]}
        lab.charons["client"].load()
        assert loaded(lab) != first
        eventually(lambda: loaded(lab) == first)
        controller.until(complete)
        assert rig.spis(lab) == before

        lab.charons["client"].swanctl("--load-creds", "--noprompt")
        assert loaded(lab)["get-shared"] == []
        lab.charons["gateway"].stop()
        lab.charons["gateway"].start()
        controller.until(lambda p: complete(p) and not before & set(rig.spis(lab)), 120)
        assert loaded(lab) == first

        controller.file.write_text(controller.file.read_text().replace("ike-hq:", "ike-new:"))
        assert controller.command("reload").stdout == "in force\n"
        eventually(lambda: loaded(lab)["get-shared"] == ["vici-mif-hq-ike-new"])
    finally:
        controller.stop()


def complete(peer: PeerStatus) -> bool:
    """A tunnel on each link and the spare: no key comes any more."""
    return peer.state == "up" and len(peer.tunnels) == 3 and all(t.children for t in peer.tunnels)


def keys(lab: Lab) -> list[str]:
    """Private keys in the client's charon."""
    return listed(lab, "get-keys", "keys")


def loaded(lab: Lab) -> dict[str, list[str]]:
    """Connections and shared secrets in it."""
    names = {"get-conns": "conns", "get-shared": "keys"}
    return {command: listed(lab, command, key) for command, key in names.items()}


def listed(lab: Lab, command: str, key: str) -> list[str]:
    found = rig.request(lab, command, {}).get(key, [])
    assert isinstance(found, list)
    return list(map(str, found))
