# SPDX-License-Identifier: Apache-2.0
"""The outer source check: an nftables table of its own, beside the guard's.

It stands at the input hook, where ESP and ESP in UDP arrive before the kernel or charon's own
socket takes them, with kernel ESP as with kernel-libipsec. The guard's table is replaced as a
whole; here elements come and go by themselves, and what the kernel learned has to stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address

from vici_mif.core.events import SourcesSeen
from vici_mif.core.model import Source, SourceChange, SourceCounts, SourceWish
from vici_mif.edges import nft
from vici_mif.edges.nft import Expression, NftError

FAMILY, TABLE = "inet", "vici_mif_sources"
LOOK_DELAY = 1.0
MEMORY = 60  # seconds a newcomer is remembered after its last packet, and one is refused
MOST = 4096  # newcomers, and SPIs that have some
MOST_OF_ONE = 4  # new addresses of one SPI, and then one more in 15 s
EARLY = -190  # before connection tracking and every filter, after defragmentation
REFUSED = ("refused4", "refused6")
BATCH = 2000  # elements in one command

Emit = Callable[[SourcesSeen], None]
Elements = tuple[str, list[object]]


class Sources:
    """Holds the wish, puts the table back when others delete it, and tells what was seen."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._wish: SourceWish | None = None
        self._applied: SourceWish | None = None
        """What the table holds; None after a failure, so that it is made anew."""
        self._lock = asyncio.Lock()
        self._counts = SourceCounts()
        self._seen = False
        self.restored = 0
        """How often others had taken the table away."""

    async def change(self, change: SourceChange | None) -> None:
        """Make the table differ so from what was applied last. Raises NftError."""
        await self.apply(change.after(self._wish) if change else None)

    async def apply(self, wish: SourceWish | None) -> None:
        """Make the table this one; None takes it away. Raises NftError."""
        async with self._lock:
            before, self._applied = self._applied, None
            if wish is None:
                await remove()
            elif before is None or before.drop != wish.drop:
                await _make(wish)
            else:
                await _change(before, wish)
            self._wish = self._applied = wish

    async def watch(self) -> None:
        """Restore and look, for ever. Raises NftError without nft."""
        found: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(nft.watch(self._restore))
                group.create_task(self._look())
        except* NftError as errors:
            found += errors.exceptions  # Python 3.11.2 makes a group of what is raised here
        if found:
            raise found[0]

    async def _restore(self) -> None:
        async with self._lock:
            if await nft.present(FAMILY, TABLE):
                if self._wish is None:
                    await remove()  # a killed predecessor's
            elif self._wish is not None:
                self._applied = None
                await _make(self._wish)
                self._applied = self._wish
                self.restored += 1

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_DELAY)
            if self._wish is not None:
                with suppress(NftError):  # taken away, and put back by the watch
                    await self._look_once()

    async def _look_once(self) -> None:
        """Newcomers are listed only while there are some: it costs a process each."""
        counts = _counts(await nft.listing("counters", "table", FAMILY, TABLE))
        if counts == self._counts and not self._seen:
            return
        newcomers = [*_newcomers(await nft.listing("set", FAMILY, TABLE, "new4"))]
        newcomers += _newcomers(await nft.listing("set", FAMILY, TABLE, "new6"))
        self._counts, self._seen = counts, bool(newcomers)
        self._emit(SourcesSeen(tuple(newcomers), counts))


async def remove() -> None:
    """Nothing is checked any more."""
    table = {"family": FAMILY, "name": TABLE}
    # `delete` fails where there is none, so that an `add` goes before it
    await nft.load([{"add": {"table": table}}, {"delete": {"table": table}}])


# --- elements --------------------------------------------------------------------


async def _make(wish: SourceWish) -> None:
    """One transaction; elements are text here, as the sets are: nft's JSON knows no `typeof`."""
    lines = [f"{verb} table {FAMILY} {TABLE}" for verb in ("add", "delete", "add")]
    lines += _table(wish)
    for name, items in _elements(wish):
        lines += [f"add element {FAMILY} {TABLE} {name} {{ {_words(items)} }}"]
    await nft.run("-f", "-", stdin="\n".join(lines) + "\n")


async def _change(before: SourceWish, wish: SourceWish) -> None:
    """Only the difference, in one transaction: new before old.

    Who is refused is written anew each time: those elements end by themselves.
    """
    old, new = dict(_by_set(before)), dict(_by_set(wish))
    commands = []
    for name in REFUSED:
        if old.pop(name) | new[name]:
            commands += [{"flush": {"set": {"family": FAMILY, "table": TABLE, "name": name}}}]
        commands += [_command("add", name, new.pop(name))]
    commands += [_command("add", name, new[name] - old[name]) for name in new]
    commands += [_command("delete", name, old[name] - new[name]) for name in new]
    if wanted := [command for command in commands if command]:
        await nft.load(wanted)


def _command(verb: str, name: str, items: frozenset[object]) -> Expression:
    """Nothing where there is no element."""
    shown = [_json(item) for item in items]
    element = {"family": FAMILY, "table": TABLE, "name": name, "elem": shown}
    return {verb: {"element": element}} if shown else {}


def _by_set(wish: SourceWish) -> Iterator[tuple[str, frozenset[object]]]:
    yield "ports", frozenset(wish.ports)
    yield "spis", frozenset(source.spi for source in wish.known)
    for version in (4, 6):
        yield f"known{version}", frozenset(s for s in wish.known if s.address.version == version)
        refused = frozenset(s for s in wish.refused if s.address.version == version)
        yield f"refused{version}", refused


def _elements(wish: SourceWish) -> Iterator[Elements]:
    for name, found in _by_set(wish):
        items = list(found)
        for start in range(0, len(items), BATCH):
            yield name, items[start : start + BATCH]


def _json(item: object) -> object:
    return {"concat": [item.spi, str(item.address)]} if isinstance(item, Source) else item


def _words(items: Iterable[object]) -> str:
    return ", ".join(
        f"{item.spi:#x} . {item.address}" if isinstance(item, Source) else str(item)
        for item in items
    )


def _newcomers(found: Iterable[Expression]) -> Iterator[tuple[Source, float]]:
    for item in found:
        for element in item.get("set", {}).get("elem", ()):
            inside = element["elem"]
            spi, address = inside["val"]["concat"]
            yield Source(int(spi), ip_address(address)), float(MEMORY - inside["expires"])


def _counts(found: Iterable[Expression]) -> SourceCounts:
    items = (item["counter"] for item in found if "counter" in item)
    return SourceCounts(**{item["name"].rstrip("_"): item["packets"] for item in items})


# --- the table -------------------------------------------------------------------

RAW, IN_UDP = "@th,0,32", "@th,64,32"
"""Where the SPI stands, after the IP header (RFC 4303, 2) or after UDP's (RFC 3948, 2.1)."""


def _table(wish: SourceWish) -> Iterator[str]:
    head = f"{FAMILY} {TABLE}"
    for counter in ("new_", "refused", "spread", "full"):
        yield f"add counter {head} {counter}"
    bounded = f"size {MOST}; flags dynamic,timeout; timeout {MEMORY}s;"
    yield f"add set {head} ports {{ type inet_service; }}"
    yield f"add set {head} spis {{ typeof {RAW}; }}"
    yield f"add set {head} spreading {{ typeof {RAW}; {bounded} }}"
    for version, ip in ((4, "ip"), (6, "ip6")):
        pair = f"typeof {RAW} . {ip} saddr;"
        yield f"add set {head} known{version} {{ {pair} }}"
        yield f"add set {head} new{version} {{ {pair} {bounded} }}"
        yield f"add set {head} refused{version} {{ {pair} flags timeout; timeout {MEMORY}s; }}"
        for spi, chain in ((RAW, "esp"), (IN_UDP, "udp")):
            yield f"add chain {head} {chain}{version}"
            for rule in _rules(version, spi, f"{ip} saddr", "drop" if wish.drop else "accept"):
                yield f"add rule {head} {chain}{version} {rule}"
    hook = f"type filter hook input priority {EARLY}; policy accept;"
    yield f"add chain {head} input {{ {hook} }}"
    for version, name in ((4, "ipv4"), (6, "ipv6")):
        yield f"add rule {head} input meta nfproto {name} meta l4proto esp goto esp{version}"
        # a first word of zeros is IKE's (RFC 3948, 2.2)
        port = f"meta nfproto {name} udp dport @ports {IN_UDP} != 0"
        yield f"add rule {head} input {port} goto udp{version}"


def _rules(version: int, spi: str, source: str, verdict: str) -> Iterator[str]:
    """In this order. A packet that nothing can be remembered of passes."""
    pair = f"{spi} . {source}"
    yield f"{pair} @known{version} accept"
    yield f"{spi} != @spis accept"
    remember = f"update @new{version} {{ {pair} }}"
    yield f"{pair} @refused{version} {remember} counter name refused {verdict}"
    yield f"{pair} @refused{version} counter name refused {verdict}"
    yield f"{pair} @new{version} {remember} accept"
    limit = f"limit rate over {MOST_OF_ONE}/minute burst {MOST_OF_ONE} packets"
    yield f"add @spreading {{ {spi} {limit} }} counter name spread accept"
    yield f"add @new{version} {{ {pair} }} counter name new_ accept"
    yield "counter name full accept"
