# SPDX-License-Identifier: Apache-2.0
"""Which interfaces of a kernel are links: a namespace with some of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.namespace import ip, own_namespace
from vici_mif.edges import links


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with own_namespace():
        yield


def make(name: str, kind: str, address: str) -> None:
    rest = f"peer name far-{name[:8]}" if kind == "veth" else ""
    ip(f"link add {name} type {kind} {rest}")
    ip(f"address add {address} dev {name}")
    ip(f"link set {name} up")


def names() -> list[str]:
    """Links that have an address; the far ends of veth pairs have none."""
    return [link.name for link in asyncio.run(links.read()) if link.addresses]


def test_uplinks_are_links() -> None:
    """Also a bridge that an operator named, as on a router."""
    make("eth0", "veth", "192.0.2.1/24")
    make("br-lan", "bridge", "192.0.2.129/25")

    assert names() == ["eth0", "br-lan"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("docker0", "bridge"),
        ("docker_gwbridge", "bridge"),
        ("br-0a1b2c3d4e5f", "bridge"),
        ("veth0a1b2c3", "veth"),
        ("virbr0", "bridge"),
        ("mif1", "veth"),
        ("ipsec0", "veth"),
    ],
)
def test_what_is_ours_or_hangs_on_containers_is_none(name: str, kind: str) -> None:
    """Whatever address it has."""
    make(name, kind, "172.17.0.1/16")

    assert names() == []


def test_a_temporary_state_of_an_address_is_none() -> None:
    """A link-local or deprecated address is no address of a link."""
    make("eth0", "veth", "169.254.7.7/16 scope link")
    ip("address add 2001:db8::1/64 dev eth0 nodad preferred_lft 0")

    assert names() == []


TUNNELS = {
    "tun": "tuntap add {} mode tun",
    "gre": "link add {} type gre local 192.0.2.1 remote 192.0.2.2",
    "ipip": "link add {} type ipip local 192.0.2.1 remote 192.0.2.2",
    "sit": "link add {} type sit local 192.0.2.1 remote 192.0.2.2",
    "vti": "link add {} type vti local 192.0.2.1 remote 192.0.2.2 key 1",
    "xfrm": "link add {} type xfrm if_id 1",
    "wireguard": "link add {} type wireguard",
    "ip6gre": "link add {} type ip6gre local 2001:db8::1 remote 2001:db8::2",
    "ip6tnl": "link add {} type ip6tnl local 2001:db8::1 remote 2001:db8::2",
    "vti6": "link add {} type vti6 local 2001:db8::1 remote 2001:db8::2 key 1",
}
LACKS = ("Unknown device type", "not supported")


@pytest.mark.parametrize("kind", TUNNELS)
def test_tunnels_are_none(kind: str) -> None:
    """Whatever they are called: IKE through a tunnel could be IKE through our own."""
    try:
        ip(TUNNELS[kind].format("uplink0"))
    except AssertionError as error:
        if any(words in str(error) for words in LACKS):
            pytest.skip(f"this kernel has no interfaces of kind {kind}")
        raise
    ip("address add 198.51.100.1/24 dev uplink0")
    ip("link set uplink0 up")
    make("eth0", "veth", "192.0.2.1/24")

    assert names() == ["eth0"]


@pytest.mark.parametrize(
    ("kind", "judged"), [*((kind, False) for kind in TUNNELS), ("veth", True), (None, True)]
)
def test_tunnels_of_kinds_that_this_kernel_lacks(kind: str | None, judged: bool) -> None:
    """As a kernel that has them lists them; a card of iron has no kind."""
    message = {"ifname": "uplink0", "flags": links.IFF_UP, ("linkinfo", "kind"): kind}

    assert links._is_link(message) == judged
