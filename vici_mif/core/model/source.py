# SPDX-License-Identifier: Apache-2.0
"""An inbound SPI and the outer address its packets come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from vici_mif.core.model.address import IPAddress

SourceCheck = Literal["off", "count", "drop"]


class Source(NamedTuple):
    """Compared without a port: a NAT may give another one at any time."""

    spi: int
    address: IPAddress

    def __str__(self) -> str:
        return f"{self.spi:08x} from {self.address}"


@dataclass(frozen=True, slots=True)
class SourceWish:
    """What the kernel has to know of outer sources. ESP with other SPIs is none of its business.

    A packet of a known SPI from elsewhere passes and is remembered as a newcomer, up to a bound;
    what is refused is counted, and dropped where `drop` says so.
    """

    drop: bool
    ports: frozenset[int] = frozenset({4500})
    """Local UDP ports where ESP in UDP arrives."""
    known: frozenset[Source] = frozenset()
    refused: frozenset[Source] = frozenset()
    """Lasts a minute in the kernel at most: a controller that died refuses nothing for long."""


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What has to differ in the kernel: of thousands of sources only the new and the old ones."""

    drop: bool
    ports: frozenset[int]
    refused: frozenset[Source] = frozenset()
    """All of them."""
    more: frozenset[Source] = frozenset()
    fewer: frozenset[Source] = frozenset()
    whole: bool = False
    """Whatever was known before is not any more."""

    def after(self, before: SourceWish | None) -> SourceWish:
        """What is wished with it."""
        known = before.known if before and not self.whole else frozenset()
        return SourceWish(self.drop, self.ports, (known | self.more) - self.fewer, self.refused)


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """Packets since the table was made."""

    new: int = 0
    """The first from an address that was new for its SPI; they passed."""
    refused: int = 0
    """From an address that is refused: dropped, or counted only."""
    spread: int = 0
    """More new addresses for one SPI than are remembered; they passed."""
    full: int = 0
    """No room to remember any more; they passed."""
