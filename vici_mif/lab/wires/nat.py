# SPDX-License-Identifier: Apache-2.0
"""NAT in front of uplinks, in the router, each with an address of its own or all with one.

What comes back for nobody is dropped, as such boxes do. Rebinding means: the box forgets an
uplink's flows, and what comes next leaves it with another port.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from itertools import product
from typing import Any

from pyroute2 import NFCTSocket
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

from vici_mif.lab import namespaces
from vici_mif.lab.errors import LabError
from vici_mif.lab.hosts import Host
from vici_mif.lab.topology import CLIENT, Topology, Wire, bare, pick

TABLE = "lab-nat"
_FIRST_HOST = 101
_PORTS, _FIRST_PORT = 500, 20000


def prepare(router: Host, topology: Topology) -> None:
    """The boxes of all uplinks that the wish names."""
    if not topology.wish.nat:
        return
    for wire in topology.gateway_wires:
        outside = sorted({outside_address(topology, uplink, wire) for uplink in topology.wish.nat})
        namespaces.add_addresses(router.namespace, wire.a.name, (f"{a}/32" for a in outside))
    _load(router, topology, {})


def outside_address(topology: Topology, uplink: str, remote: Wire) -> str:
    """As what the gateway's side of a wire sees an uplink."""
    order = [wire.a.name for wire in topology.uplinks]
    number = 0 if topology.wish.one_nat else order.index(uplink)
    net = ip_interface(pick(remote.a.addresses, 4)).network
    return str(net.network_address + _FIRST_HOST + number)


def rebind(router: Host, topology: Topology, uplink: str, rebindings: dict[str, int]) -> None:
    """Forget an uplink's flows; `rebindings` counts for each how often that happened."""
    if uplink not in topology.wish.nat:
        raise LabError(f"{uplink} is behind no NAT: `vici-mif lab up --nat {uplink}`")
    _load(router, topology, rebindings)
    source = bare(pick(topology.port(CLIENT, uplink).addresses, 4))
    namespaces.inside(router.namespace, lambda: _forget(source))


def _load(router: Host, topology: Topology, rebindings: dict[str, int]) -> None:
    rules = "".join(_rules(topology, rebindings))
    pairs = product(topology.wish.nat, topology.gateway_wires)
    outside = {outside_address(topology, uplink, wire) for uplink, wire in pairs}
    text = (
        f"table ip {TABLE} {{\n"
        f" chain input {{\n  type filter hook input priority 0;\n"
        f"  ip daddr {{ {', '.join(sorted(outside))} }} drop\n }}\n"
        f" chain postrouting {{\n  type nat hook postrouting priority srcnat;\n{rules} }}\n}}\n"
    )
    # adding first makes the removal of what is not there harmless; all of it is one transaction
    router.exec(["nft", "-f", "-"], stdin=f"table ip {TABLE}\ndelete table ip {TABLE}\n{text}")


def _rules(topology: Topology, rebindings: dict[str, int]) -> Iterator[str]:
    for uplink in topology.wish.nat:
        again = rebindings.get(uplink, 0)
        low = _FIRST_PORT + _PORTS * again
        for wire in topology.gateway_wires:
            to = outside_address(topology, uplink, wire)
            pair = f'iifname "{uplink}" oifname "{wire.a.name}"'
            if again:
                yield f"  {pair} udp sport 1-65535 snat to {to}:{low}-{low + _PORTS - 1}\n"
            yield f"  {pair} snat to {to}\n"


def _forget(source: str) -> None:
    """Delete what the kernel tracks for packets from this address."""
    with NFCTSocket() as conntrack:
        for entry in list(conntrack.dump()):
            found = _origin(entry)
            if found is not None and found.saddr == source:
                with namespaces.tolerated(errno.ENOENT):  # its time was over meanwhile
                    conntrack.entry("del", tuple_orig=found)


def _origin(entry: Any) -> Any:
    """The tuple of the direction in which a flow began."""
    version = entry["nfgen_family"]
    tuple_orig = entry.get_attr("CTA_TUPLE_ORIG")
    found = NFCTAttrTuple.from_netlink(version, tuple_orig) if tuple_orig else None
    if found is not None and ip_address(found.saddr).version != 4:
        return None
    return found
