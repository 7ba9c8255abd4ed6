# SPDX-License-Identifier: Apache-2.0
"""The guard: one nftables table that refuses protected traffic in clear on the uplinks, and
keeps TCP's segments inside of what fits through the tunnels.

The table is replaced as a whole in one transaction, so there is no moment without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from vici_mif.core.model import Clamp, GuardWish, IPNetwork, Selector
from vici_mif.edges import nft
from vici_mif.edges.nft import Expression, NftError

FAMILY, TABLE = "inet", "vici_mif"
HOOKS = ("output", "forward")
MANGLE = -150
NO_UPLINKS = ("ipsec*", "lo", "mif*")

GuardError = NftError


class Guard:
    """Holds the wish and puts the table back when others delete it."""

    def __init__(self) -> None:
        self._wish: GuardWish | None = None
        self._lock = asyncio.Lock()
        self.restored = 0
        """How often others had taken the table away."""

    async def apply(self, wish: GuardWish | None) -> None:
        """Make the table this one; None takes it away. Raises GuardError."""
        async with self._lock:
            await apply(wish)
            self._wish = wish

    async def watch(self) -> None:
        """Put the table back after every deletion, for ever. Raises GuardError without nft."""
        await nft.watch(self._restore)

    async def _restore(self) -> None:
        async with self._lock:
            # our own replacing deletes too, and adds in the same transaction
            if self._wish is not None and not await present():
                await apply(self._wish)
                self.restored += 1


async def apply(wish: GuardWish | None) -> None:
    """Make the table this one, once; None takes it away."""
    await nft.load(_commands(wish))


async def present() -> bool:
    """Whether our table is there: others flush the whole ruleset as a habit."""
    return await nft.present(FAMILY, TABLE)


def _commands(wish: GuardWish | None) -> Iterator[Expression]:
    table = {"family": FAMILY, "name": TABLE}
    # `delete` fails where there is none, so that an `add` goes before it
    yield {"add": {"table": table}}
    yield {"delete": {"table": table}}
    if wish is None:
        return
    yield {"add": {"table": table}}
    for hook in HOOKS:
        chain = {"family": FAMILY, "table": TABLE, "name": hook}
        base = {"type": "filter", "hook": hook, "prio": 0, "policy": "accept"}
        yield {"add": {"chain": chain | base}}
        for expressions in _rules(wish, hook):
            yield _rule(hook, expressions)
    for clamp in wish.clamps:
        yield from _clamped(clamp)


def _rule(chain: str, expressions: list[Expression]) -> Expression:
    rule = {"family": FAMILY, "table": TABLE, "chain": chain, "expr": expressions}
    return {"add": {"rule": rule}}


# --- the size of TCP's segments ------------------------------------------------

# What either end announces in its SYN (RFC 9293, 3.7.1) bounds what the other sends.
TOWARDS, BACK = ("forward", "output"), ("forward", "input")


def _clamped(clamp: Clamp) -> Iterator[Expression]:
    """Chains of their own: they change packets before the others judge them."""
    back = Selector(clamp.selector.remote, clamp.selector.local)
    for selector, hooks in ((clamp.selector, TOWARDS), (back, BACK)):
        for hook in hooks:
            name = f"{hook}_mss"
            chain = {"family": FAMILY, "table": TABLE, "name": name}
            base = {"type": "filter", "hook": hook, "prio": MANGLE, "policy": "accept"}
            yield {"add": {"chain": chain | base}}
            yield _rule(name, [*_protected(selector), *_smaller(clamp.mss)])


def _smaller(mss: int) -> Iterator[Expression]:
    size = {"tcp option": {"name": "maxseg", "field": "size"}}
    yield _match({"&": [_field("tcp", "flags"), ["syn", "rst"]]}, "syn")
    yield _match(size, mss, ">")
    yield {"counter": None}
    yield {"mangle": {"key": size, "value": mss}}


def _rules(wish: GuardWish, hook: str) -> Iterator[list[Expression]]:
    accept: Expression = {"accept": None}
    if not wish.uplinks:
        return
    yield [_elsewhere(wish.uplinks), accept]
    yield [_match({"meta": {"key": "l4proto"}}, "esp"), accept]
    if hook == "output":
        yield [_match(_field("udp", "sport"), _set([500, 4500])), accept]
    for version in (4, 6):
        if exempt := _prefixes(net for net in wish.exempt if net.version == version):
            yield [_match(_field(_protocol(version), "daddr"), _set(exempt)), accept]
    if wish.kernel_esp:
        yield [_match({"rt": {"key": "ipsec"}}, True), accept]
    for selector in wish.selectors:
        yield [*_protected(selector), {"counter": None}, _REJECT]


def _elsewhere(uplinks: Iterable[str]) -> Expression:
    """Packets that leave by no uplink. `*`: every interface but loopback and tunnels of ours."""
    names = set(uplinks)
    key: Expression = {"meta": {"key": "oifname"}}
    if "*" in names:
        return _match(key, _set(NO_UPLINKS))
    starts = tuple(name[:-1] for name in names if name.endswith("*"))
    # a set of patterns takes no overlaps
    apart = [n for n in names if not any(n.startswith(s) and n != f"{s}*" for s in starts)]
    return _match(key, _set(sorted(apart)), "!=")


_REJECT: Expression = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}


def _protected(selector: Selector) -> Iterator[Expression]:
    """Source and destination; a selector of everything still names the IP version."""
    protocol = _protocol(selector.local.version)
    yield _match({"meta": {"key": "nfproto"}}, {4: "ipv4", 6: "ipv6"}[selector.local.version])
    for field, prefix in (("saddr", selector.local), ("daddr", selector.remote)):
        if prefix.prefixlen:
            yield _match(_field(protocol, field), _prefix(prefix))


def _match(left: Expression, right: object, operator: str = "==") -> Expression:
    return {"match": {"op": operator, "left": left, "right": right}}


def _field(protocol: str, field: str) -> Expression:
    return {"payload": {"protocol": protocol, "field": field}}


def _protocol(version: int) -> str:
    return {4: "ip", 6: "ip6"}[version]


def _set(items: Iterable[object]) -> Expression:
    return {"set": list(items)}


def _prefix(network: IPNetwork) -> Expression:
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def _prefixes(networks: Iterable[IPNetwork]) -> list[Expression]:
    """Of one IP version, without overlaps: an interval set takes none."""
    found = list(networks)
    four: list[IPNetwork] = [
        *collapse_addresses(net for net in found if isinstance(net, IPv4Network))
    ]
    six: list[IPNetwork] = [
        *collapse_addresses(net for net in found if isinstance(net, IPv6Network))
    ]
    return [_prefix(net) for net in (*four, *six)]
