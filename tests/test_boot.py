# SPDX-License-Identifier: Apache-2.0
"""`vici-mif guard` in a machine that boots: no link, no charon, no controller yet.

Behind eth0 is another namespace with a real DHCP server, which answers for the whole world.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.namespace import eventually, ip, own_namespace
from vici_mif.core.model import Footprint, Order, OrderKind
from vici_mif.edges import footprints, orders
from vici_mif.edges.control import NAMESPACE, hold_namespace

pytestmark = pytest.mark.real

WORLD = "9.9.9.9"
ROOT = Path(__file__).parent.parent
_numbers = itertools.count()

ROAD = """
version: 1
connections:
  hq:
    links: ["eth*"]
    connection:
      remote_addrs: 203.0.113.1
      vips: 0.0.0.0
      children: {net: {remote_ts: 0.0.0.0/0}}
"""
SITE = """
version: 1
connections:
  hq:
    links: [eth0, "wwan*"]
    connection:
      remote_addrs: 203.0.113.1
      children: {net: {local_ts: 10.1.0.0/16, remote_ts: 0.0.0.0/0}}
"""
TWO_LINES = "version: 1\nconnections:\n  hq: {links: [eth0]}\n"
KEPT = Footprint(
    "hq",
    per_path=True,
    kernel_esp=False,
    slots=((ip_address("10.9.0.1"),),),
    remotes=(ip_network("0.0.0.0/0"),),
)

SERVER = """
import selectors, socket, sys
waiting = selectors.DefaultSelector()
for port in (53, 123):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((sys.argv[1], port))
    waiting.register(one, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in waiting.select():
        data, source = key.fileobj.recvfrom(2048)
        key.fileobj.sendto(data, source)
"""


class Machine:
    """A host before its network is up, and the commands of an operator."""

    def __init__(self, directory: Path, far: str) -> None:
        self.directory, self.far = directory, far
        self.file = directory / "config.yaml"
        self.state = directory / "state"

    def guard(self, text: str) -> subprocess.CompletedProcess[str]:
        places = f"daemon: {{run_dir: {self.directory}/run, state_dir: {self.state}, "
        self.file.write_text(text + places + f"vici: {self.directory}/none.vici}}\n")
        return self.command("guard")

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "vici_mif", *words, "-c", str(self.file)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)

    def plug_in(self, name: str = "eth0", address: str = "192.0.2.2/24") -> None:
        """A cable: eth0 leads to the other namespace."""
        ip(f"link add {name} type veth peer name far-{name} netns {self.far}")
        ip(f"link set {name} up")
        ip(f"-n {self.far} link set far-{name} up")
        ip(f"-n {self.far} addr add 192.0.2.1/24 dev far-{name}")
        if address:
            ip(f"addr add {address} dev {name}")
            ip("route add default via 192.0.2.1")

    def in_far(self, *argv: str) -> subprocess.Popen[str]:
        command = ["ip", "netns", "exec", self.far, *argv]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)

    def arrives(self, source: str, destination: str, within: float = 1.0) -> bool:
        """Whether a datagram from here is seen in the other namespace.

        `within`: seconds to wait for it, more where it shall be seen.
        """
        seen = self.in_far("tcpdump", "-n", "-l", "-c", "1", "-i", "any", "udp dst port 9999")
        assert seen.stdout is not None
        try:
            eventually(lambda: "listening" in seen.stdout.readline())  # type: ignore[union-attr]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((source, 0))
                for _ in range(3):
                    try:
                        sender.sendto(b"in clear", (destination, 9999))
                    except OSError:
                        continue
            seen.wait(within)
        except subprocess.TimeoutExpired:
            return False
        else:
            return True
        finally:
            seen.kill()
            seen.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with own_namespace():
        far = f"boot-far-{os.getpid()}-{next(_numbers)}"
        ip(f"netns add {far}")
        ip(f"-n {far} link set lo up")
        ip(f"-n {far} addr add {WORLD}/32 dev lo")
        try:
            yield Machine(tmp_path, far)
        finally:
            ip(f"netns del {far}")


def kernel() -> list[str]:
    """All that could be ours."""
    said = [ip(f"{v} {what}") for v in ("-4", "-6") for what in ("rule", "route show table all")]
    tables = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    return [*said, ip("-o link"), tables.stdout]


@contextmanager
def dhcp_server(machine: Machine) -> Iterator[None]:
    file, leases = machine.directory / "udhcpd.conf", machine.directory / "leases"
    leases.touch()
    file.write_text(
        f"start 192.0.2.10\nend 192.0.2.20\ninterface far-eth0\nlease_file {leases}\n"
        f"pidfile {machine.directory}/udhcpd.pid\noption subnet 255.255.255.0\n"
        "option router 192.0.2.1\noption lease 3600\n"
    )
    server = machine.in_far("busybox", "udhcpd", "-f", str(file))
    try:
        yield
    finally:
        server.kill()
        server.wait()


def lease(machine: Machine) -> str:
    """An address from the DHCP server, as a host without any other gets it."""
    script = machine.directory / "bound"
    script.write_text(
        '#!/bin/sh\n[ "$1" = bound ] || exit 0\nip addr add "$ip/$mask" dev "$interface"\n'
        'ip route add default via "$router"\n'
    )
    script.chmod(0o755)
    argv = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "10", "-T", "1"]
    done = subprocess.run([*argv, "-s", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ip("-o -4 addr show dev eth0").split()[3].partition("/")[0]


def ask(port: int, to: str = WORLD) -> bool:
    """One question over UDP from whatever address the host chooses, and its answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"question", (to, port))
        try:
            return client.recv(2048) == b"question"
        except OSError:
            return False


def log_in(machine: Machine, address: str) -> bool:
    """A TCP connection from the world to a server of this host, answered."""
    with socket.create_server((address, 22)) as server:
        code = (
            "import socket, sys; s = socket.create_connection((sys.argv[1], 22), 15, "
            f"('{WORLD}', 0)); sys.stdout.write(s.recv(9).decode())"
        )
        client = machine.in_far(sys.executable, "-c", code, address)
        server.settimeout(15)
        try:
            connection, _ = server.accept()
        except TimeoutError:
            client.kill()
            return False
        with connection:
            connection.sendall(b"SSH-2.0")
        return client.communicate(timeout=20)[0] == "SSH-2.0"


def lives(machine: Machine, address: str) -> None:
    """ssh, DNS and NTP: the world answers the host and the host answers the world."""
    server = machine.in_far(sys.executable, "-c", SERVER, WORLD)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        assert ask(53)
        assert ask(123)
        assert log_in(machine, address)
    finally:
        server.kill()
        server.wait()


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox: udhcpd and udhcpc")
@pytest.mark.parametrize("text", [ROAD, SITE], ids=["per-path", "one"])
def test_the_host_lives_when_no_controller_ever_comes(machine: Machine, text: str) -> None:
    """Everything is behind the peer; the lease, ssh, DNS and NTP of the host go on."""
    assert machine.guard(text).returncode == 0
    machine.plug_in(address="")
    with dhcp_server(machine):
        address = lease(machine)

    lives(machine, address)


def test_what_was_given_before_the_boot_stays_in(machine: Machine) -> None:
    """The inner address of the last run is refused on the uplink, with the two lines alone."""
    footprints.write(machine.state, [KEPT])
    done = machine.guard(TWO_LINES)
    assert done.returncode == 0, done.stderr
    assert "10.9.0.1" in done.stdout
    machine.plug_in()
    ip("addr add 10.9.0.1/32 dev lo")

    assert not machine.arrives("10.9.0.1", WORLD)
    assert machine.arrives("192.0.2.2", WORLD, within=10)


def test_source_and_destination_are_refused_on_links_that_come_later(machine: Machine) -> None:
    """No link was there when the table was laid; one of them is only a pattern."""
    assert machine.guard(SITE).returncode == 0
    machine.plug_in("wwan7")
    ip("addr add 10.1.0.1/32 dev lo")

    assert not machine.arrives("10.1.0.1", WORLD)
    assert machine.arrives("192.0.2.2", WORLD, within=10)


def test_any_link_is_every_link_but_our_own(machine: Machine) -> None:
    """`links: "*"`: loopback and tunnels of ours are no uplinks."""
    assert machine.guard(SITE.replace('[eth0, "wwan*"]', '["*", eth0]')).returncode == 0
    machine.plug_in("enp3s0")
    ip("addr add 10.1.0.1/32 dev lo")
    assert not machine.arrives("10.1.0.1", WORLD)

    ip("route del default")
    machine.plug_in("ipsec0", address="")
    ip("route add default via 192.0.2.1 dev ipsec0 onlink")
    assert machine.arrives("10.1.0.1", WORLD, within=10)


def test_down_leaves_nothing(machine: Machine) -> None:
    """Without a controller and without charon; the next boot lays nothing either."""
    before = kernel()
    footprints.write(machine.state, [KEPT])
    machine.guard(TWO_LINES)
    assert kernel() != before

    assert machine.command("down").returncode == 0

    assert kernel() == before
    assert not (machine.state / footprints.NAME).exists()
    done = machine.command("guard")
    assert (done.returncode, kernel()) == (0, before)
    assert "nothing is known" in done.stdout


def test_an_inline_connection_that_is_down_is_not_guarded(machine: Machine) -> None:
    """`down` holds over restarts, also against what the configuration declares."""
    before = kernel()
    orders.write(machine.state, [Order(1, OrderKind.DOWN, "hq", "2026-01-01T00:00:00Z")])

    assert machine.guard(SITE).returncode == 0
    assert kernel() == before


def test_what_stands_is_left_alone(machine: Machine) -> None:
    """Run again beside live tunnels it changes nothing: they may stand on what is there."""
    footprints.write(machine.state, [KEPT])
    machine.guard(TWO_LINES)
    ip("route add 10.77.0.0/16 dev lo table 7832 proto 77")
    before = kernel()

    done = machine.guard(TWO_LINES)

    assert (done.returncode, kernel()) == (0, before)
    assert "left as they are" in done.stdout


def test_beside_a_controller_it_does_nothing(machine: Machine) -> None:
    """One controller per namespace, and it knows better."""
    before = kernel()
    with held():
        done = machine.guard(SITE)

    assert (done.returncode, kernel()) == (0, before)
    assert "a controller runs" in done.stdout


@contextmanager
def held(*, listening: bool = True) -> Iterator[None]:
    """This process has the namespace, or only its name."""
    if listening:
        claim = hold_namespace()
        assert isinstance(claim, socket.socket)
    else:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        claim.bind(NAMESPACE)
    with claim:
        yield


@pytest.mark.parametrize("listening", [True, False])
def test_no_user_keeps_it_from_laying(machine: Machine, listening: bool) -> None:
    """Anybody can have the name of the namespace: it says nothing unless it is root's."""
    os.seteuid(65534)
    try:
        claim = held(listening=listening)
        claim.__enter__()
    finally:
        os.seteuid(0)
    machine.guard(SITE)
    run = machine.command("run")
    claim.__exit__(None, None, None)

    assert (run.returncode, "and is none: end it" in run.stderr) == (1, True)
    machine.plug_in()
    ip("addr add 10.1.0.1/32 dev lo")
    assert not machine.arrives("10.1.0.1", WORLD)


@pytest.mark.parametrize("name", [footprints.NAME, orders.NAME])
def test_a_broken_file_stops_nothing(machine: Machine, name: str) -> None:
    """What can be read is laid, and the exit status says that it is not all."""
    machine.state.mkdir()
    (machine.state / name).write_text("{")

    done = machine.guard(SITE)

    assert done.returncode == 1
    assert name in done.stderr
    machine.plug_in()
    ip("addr add 10.1.0.1/32 dev lo")
    assert not machine.arrives("10.1.0.1", WORLD)


def test_the_configuration_is_wrong(machine: Machine) -> None:
    """78, and the place."""
    done = machine.guard(TWO_LINES.replace("links", "lnks"))

    assert done.returncode == 78
    assert "config.yaml:3" in done.stderr
