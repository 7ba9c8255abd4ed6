# SPDX-License-Identifier: Apache-2.0
"""What happens to the client's interfaces: leases, carriers, names, VLANs.

An uplink that is taken away waits, down and without addresses, with the router: so its far
end, and a capture there, live on.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

from pyroute2 import NetlinkError

from vici_mif.lab import namespaces
from vici_mif.lab.errors import LabError
from vici_mif.lab.lab import Lab
from vici_mif.lab.topology import CLIENT, MAX_NAME, ROUTER, Port, bare, family

_AWAY = "x-"


def rename(lab: Lab, uplink: str, name: str) -> None:
    """Down, renamed, up: the kernel renames no interface that is up."""
    port = lab.port(uplink)
    if not 0 < len(name.encode()) <= MAX_NAME or any(c in "/:" or c.isspace() for c in name):
        raise LabError(f"{name!r}: no interface can have this name (1 to {MAX_NAME} bytes)")
    namespaces.rename(lab.client.namespace, uplink, name)
    lab.note_name(uplink, name)
    namespaces.raise_port(lab.client.namespace, replace(port, name=name))


def remove(lab: Lab, uplink: str) -> None:
    """The interface vanishes from the client."""
    lab.port(uplink)
    away = f"{_AWAY}{uplink}"[:MAX_NAME]
    namespaces.move(lab.client.namespace, uplink, lab.router.namespace, away)


def add(lab: Lab, uplink: str) -> None:
    """It comes again, with the addresses and routes that DHCP gives it."""
    port = lab.port(uplink)
    away = f"{_AWAY}{uplink}"[:MAX_NAME]
    namespaces.move(lab.router.namespace, away, lab.client.namespace, uplink)
    namespaces.raise_port(lab.client.namespace, port)


def lose_carrier(lab: Lab, uplink: str) -> None:
    """The far end goes down: the client's stays up, with its addresses, without carrier."""
    namespaces.set_up(lab.router.namespace, lab.designed(uplink), up=False)


def restore_carrier(lab: Lab, uplink: str) -> None:
    """The cable is in again."""
    namespaces.raise_port(lab.router.namespace, lab.topology.port(ROUTER, lab.designed(uplink)))


def set_mtu(lab: Lab, uplink: str, size: int) -> None:
    """Both ends: a packet of more bytes is neither sent nor taken there."""
    lab.port(uplink)
    ends = ((lab.client, uplink), (lab.router, lab.designed(uplink)))
    for host, name in ends:
        host.exec(["ip", "link", "set", "dev", name, "mtu", str(size)])


def add_address(lab: Lab, uplink: str, address: str) -> None:
    """One more, behind those that are there."""
    port = lab.port(uplink)
    namespaces.add_addresses(lab.client.namespace, uplink, [address])
    lab.note_lease(uplink, (*port.addresses, address))


def remove_address(lab: Lab, uplink: str, address: str) -> None:
    """The kernel takes the routes with that source address along."""
    port = lab.port(uplink)
    if address not in port.addresses:
        raise LabError(f"{uplink} has no {address} (it has: {', '.join(port.addresses) or 'none'})")
    lab.note_lease(uplink, tuple(a for a in port.addresses if a != address))
    namespaces.remove_addresses(lab.client.namespace, uplink, [address])


def renew(lab: Lab, uplink: str, address: str) -> None:
    """DHCP gives this address instead of those of the same family."""
    port = lab.port(uplink)
    _demand_subnet(lab, uplink, address)
    old = [a for a in port.addresses if family(a) == family(address)]
    kept = tuple(a for a in port.addresses if a not in old)
    lab.note_lease(uplink, (address, *kept))
    namespaces.remove_addresses(lab.client.namespace, uplink, old)
    namespaces.raise_port(lab.client.namespace, lab.port(uplink))


def _demand_subnet(lab: Lab, uplink: str, address: str) -> None:
    far = lab.topology.port(ROUTER, lab.designed(uplink)).addresses
    networks = [ip_interface(a).network for a in far]
    if ip_interface(address).network not in networks:
        raise LabError(f"{address} is not of {uplink}: {', '.join(map(str, networks))}")


def add_vlan(lab: Lab, uplink: str, number: int) -> Port:
    """A VLAN on both ends of an uplink's wire, with addresses and a default route."""
    lab.port(uplink)
    if not 1 <= number <= 99:
        raise LabError(f"VLAN {number}: from 1 to 99 are possible here")
    name, net = f"{uplink}.{number}", f"192.168.{100 + number}"
    near = Port(CLIENT, name, (f"{net}.100/24",), (f"{net}.1",), 650, dynamic=True)
    far = Port(ROUTER, f"{lab.designed(uplink)}.{number}", (f"{net}.1/24",))
    for host, port, parent in ((lab.router, far, lab.designed(uplink)), (lab.client, near, uplink)):
        make = functools.partial(_vlan, port=port, parent=parent, number=number)
        namespaces.netlink(host.namespace, make)
        namespaces.raise_port(host.namespace, port)
    return near


def _vlan(ipr: Any, port: Port, parent: str, number: int) -> None:
    try:
        below = namespaces.index_of(ipr, parent)
        ipr.link("add", ifname=port.name, kind="vlan", link=below, vlan_id=number)
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
        raise LabError(
            "this kernel has no VLANs: run the lab in a guest kernel, `make guest CMD=…`"
        ) from error


def add_bridge(lab: Lab, name: str, address: str) -> None:
    """A bridge with a port, up and with carrier, as docker makes it for its containers."""
    tail = format(sum(name.encode()), "04x")

    def work(ipr: Any) -> None:
        ipr.link("add", ifname=name, kind="bridge")
        ipr.link("add", ifname=f"veth{tail}a", kind="veth", peer={"ifname": f"veth{tail}b"})
        bridge = namespaces.index_of(ipr, name)
        for end in "ab":
            ipr.link("set", index=namespaces.index_of(ipr, f"veth{tail}{end}"), state="up")
        inner = namespaces.index_of(ipr, f"veth{tail}a")
        ipr.link("set", index=inner, master=bridge)
        ipr.link("set", index=bridge, state="up")
        ipr.addr("add", index=bridge, address=bare(address), prefixlen=_length(address))

    namespaces.netlink(lab.client.namespace, work)


def _length(address: str) -> int:
    return ip_interface(address).network.prefixlen


def remote_down(lab: Lab, address: str) -> None:
    """An address of the gateway goes; who asks for it hears that nobody has it."""
    port, full = _remote(lab, address)
    namespaces.remove_addresses(lab.host(port.host).namespace, port.name, [full])


def remote_up(lab: Lab, address: str) -> None:
    """And comes back, with its routes."""
    port, _ = _remote(lab, address)
    namespaces.raise_port(lab.host(port.host).namespace, port)


def _remote(lab: Lab, address: str) -> tuple[Port, str]:
    found: Iterable[tuple[Port, str]] = (
        (wire.b, full)
        for wire in lab.topology.gateway_wires
        for full in wire.b.addresses
        if bare(full) == bare(address)
    )
    for port, full in found:
        return port, full
    known = ", ".join(bare(a) for wire in lab.topology.gateway_wires for a in wire.b.addresses)
    raise LabError(f"{address} is no address of a gateway (there are: {known})")
