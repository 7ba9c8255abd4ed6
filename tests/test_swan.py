# SPDX-License-Identifier: Apache-2.0
"""VICI's messages and the model, both ways."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vici_mif.core import swan
from vici_mif.core.model import ChildTemplate, FromEnvironment, FromFile
from vici_mif.core.wish.config import Source, parse

# as a patched charon sends it, bytes and all
SA: dict[str, Any] = {
    "uniqueid": b"7",
    "version": b"2",
    "state": b"ESTABLISHED",
    "local-host": b"198.18.1.2",
    "local-port": b"4500",
    "local-id": b"client",
    "remote-host": b"203.0.113.1",
    "remote-port": b"4500",
    "remote-id": b"gw.example.org",
    "initiator": b"yes",
    "initiator-spi": b"97a1b2c3d4e5f607",
    "responder-spi": b"0011223344556677",
    "encr-alg": b"AES_GCM_16",
    "established": b"12",
    "rekey-time": b"13000",
    "local-vips": [b"10.9.0.1", b"10.9.0.2", b"fd00::1"],
    "tasks-active": [b"IKE_DELETE"],
    "clone-family": b"3",
    "cloned": b"yes",
    "clones": b"2",
    "clone-supported": b"yes",
    "pinned": b"28",
    "mobike": b"yes",
    "original-initiator": b"yes",
    "child-sas": {
        "net@eth1/203.0.113.1-4": {
            "name": b"net@eth1/203.0.113.1",
            "uniqueid": b"4",
            "reqid": b"2",
            "state": b"INSTALLED",
            "mode": b"TUNNEL",
            "protocol": b"ESP",
            "encap": b"yes",
            "spi-in": b"c2a4e91f",
            "spi-out": b"cd00b5a1",
            "if-id-in": b"00001e98",
            "if-id-out": b"00001e98",
            "bytes-in": b"840",
            "bytes-out": b"1680",
            "packets-in": b"10",
            "packets-out": b"20",
            "local-ts": [b"10.9.0.2/32"],
            "remote-ts": [b"10.100.0.0/16"],
        }
    },
}

# a stock 5.9.8, CONNECTING
STOCK = {
    "uniqueid": b"1",
    "state": b"CONNECTING",
    "local-host": b"198.18.0.2",
    "remote-host": b"2001:db8::1",
    "initiator-spi": b"97a1b2c3d4e5f607",
    "responder-spi": b"0000000000000000",
    "tasks-queued": [b"IKE_MOBIKE", b"CHILD_CREATE"],
}


def test_a_member_of_a_family() -> None:
    """Everything a patched charon shows is there, typed."""
    (sa,) = swan.sas({"hq": SA})
    (child,) = sa.children

    assert (sa.unique_id, sa.name, sa.family, sa.cloned, sa.clones) == (7, "hq", 3, True, 2)
    assert (sa.established, sa.answered, sa.closing) == (True, True, False)
    assert (sa.mobike, sa.original_initiator, sa.pinned_delay) == (True, True, 28)
    assert sa.local_vips == tuple(map(ip_address, ("10.9.0.1", "10.9.0.2", "fd00::1")))
    assert sa.tasks_active == ("IKE_DELETE",)
    assert (child.name, child.if_id_in, child.bytes_out) == ("net@eth1/203.0.113.1", 7832, 1680)
    assert child.works


def test_a_stock_charon() -> None:
    """What is missing means no, none or nothing."""
    (sa,) = swan.sas({"hq": STOCK})

    assert (sa.family, sa.cloned, sa.clone_supported, sa.mobike) == (None, False, False, False)
    assert (sa.answered, sa.established, sa.pinned_delay) == (False, False, None)
    assert sa.tasks_queued == ("IKE_MOBIKE", "CHILD_CREATE")


def test_a_rekeyed_child_is_the_new_one() -> None:
    """The event child-rekey shows both, one section deeper."""
    ((name, child),) = SA["child-sas"].items()
    both = {name.partition("-")[0]: {"old": child, "new": {**child, "uniqueid": b"5"}}}
    (sa,) = swan.sas({"hq": {**SA, "child-sas": both}})

    assert [c.unique_id for c in sa.children] == [5]


def test_text_is_as_good_as_bytes() -> None:
    """A transport that decodes already is understood, too."""

    def text(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: text(v) for k, v in value.items()}
        return [v.decode() for v in value] if isinstance(value, list) else value.decode()

    assert swan.sas({"hq": text(SA)}) == swan.sas({"hq": SA})


def test_what_is_no_sa_is_passed_over() -> None:
    """Events have words beside the SA's section."""
    assert swan.sas({"up": b"yes", "tag": b"mif-1", "other": {"a": b"b"}}) == ()


WRONG = {
    "number": ({"uniqueid": b"seven"}, "hq.uniqueid: expected a number, found 'seven'"),
    "yes or no": ({"mobike": b"perhaps"}, "hq.mobike: expected yes or no, found 'perhaps'"),
    "address": ({"local-host": b"nowhere"}, "expected an address, found 'nowhere'"),
    "bytes": ({"state": b"\xff"}, "hq.state: not UTF-8"),
    "a list for a value": ({"state": [b"x"]}, "hq.state: expected a value"),
    "children": ({"child-sas": b"x"}, "hq.child-sas: expected a section"),
    "a child": ({"child-sas": {"net-1": b"x"}}, "hq.child-sas.net-1: expected a section"),
    "a child's number": (
        {"child-sas": {"net-1": {"name": b"net"}}},
        "hq.child-sas.net-1.uniqueid: missing",
    ),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_malformed(change: dict[str, Any], said: str) -> None:
    """What charon must not send is named with its key."""
    with pytest.raises(swan.SwanError) as raised:
        swan.sas({"hq": {**SA, **change}})

    assert str(raised.value) == said


values = st.recursive(
    st.binary(max_size=6),
    lambda inner: (
        st.lists(st.binary(max_size=4), max_size=3)
        | st.dictionaries(st.sampled_from(list(SA)), inner, max_size=4)
    ),
)


@given(st.dictionaries(st.sampled_from(list(SA)), values))
def test_any_section_is_read_or_refused(change: dict[str, Any]) -> None:
    """Nothing but SwanError comes out of a section, whatever is in it."""
    try:
        found = swan.sas({"hq": {**SA, **change}})
    except swan.SwanError as error:
        found = ()
        assert str(error)  # noqa: PT017

    assert len(found) <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4500", "192.0.2.1"),
        ("[2001:db8::1]:4500", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("%any", "0.0.0.0"),
        ("%any6", "::"),
    ],
)
def test_addresses(text: str, expected: str) -> None:
    """All notations of docs/vici.md and charon's words for none."""
    assert swan.address(text) == ip_address(expected)


def test_a_connection_of_a_patched_charon() -> None:
    """vips and start_action are shown; list keys with hyphen or underscore."""
    (found,) = swan.connections(
        {
            "hq": {
                "local_addrs": [b"%any"],
                "remote_addrs": [b"203.0.113.1"],
                "version": b"IKEv2",
                "vips": [b"0.0.0.0", b"::"],
                "childless": b"allow",
                "mobike": b"no",
                "unique": b"UNIQUE_NO",
                "children": {
                    "net": {
                        "mode": b"TUNNEL",
                        "local-ts": [b"dynamic"],
                        "remote-ts": [b"10.100.0.0/16"],
                        "start_action": b"start",
                        "if_id_out": b"42",
                    }
                },
            }
        }
    )

    assert (found.vips, found.childless, found.mobike) == (("0.0.0.0", "::"), "allow", False)
    assert found.children == (
        ChildTemplate(
            "net", "TUNNEL", ("dynamic",), ("10.100.0.0/16",), "start", if_id_in="0", if_id_out="42"
        ),
    )


def test_a_connection_of_a_stock_charon() -> None:
    """It tells nothing of vips and start_action."""
    (found,) = swan.connections({"hq": {"remote_addrs": [b"gw"], "children": {"net": {}}}})

    assert (found.vips, found.mobike, found.children[0].start_action) == ((), True, None)


def test_inline_connection_becomes_messages() -> None:
    """Secrets first; contents of files are named, not read; what we drive starts by our hand."""
    text = """
version: 1
connections:
  hq:
    links: [eth0]
    connection:
      remote_addrs: 203.0.113.1
      vips: [0.0.0.0]
      mobike: yes
      local: {auth: pubkey, certs: client.pem, id: client}
      remote-1: {auth: eap}
      remote: {auth: pubkey, cacerts: /etc/ca.pem}
      children: {net: {remote_ts: 10.1.0.0/16}, own: {start_action: trap}}
      secrets:
        ike-a: {id: [client, gw], secret: {file: /run/psk}}
        eap-a: {id: carol, secret: {env: CAROL}}
        private-a: {file: client.key}
"""
    inline = parse([Source("c", text)]).connections["hq"].connection
    assert inline is not None
    psk, eap, key, connection = swan.loads("hq", inline, "/etc/vici-mif/")

    assert psk.command == eap.command == "load-shared"
    assert psk.message == {
        "id": "vici-mif-hq-ike-a",
        "type": "IKE",
        "data": FromFile("/run/psk"),
        "owners": ("client", "gw"),
    }
    assert eap.message["data"] == FromEnvironment("CAROL")
    assert (key.command, key.message["data"]) == ("load-key", FromFile("/etc/vici-mif/client.key"))
    assert connection.command == "load-conn"
    assert connection.message == {
        "version": "2",
        "mobike": "yes",
        "remote_addrs": ("203.0.113.1",),
        "vips": ("0.0.0.0",),
        "local": {
            "auth": "pubkey",
            "id": "client",
            "certs": (FromFile("/etc/vici-mif/client.pem"),),
        },
        "remote": {"auth": "pubkey", "cacerts": (FromFile("/etc/ca.pem"),)},
        "remote-1": {"auth": "eap"},
        "children": {
            "net": {"start_action": "none", "remote_ts": ("10.1.0.0/16",)},
            "own": {"start_action": "trap"},
        },
    }
