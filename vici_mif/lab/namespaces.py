# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, and the wires, addresses and routes in them, over netlink."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute, NetlinkError, config, netns

from vici_mif.lab.errors import LabError
from vici_mif.lab.topology import Port, Wire, bare, family

T = TypeVar("T")

# seconds for its helper process: two are too few where processors are translated
config.default_communicate_timeout = 30
config.default_create_socket_timeout = 30

# of namespaces in which something is tried; they are no lab's
PROBE = "mif-probe-"
NETNS_DIR = Path("/run/netns")
_AF = {4: 2, 6: 10}
_ANY = {4: "0.0.0.0/0", 6: "::/0"}
_MAIN = 254
# the preference of rules for a source: before charon's own, 220
_BY_SOURCE = 210
_IFA_F_NODAD = 0x02
_PROTO_DHCP, _PROTO_RA, _PROTO_STATIC = 16, 9, 4


def create(name: str) -> None:
    _claimed(name, lambda: netns.create(name))


def attach(name: str, pid: int) -> None:
    """Give the namespace in which a process runs a name. Raises LabError."""
    _claimed(name, lambda: netns.attach(name, pid))


def _claimed(name: str, make: Callable[[], object]) -> None:
    try:
        make()
    except FileExistsError as error:
        raise LabError(
            f"network namespace {name} is there already: `vici-mif lab down` of that lab removes it"
        ) from error


def remove(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        netns.remove(name)


def existing() -> list[str]:
    return sorted(p.name for p in NETNS_DIR.iterdir()) if NETNS_DIR.is_dir() else []


def inode(name: str) -> int | None:
    """What identifies a namespace among processes; None where the name is an empty shell.

    A creation that was interrupted leaves a plain file.
    """
    try:
        found = (NETNS_DIR / name).stat()
    except FileNotFoundError:
        return None
    own = Path("/proc/self/ns/net").stat()
    return found.st_ino if found.st_dev == own.st_dev and found.st_ino != own.st_ino else None


def inside(name: str, work: Callable[[], T]) -> T:
    """Run `work` in a namespace.

    In a thread of its own, for a namespace belongs to a thread; this also keeps pyroute2's
    event loop apart from one that the caller may be running in.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            netns.setns(name)
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name=f"netns {name}")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def netlink(name: str, work: Callable[[Any], T]) -> T:
    """Run `work` with a netlink socket of a namespace."""

    def opened() -> T:
        with IPRoute() as ipr:
            return work(ipr)

    return inside(name, opened)


def sysctl(name: str, values: dict[str, str]) -> None:
    def write() -> None:
        for key, value in values.items():
            path = Path("/proc/sys") / key
            if path.exists():
                path.write_text(value)

    inside(name, write)


def connect(wire: Wire, a: str, b: str) -> None:
    """A veth pair between two namespaces, each end under its own name."""

    def add(ipr: Any) -> None:
        ipr.link(
            "add",
            ifname=wire.a.name,
            kind="veth",
            peer={"ifname": wire.b.name, "net_ns_fd": b},
        )

    netlink(a, add)
    for port, where in ((wire.a, a), (wire.b, b)):
        raise_port(where, port)


def raise_port(name: str, port: Port) -> None:
    """Bring an interface up with its addresses and routes, as DHCP, RAs or an admin would."""

    def work(ipr: Any) -> None:
        index = index_of(ipr, port.name)
        ipr.link("set", index=index, state="up")
        for address in port.addresses:
            _add_address(ipr, index, address)
        versions = {family(address) for address in port.addresses}
        for gateway in (g for g in port.gateways if family(g) in versions):
            _add_default(ipr, index, port, gateway)
            if port.table:
                _leave_by(ipr, index, port, gateway)
        for network, hop in port.routes:
            _add_route(ipr, index, network, hop)

    netlink(name, work)


def rename(name: str, interface: str, new: str) -> None:
    """Give an interface another name; it is down afterwards."""

    def work(ipr: Any) -> None:
        index = index_of(ipr, interface)
        ipr.link("set", index=index, state="down")
        ipr.link("set", index=index, ifname=new)

    netlink(name, work)


def move(name: str, interface: str, to: str, new: str) -> None:
    """Move an interface to another namespace; it gets there down and without addresses."""

    def work(ipr: Any) -> None:
        index = index_of(ipr, interface)
        ipr.link("set", index=index, state="down")
        ipr.link("set", index=index, ifname=new, net_ns_fd=to)

    netlink(name, work)


def set_up(name: str, interface: str, up: bool) -> None:
    netlink(
        name,
        lambda ipr: ipr.link("set", index=index_of(ipr, interface), state="up" if up else "down"),
    )


def add_addresses(name: str, interface: str, addresses: Iterable[str]) -> None:
    def work(ipr: Any) -> None:
        index = index_of(ipr, interface)
        ipr.link("set", index=index, state="up")
        for address in addresses:
            _add_address(ipr, index, address)

    netlink(name, work)


def remove_addresses(name: str, interface: str, addresses: Iterable[str]) -> None:
    def work(ipr: Any) -> None:
        index = index_of(ipr, interface)
        for address in addresses:
            length = int(address.partition("/")[2])
            with tolerated(errno.EADDRNOTAVAIL):
                ipr.addr("del", index=index, address=bare(address), prefixlen=length)

    netlink(name, work)


def keep_local(name: str, network: str, priority: int) -> None:
    """A rule that leaves a network to the main table, whatever tables others bring."""
    host, _, length = network.partition("/")

    def add(ipr: Any) -> None:
        ipr.rule(
            "add",
            family=_AF[family(network)],
            priority=priority,
            dst=host,
            dst_len=int(length),
            table=_MAIN,
        )

    netlink(name, add)


def index_of(ipr: Any, interface: str) -> int:
    """The kernel's index of an interface. Raises LabError."""
    found = ipr.link_lookup(ifname=interface)
    if not found:
        raise LabError(f"there is no interface {interface}")
    return int(found[0])


def _add_address(ipr: Any, index: int, address: str) -> None:
    length = int(address.partition("/")[2])
    flags = {"flags": _IFA_F_NODAD} if family(address) == 6 else {}
    with tolerated(errno.EEXIST):
        ipr.addr("add", index=index, address=bare(address), prefixlen=length, **flags)


def _add_default(ipr: Any, index: int, port: Port, gateway: str) -> None:
    version = family(gateway)
    route: dict[str, Any] = {"proto": _PROTO_STATIC}
    if port.dynamic and version == 4:
        source = next(bare(a) for a in port.addresses if family(a) == 4)
        route = {"proto": _PROTO_DHCP, "prefsrc": source}
    elif port.dynamic:
        route = {"proto": _PROTO_RA}
    with tolerated(errno.EEXIST):
        ipr.route(
            "add",
            family=_AF[version],
            dst=_ANY[version],
            gateway=gateway,
            oif=index,
            priority=port.metric,
            **route,
        )


def _leave_by(ipr: Any, index: int, port: Port, gateway: str) -> None:
    """Packets from the port's address take this next hop, whatever the main table prefers."""
    version = family(gateway)
    source = next(bare(a) for a in port.addresses if family(a) == version)
    length = {4: 32, 6: 128}[version]
    rule = {"src": source, "src_len": length, "table": port.table, "priority": _BY_SOURCE}
    route = {"dst": _ANY[version], "gateway": gateway, "oif": index, "table": port.table}
    with tolerated(errno.EEXIST):
        ipr.rule("add", family=_AF[version], **rule)
    with tolerated(errno.EEXIST):
        ipr.route("add", family=_AF[version], proto=_PROTO_STATIC, **route)


def _add_route(ipr: Any, index: int, network: str, hop: str) -> None:
    route = {"family": _AF[family(network)], "proto": _PROTO_STATIC}
    with tolerated(errno.EEXIST):
        ipr.route("add", dst=network, gateway=hop, oif=index, **route)


@contextlib.contextmanager
def tolerated(code: int) -> Any:
    """Netlink's refusal with this code (of `errno`) is no error."""
    try:
        yield
    except NetlinkError as error:
        if error.code != code:
            raise


def kernel_has_esp(name: str, version: int) -> bool:
    """Whether the kernel takes an ESP state: asked by adding one where nobody is hurt."""
    loop = "127.0.0.1" if version == 4 else "::1"
    state = ["src", loop, "dst", loop, "proto", "esp", "spi", "0x100"]
    key = "0x" + os.urandom(20).hex()
    command = ["ip", "-netns", name, "xfrm", "state"]
    sealed = ["mode", "tunnel", "aead", "rfc4106(gcm(aes))", key, "128"]
    added = subprocess.run([*command, "add", *state, *sealed], capture_output=True, check=False)
    if added.returncode == 0:
        subprocess.run([*command, "delete", *state], capture_output=True, check=False)
    return added.returncode == 0


def nft_takes(name: str, rules: str) -> bool:
    """Whether nftables takes these rules there."""
    command = ["ip", "netns", "exec", name, "nft", "-f", "-"]
    done = subprocess.run(command, input=rules, text=True, capture_output=True, check=False)
    return done.returncode == 0
