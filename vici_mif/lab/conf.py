# SPDX-License-Identifier: Apache-2.0
"""What stands in the files of the lab's operators: strongswan.conf and swanctl.conf.

Pure text. The client's swanctl.conf is an ordinary operator's: no key of ours, nothing that a
stock charon would not take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from vici_mif.lab.topology import (
    BACKUP,
    BACKUP_POOLS,
    CLIENT,
    GATEWAY,
    INSIDE_CLIENT,
    INSIDE_ROADWARRIOR,
    INSIDE_SITE,
    POOLS,
    Auth,
    Profile,
    Topology,
    Wish,
    family,
    inside_net,
)

Tree = Mapping[str, "str | int | Tree"]

CONNECTIONS = {
    Profile.ROADWARRIOR: {CLIENT: "hq", GATEWAY: "rw"},
    Profile.SITE: {CLIENT: "hq", GATEWAY: "branch"},
}
CHILD = "net"
IDENTITIES = {
    CLIENT: "client.lab.example",
    GATEWAY: "gateway.lab.example",
    BACKUP: "backup.lab.example",
}
SOCKET = "unix:///run/charon.vici"

# the AEAD that save-keys, tshark and our own reader all understand
IKE_PROPOSAL = "aes128gcm16-prfsha256-x25519"
ESP_PROPOSAL = "aes128gcm16-x25519"

# in the order in which charon registers what they offer
_PLUGINS = """
random nonce openssl aes sha2 hmac kdf gcm md4 gmp curve25519 ml x509 pubkey pkcs1 pkcs8 pem
revocation constraints attr kernel-libipsec kernel-netlink socket-default vici updown
eap-identity eap-mschapv2 eap-tls counters save-keys
"""


def render(tree: Tree, depth: int = 0) -> str:
    """A section in strongSwan's own syntax, each setting on its own line."""
    lines = []
    for key, value in tree.items():
        pad = "  " * depth
        if isinstance(value, Mapping):
            lines.append(f"{pad}{key} {{\n{render(value, depth + 1)}{pad}}}\n")
        else:
            lines.append(f"{pad}{key} = {value}\n")
    return "".join(lines)


def plugin_list(available: Iterable[str], libipsec: bool, keys: bool) -> list[str]:
    """The plugins to load, of those that the installation has."""
    unwanted = set() if libipsec else {"kernel-libipsec"}
    unwanted |= set() if keys else {"save-keys"}
    have = set(available) - unwanted
    return [plugin for plugin in _PLUGINS.split() if plugin in have]


def strongswan(wish: Wish, plugins: Iterable[str], log: Path, keys: Path | None, level: int) -> str:
    logger: Tree = {
        "path": str(log),
        "time_format": "%FT%T",
        "time_add_ms": "yes",
        "flush_line": "yes",
        "ike_name": "yes",
        "default": level,
    }
    per_plugin: dict[str, Tree] = {"vici": {"socket": SOCKET}}
    if keys:
        per_plugin["save-keys"] = {"ike": "yes", "esp": "yes", "wireshark_keys": str(keys)}
    charon: dict[str, str | int | Tree] = {
        "load": " ".join(plugins),
        "filelog": {"lab": logger},
        "plugins": per_plugin,
    }
    if wish.max_clones:
        charon["clone_ike_sa"] = {"max_clones": wish.max_clones}
    return render({"charon": charon, "swanctl": {"socket": SOCKET}})


def swanctl(topology: Topology, host: str, secret: str) -> str:
    """The operator's swanctl.conf of a host. The client calls the second gateway `backup`."""
    name = CONNECTIONS[topology.wish.profile][CLIENT if host == CLIENT else GATEWAY]
    connections = {name: _connection(topology, host, GATEWAY if host == CLIENT else host)}
    if host == CLIENT and topology.wish.gateways > 1:
        connections[BACKUP] = _connection(topology, host, BACKUP)
    parts: dict[str, str | int | Tree] = {
        "connections": connections,
        "secrets": _secrets(topology, secret),
    }
    if host != CLIENT and topology.wish.profile is Profile.ROADWARRIOR:
        parts["pools"] = {f"{name}{family(p)}": {"addrs": p} for p in _pools(topology, host)}
    # Debian's file ends with this line
    return render(parts) + "\ninclude conf.d/*.conf\n"


def _connection(topology: Topology, host: str, gateway: str) -> Tree:
    wish = topology.wish
    addresses = "remote_addrs" if host == CLIENT else "local_addrs"
    connection: dict[str, str | int | Tree] = {
        "version": 2,
        addresses: ",".join(topology.addresses_of(gateway)),
        "proposals": IKE_PROPOSAL,
    }
    if wish.profile is Profile.ROADWARRIOR:
        connection.update(_virtual_addresses(topology, host))
    if wish.auth is not Auth.PSK and host != CLIENT:
        connection["send_cert"] = "always"
    connection["local"] = _end(wish.auth, host, host)
    connection["remote"] = _end(wish.auth, gateway if host == CLIENT else CLIENT, host)
    connection["children"] = {CHILD: _child(topology, host)}
    return connection


def _virtual_addresses(topology: Topology, host: str) -> Tree:
    pools = _pools(topology, host)
    if host != CLIENT:
        name = CONNECTIONS[Profile.ROADWARRIOR][GATEWAY]
        return {"pools": ",".join(f"{name}{family(pool)}" for pool in pools)}
    return {"vips": ",".join("0.0.0.0" if family(pool) == 4 else "::" for pool in pools)}  # noqa: S104


def _pools(topology: Topology, host: str) -> tuple[str, ...]:
    pools = BACKUP_POOLS if host == BACKUP else POOLS
    return pools if _dual(topology.wish) else pools[:1]


def _dual(wish: Wish) -> bool:
    return wish.ipv6 or wish.outer == 6


def _end(auth: Auth, host: str, where: str) -> Tree:
    """How `host` authenticates itself, as written in the file of `where`."""
    if auth is Auth.PSK:
        return {"auth": "psk", "id": IDENTITIES[host]}
    if auth is Auth.EAP and host == CLIENT:
        return {"auth": "eap-mschapv2", "id": IDENTITIES[host], "eap_id": IDENTITIES[host]}
    own = {"certs": f"{host}.pem"} if host == where else {}
    return {"auth": "pubkey", "id": IDENTITIES[host], **own}


def _secrets(topology: Topology, secret: str) -> Tree:
    auth = topology.wish.auth
    if auth is Auth.PSK:
        hosts = (CLIENT, *(host for host in topology.charon_hosts if host != CLIENT))
        ids = {f"id-{i}": IDENTITIES[host] for i, host in enumerate(hosts, 1)}
        return {"ike-lab": {**ids, "secret": f'"{secret}"'}}
    if auth is Auth.EAP:
        return {"eap-lab": {"id": IDENTITIES[CLIENT], "secret": f'"{secret}"'}}
    return {}


def _child(topology: Topology, host: str) -> Tree:
    wish = topology.wish
    near, far = selectors(wish)
    if host != CLIENT:
        near, far = far, near
    child: dict[str, str | int | Tree] = {}
    # a road warrior's own side is what it was given: the default, dynamic
    if near:
        child["local_ts"] = ",".join(near)
    if far:
        child["remote_ts"] = ",".join(far)
    child["esp_proposals"] = ESP_PROPOSAL
    if host == CLIENT and wish.start_action != "none":
        child["start_action"] = wish.start_action
    return child


def selectors(wish: Wish) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The client's and the gateway's traffic selectors; none stands for the virtual address."""
    dual = _dual(wish)
    roadwarrior = wish.profile is Profile.ROADWARRIOR
    near = () if roadwarrior else inside_net(INSIDE_CLIENT, dual)
    far = inside_net(INSIDE_ROADWARRIOR if roadwarrior else INSIDE_SITE, dual)
    if wish.full:
        far = ("0.0.0.0/0", "::/0") if dual else ("0.0.0.0/0",)
    return near, far
