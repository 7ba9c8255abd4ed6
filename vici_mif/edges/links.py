# SPDX-License-Identifier: Apache-2.0
"""Links: the interfaces of this namespace with the addresses that may be used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from fnmatch import fnmatchcase
from ipaddress import ip_interface
from typing import Any

from pyroute2 import AsyncIPRoute

from vici_mif.core.model import IPInterface, Link
from vici_mif.edges import netlink

NEVER = ("lo", "mif*", "ipsec*")  # loopback, our xfrm interfaces, charon's TUN
# What containers and virtual machines hang on is no uplink, though it has a global address;
# docker names its networks' bridges after the first twelve digits of their ids.
GUESTS = ("docker*", f"br-{'[0-9a-f]' * 12}", "veth*", "virbr*", "vnet*", "podman*", "cni*")
# A tunnel is no uplink: IKE through our own tunnel would carry itself.
TUNNELS = {"tun", "xfrm", "vti", "vti6", "ipip", "sit", "gre", "ip6tnl", "ip6gre", "wireguard"}

IFF_UP, IFF_LOOPBACK, IFF_RUNNING = 0x1, 0x8, 0x40
IFA_F_TEMPORARY, IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x01, 0x08, 0x20, 0x40
AF_INET6 = 10
# A temporary address (RFC 8981) is a secondary one of IPv6; the flag's bit means
# "secondary" in IPv4, where such an address is as good as another.
UNUSABLE = IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE

Report = Callable[[tuple[Link, ...]], Awaitable[None]]


async def watch(report: Report) -> None:
    """Report all links now and after every change, for ever."""
    last: tuple[Link, ...] | None = None
    async with aclosing(netlink.hints(netlink.LINKS | netlink.ADDRESSES)) as hints:
        async for _ in hints:
            links = await read()
            if links != last:
                await report(links)
                last = links


async def read() -> tuple[Link, ...]:
    """All links as they are. Raises KernelError."""
    with netlink.asking("reading links"):
        async with AsyncIPRoute() as socket:
            messages = [message async for message in await socket.get_links()]
            addresses = [message async for message in await socket.get_addr()]
    found = [_link(message, addresses) for message in messages if _is_link(message)]
    return tuple(sorted(found, key=lambda link: link.index))


def _is_link(message: Any) -> bool:
    name = str(message.get("ifname"))
    return not (
        message["flags"] & IFF_LOOPBACK
        or message.get(("linkinfo", "kind")) in TUNNELS
        or any(fnmatchcase(name, pattern) for pattern in NEVER + GUESTS)
    )


def _link(message: Any, addresses: list[Any]) -> Link:
    index = int(message["index"])
    mine = (_address(entry) for entry in addresses if entry["index"] == index)
    return Link(
        name=str(message.get("ifname")),
        index=index,
        up=message["flags"] & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING,
        mtu=int(message.get("mtu") or 0),
        addresses=tuple(address for address in mine if address is not None),
    )


def _address(message: Any) -> IPInterface | None:
    """A global address that may be used now, else None."""
    flags = message.get("flags") or 0
    unusable = UNUSABLE | (IFA_F_TEMPORARY if message["family"] == AF_INET6 else 0)
    if flags & unusable or message["scope"] != 0:
        return None
    # On a point-to-point link `address` is the peer's and `local` ours.
    own = message.get("local") or message.get("address")
    return ip_interface(f"{own}/{message['prefixlen']}")
