# SPDX-License-Identifier: Apache-2.0
"""The controller on a lab's gateway, and peers of it that are driven by hand over VICI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.real.rig import Controller, request, sas
from tests.real.test_family import Vici
from vici_mif.core.model import Sa
from vici_mif.core.status import FamilyStatus, GatewayStatus
from vici_mif.lab.hosts import Host
from vici_mif.lab.lab import Lab
from vici_mif.lab.namespaces import add_addresses
from vici_mif.lab.topology import bare, family, pick

HONEST, HOSTILE = "honest.lab.example", "hostile.lab.example"
SECRET = "not the lab's own"
INSIDE = "10.100.0.2"
PROPOSAL = "aes128gcm16-prfsha256-x25519"


class Watcher(Controller):
    """`vici-mif run` on the gateway."""

    def _on(self) -> Host:
        return self.lab.gateway

    def _wish(self, connection: str) -> str:
        return f"gateway: {connection}"

    @property
    def gateway(self) -> GatewayStatus:
        found = self.status().gateway
        assert found is not None
        return found

    def decides_alike(self) -> None:
        """What it noted of its peers, and decided about them, is decided again."""
        journal = self.directory / "journal"
        done = self.command("replay", "--quiet", str(journal))
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"MembersSeen"' in (journal / "journal.jsonl").read_text()

    def family(self, identity: str) -> list[FamilyStatus]:
        """All families of an identity."""
        return [f for f in self.gateway.families if f.identity == identity]

    def sees(self, check: Callable[[GatewayStatus], object], within: float = 60.0) -> GatewayStatus:
        """Until its status is so."""
        return self.awaits(lambda: self.gateway, check, within)


@contextmanager
def watching(lab: Lab, check: str = "count") -> Iterator[Watcher]:
    """A controller on the gateway, until the end of the block."""
    watcher = Watcher(lab, f"{{connections: [rw, guests], source_check: {check}}}")
    watcher.start()
    try:
        watcher.sees(lambda _: watcher.status().daemon.charon)
        yield watcher
    finally:
        if watcher.runs:
            watcher.stop()
    watcher.decides_alike()


class Peer:
    """One identity in the client's charon, with a connection of its own."""

    def __init__(self, lab: Lab, identity: str, link: str, name: str = "") -> None:
        self.lab, self.identity, self.link = lab, identity, link
        self.name = name or identity.partition(".")[0]
        self.remote = lab.topology.remote_addresses[0]
        self.vici = Vici(lab.client)
        self.root = ""
        self._load()

    def _load(self) -> None:
        for host in ("client", "gateway"):
            shared = {"id": self.name, "type": "IKE", "data": SECRET, "owners": [self.identity]}
            request(self.lab, "load-shared", shared, host)
        connection = {
            "version": "2",
            "remote_addrs": [self.remote],
            "proposals": [PROPOSAL],
            "vips": ["0.0.0.0"],
            "local": {"auth": "psk", "id": self.identity},
            "remote": {"auth": "psk", "id": "gateway.lab.example"},
            "children": {"net": {"remote_ts": ["10.100.0.0/24"]}},
        }
        request(self.lab, "load-conn", {self.name: connection})

    @property
    def address(self) -> str:
        """Ours on its link."""
        return bare(pick(self.lab.port(self.link).addresses, 4))

    def authenticate(self, vip: str = "0.0.0.0") -> str:
        """A new family, without a child; its first IKE SA."""
        answer = self.vici.ask(
            "create-ike",
            ike=self.name,
            local=self.address,
            remote=self.remote,
            vips=[vip],
            childless="yes",
        )
        self.root = self.root or answer["ike-id"]
        return answer["ike-id"]

    def inner(self, ike: str) -> str:
        (vip,) = self.vici.sas()[ike]["local-vips"]
        return str(vip.decode())

    def open(self) -> str:
        """An authentication and its tunnel; the inner address."""
        ike = self.authenticate()
        self.child(ike)
        return self.inner(ike)

    def child(self, ike: str) -> None:
        vip = self.inner(ike)
        self.vici.ask("create-child", ike__id=ike, child="net", name="net", local_ts=f"{vip}/32")

    def clone(self, ike: str) -> str:
        """The new IKE SA, or why there is none."""
        message = {"ike-id": ike}
        answer = request(self.lab, "clone", message)
        return str(answer.get("ike-id") if answer["success"] == "yes" else answer["reason"])

    def move(self, ike: str, local: str) -> None:
        self.vici.ask("migrate", ike__id=ike, local=local, remote=self.remote)

    def at_gateway(self) -> list[Sa]:
        """What the gateway's charon has of it."""
        return [sa for sa in sas(self.lab, "gateway") if sa.remote_id == self.identity]


def receive_guests(lab: Lab, max_clones: int | None = None) -> None:
    """A connection on the gateway that any identity may use which has a secret."""
    connection = {
        "version": "2",
        "local_addrs": lab.topology.remote_addresses,
        "proposals": [PROPOSAL],
        "pools": ["rw4"],
        "local": {"auth": "psk", "id": "gateway.lab.example"},
        "remote": {"auth": "psk"},
        "children": {"net": {"local_ts": ["10.100.0.0/24"]}},
    }
    if max_clones is not None:
        limit = f"guests {{ max_clones = {max_clones} }}"
        with lab.gateway.strongswan_conf.open("a") as conf:
            conf.write(f"charon {{ clone_ike_sa {{ connections {{ {limit} }} }} }}\n")
        request(lab, "reload-settings", {}, "gateway")
    request(lab, "load-conn", {"guests": connection}, "gateway")


def route_all(lab: Lab) -> None:
    """What is sent from any address of an uplink's network leaves by it."""
    for number, wire in enumerate(lab.topology.uplinks, start=1):
        table, name = str(1000 + number), wire.a.name
        own = next(a for a in wire.a.addresses if family(a) == 4)
        hop = pick(wire.a.gateways, 4)
        ip = ["ip", "-4"]
        lab.client.exec([*ip, "route", "add", "default", "via", hop, "dev", name, "table", table])
        rule = ["from", f"{bare(own).rpartition('.')[0]}.0/24", "lookup", table, "pref", "150"]
        lab.client.exec([*ip, "rule", "add", *rule])


def add_address(lab: Lab, link: str, number: int) -> str:
    """One more address on an uplink, that nobody announced."""
    own = next(a for a in lab.port(link).addresses if family(a) == 4)
    new = f"{bare(own).rpartition('.')[0]}.{number}"
    lab.client.exec(["ip", "address", "add", f"{new}/24", "dev", link])
    return new


def translate(lab: Lab, addresses: list[str]) -> list[str]:
    """Each of them behind a NAT with an address and a port of its own there: what others see.

    Who forges is not behind that box: what it tracks has no room for all of his addresses.
    """
    outside = lab.topology.gateway_wires[0].a
    net = bare(pick(outside.addresses, 4)).rpartition(".")[0]
    seen = [f"{net}.{150 + number}" for number in range(len(addresses))]
    add_addresses(lab.router.namespace, outside.name, [f"{each}/32" for each in seen])
    rules = "".join(
        f"  ip saddr {address} udp sport 1-65535 snat to {to}:{40000 + number}\n"
        for number, (address, to) in enumerate(zip(addresses, seen, strict=True))
    )
    text = (
        "table ip others-nat {\n"
        " chain forged { type filter hook output priority raw; ip saddr 11.0.0.0/8 notrack; }\n"
        f" chain honest {{\n  type nat hook postrouting priority srcnat - 1;\n{rules} }}\n}}\n"
    )
    lab.router.exec(["nft", "-f", "-"], stdin=text)
    return seen
