# SPDX-License-Identifier: Apache-2.0
"""The operators' files of a lab."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from vici_mif.lab import conf
from vici_mif.lab.charons import fresh_secret
from vici_mif.lab.topology import BACKUP, CLIENT, GATEWAY, Auth, Profile, Wish, design

SECRET = "correct-horse"

WISHES = [
    Wish(profile=profile, auth=auth, ipv6=ipv6, full=full)
    for profile, auth, ipv6, full in product(Profile, Auth, (False, True), (False, True))
]


def text(wish: Wish, host: str) -> str:
    return conf.swanctl(design(wish), host, SECRET)


def setting(key: str, found: str) -> str:
    match = re.search(rf"^ *{key} = (.*)$", found, re.MULTILINE)
    assert match, f"{key} is missing"
    return match.group(1)


@pytest.mark.parametrize("wish", WISHES, ids=str)
def test_each_setting_stands_on_its_own_line(wish: Wish) -> None:
    """strongSwan reads to the end of the line: two settings in one are one wrong value."""
    for host in (CLIENT, GATEWAY):
        for line in text(wish, host).splitlines():
            assert re.fullmatch(r"|\S+ \{|\s+\S+ \{|\s*\}|\s+\S+ = \S+|include \S+", line), line


@pytest.mark.parametrize("wish", WISHES, ids=str)
def test_the_selectors_of_both_ends_are_each_others(wish: Wish) -> None:
    client, gateway = text(wish, CLIENT), text(wish, GATEWAY)
    assert setting("remote_ts", client) == setting("local_ts", gateway)
    if wish.profile is Profile.SITE:
        assert setting("local_ts", client) == setting("remote_ts", gateway)
    else:
        assert "local_ts" not in client
        assert setting("pools", gateway)


def test_the_clients_file_has_nothing_that_stock_does_not_know() -> None:
    known = {
        "version", "remote_addrs", "vips", "proposals", "auth", "id", "eap_id", "certs",
        "remote_ts", "local_ts", "esp_proposals", "start_action", "secret", "id-1", "id-2",
    }  # fmt: skip
    for wish in WISHES:
        assert set(re.findall(r"(\S+) = ", text(wish, CLIENT))) <= known


def test_a_full_tunnel_takes_everything() -> None:
    assert setting("remote_ts", text(Wish(full=True), CLIENT)) == "0.0.0.0/0"
    assert setting("remote_ts", text(Wish(full=True, ipv6=True), CLIENT)) == "0.0.0.0/0,::/0"


def test_all_remotes_are_named() -> None:
    assert setting("remote_addrs", text(Wish(remotes=2), CLIENT)) == "203.0.113.1,198.51.100.1"


def test_the_client_knows_both_gateways_apart() -> None:
    """Two connections with an identity and an address each, for the same networks."""
    client = text(Wish(gateways=2), CLIENT)
    assert re.findall(r"remote_addrs = (\S+)", client) == ["203.0.113.1", "198.18.9.1"]
    assert re.findall(r"remote_ts = (\S+)", client) == ["10.100.0.0/24"] * 2
    assert "id = backup.lab.example" in client
    backup = text(Wish(gateways=2), BACKUP)
    assert setting("local_addrs", backup) == "198.18.9.1"
    assert setting("addrs", backup) == "10.223.0.0/24"


def test_a_fresh_secret_is_read_alike_everywhere() -> None:
    """0x or 0s at its beginning is an encoding for swanctl, and a part of it for libreswan."""
    assert re.fullmatch(r"[0-9a-f]{48}", fresh_secret())


def test_certificates_need_no_shared_secret() -> None:
    assert SECRET not in text(Wish(auth=Auth.CERT), CLIENT)
    assert SECRET in text(Wish(auth=Auth.EAP), CLIENT)


def test_plugins_are_those_there_in_the_order_charon_needs() -> None:
    have = {"vici", "kernel-netlink", "kernel-libipsec", "save-keys", "openssl", "unknown"}
    assert conf.plugin_list(have, libipsec=True, keys=False) == [
        "openssl", "kernel-libipsec", "kernel-netlink", "vici",
    ]  # fmt: skip
    assert "kernel-libipsec" not in conf.plugin_list(have, libipsec=False, keys=True)


def test_clones_are_a_matter_of_strongswan_conf() -> None:
    def made(**wish: int) -> str:
        return conf.strongswan(Wish(**wish), ["vici"], Path("/l"), None, 1)  # type: ignore[arg-type]

    assert setting("max_clones", made()) == "8"
    assert "clone_ike_sa" not in made(max_clones=0)
