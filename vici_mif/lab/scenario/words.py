# SPDX-License-Identifier: Apache-2.0
"""What can be done in a scenario: one line for each word.

`link LINK rename NAME`: small letters are written as they stand, capitals stand for something
(KINDS). A stage that can do it has a method `do_link_rename(link, name)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface
from itertools import zip_longest

from vici_mif.core.wish.document import nearest
from vici_mif.core.wish.values import DELAY, DELAY_UNITS

REST = "WORDS"
"""Stands for all that is left of the line."""


@dataclass(frozen=True, slots=True)
class Word:
    """Something that can be done."""

    usage: str
    help: str
    needs: frozenset[str] = frozenset()
    """What the machine of a real stage must have for it."""

    @property
    def name(self) -> str:
        """`link_rename`; of the stages' methods."""
        return "_".join(part.replace("-", "_") for part in self.usage.split() if part.islower())


@dataclass(frozen=True, slots=True)
class Command:
    """A word with what its capitals stand for."""

    word: Word
    arguments: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return self.text


def _word(usage: str, text: str, *needs: str) -> Word:
    return Word(usage, text, frozenset(needs))


WORDS = (
    _word("link LINK down", "as `ip link set down`: routes and IPv6 addresses go with it"),
    _word("link LINK up", "up again, with the addresses and routes that DHCP gives it"),
    _word("link LINK remove", "the interface is gone"),
    _word("link LINK add", "the interface comes (again), with addresses and routes"),
    _word("link LINK rename NAME", "down, renamed, up: a new name needs an interface that is down"),
    _word("carrier LINK lost", "the cable is drawn: up without carrier, addresses stay"),
    _word("carrier LINK back", "the cable is in again"),
    _word("address LINK add ADDRESS", "one more address"),
    _word("address LINK remove ADDRESS", "an address is taken away, the link stays up"),
    _word("address LINK renew ADDRESS", "DHCP gives this address instead of the ones before"),
    _word("vlan LINK NUMBER", "a VLAN on a link: LINK.NUMBER with an address of its own", "vlan"),
    _word("bridge NAME ADDRESS", "a bridge of somebody else on the client, as docker makes it"),
    _word("cut LINK DIRECTION", "everything is lost silently behind a link that stays up"),
    _word("uncut LINK", "nothing is lost there any more"),
    _word("rebind LINK", "the NAT forgets: what comes next gets another port", "nat"),
    _word("delay LINK TIME", "so long is each direction of an uplink"),
    _word("loss LINK NUMBER", "so many of a hundred packets of an uplink are lost"),
    _word("mtu LINK NUMBER", "the link takes packets of so many bytes from now on"),
    _word("remote ADDRESS down", "an address of the gateway goes"),
    _word("remote ADDRESS up", "and comes back"),
    _word("kill controller", "as `kill -9` does"),
    _word("start controller", "started again"),
    _word("stop controller", "SIGTERM, and wait for its end"),
    _word("kill charon", "the client's charon dies without a word"),
    _word("start charon", "started again, with the operator's `swanctl --load-all`"),
    _word("kill gateway", "the gateway's charon dies without a word"),
    _word("stop gateway", "SIGTERM to the gateway's charon: it deletes its IKE SAs and ends"),
    _word("start gateway", "started again"),
    _word("upgrade SIDE", "its charon ends, one with the series takes its place", "patched"),
    _word("suspend TIME", "the machine sleeps; in a lab, both daemons of the client stand still"),
    _word("clock forward TIME", "somebody sets the clock of the day", "own-clock"),
    _word("clock back TIME", "the same, backwards", "own-clock"),
    _word("order WORDS", "what the operator types after `vici-mif`"),
    _word("terminate WHICH by SIDE", "a side deletes IKE SAs: `all`, the `root`, or one `clone`"),
    _word("rekey children by SIDE", "a side rekeys all CHILD SAs"),
    _word("rekey WHICH by SIDE", "a side rekeys IKE SAs, the same words"),
    _word("clone by SIDE", "a side clones the root of the family by itself"),
    _word("initiate", "the client's operator brings his connection up by hand"),
    _word("load-all", "the operator's `swanctl --load-all` on the client"),
    _word("flush rules", "somebody deletes all routing rules but the kernel's own"),
    _word("flush ruleset", "somebody deletes everything of nftables"),
    _word("traffic start", "UDP and TCP both ways through each tunnel that is there"),
    _word("traffic at NUMBER", "the same with so many datagrams a second in each direction"),
    _word("remember", "what `unchanged` and counts of moves compare with from now on"),
)


def _one_of(*choices: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected {' or '.join(choices)}, found {text}")
        return text

    return check


def _like(pattern: str, what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {what}, found {text}")
        return text

    return check


def _time(text: str) -> str:
    _like(DELAY.pattern, "a time such as 5s or 500ms")(text)
    return text


def seconds(text: str) -> float:
    """500ms -> 0.5"""
    match = DELAY.fullmatch(text)
    assert match is not None
    return float(match[1]) * DELAY_UNITS[match[2]]


def _address(text: str) -> str:
    try:
        ip_interface(text)
    except ValueError:
        raise ValueError(f"expected an address, found {text}") from None
    return text


_interface = _like(r"[a-zA-Z][\w.-]{0,14}", "the name of an interface")

KINDS: Mapping[str, Callable[[str], str]] = {
    "LINK": _interface,
    "NAME": _interface,
    "ADDRESS": _address,
    "NUMBER": _like(r"\d{1,5}", "a number"),
    "DIRECTION": _one_of("both", "up", "down"),
    "TIME": _time,
    "WHICH": _one_of("all", "root", "clone"),
    "SIDE": _one_of("client", "gateway"),
    REST: str,
}
"""What a capital stands for, and how it is checked."""


def parse(line: str, words: Iterable[Word] = WORDS) -> Command:
    """A line of `do:`. Raises ValueError, which tells what is known."""
    parts = line.split()
    fits = [word for word in words if _fits(word, parts)]
    if not fits:
        near = nearest(line, [word.usage for word in words])
        raise ValueError(f"unknown word `{line}`" + (f"; nearest known: {near}" if near else ""))
    return Command(fits[0], _arguments(fits[0], parts), line)


def _pairs(word: Word, parts: list[str]) -> list[tuple[str | None, str | None]]:
    usage = word.usage.split()
    if usage[-1] == REST and len(parts) >= len(usage):
        parts = [*parts[: len(usage) - 1], " ".join(parts[len(usage) - 1 :])]
    return list(zip_longest(usage, parts))


def _fits(word: Word, parts: list[str]) -> bool:
    return all(
        want is not None and found is not None and (want in KINDS or want == found)
        for want, found in _pairs(word, parts)
    )


def _arguments(word: Word, parts: list[str]) -> tuple[str, ...]:
    pairs = _pairs(word, parts)
    return tuple(KINDS[want](found or "") for want, found in pairs if want and want in KINDS)
