# SPDX-License-Identifier: Apache-2.0
"""The tables, preferences and interface ids of the running peers, out of the configured ranges."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vici_mif.core.wish import budget


@dataclass(slots=True)
class Numbers:
    """Tables and preferences that are ours, handed out in a fixed order."""

    tables: tuple[int, int]
    rules: tuple[int, int]
    first: int = 0
    """Inner tables that the peers before have."""
    _links: dict[str, int] = field(default_factory=dict)

    def of(self, first: int) -> Numbers:
        """For the peer whose inner tables begin there; links are everybody's."""
        return replace(self, first=first)

    def link_table(self, link: str) -> int:
        """The same link keeps its table; one not asked for the longest time gives its own up.

        At every step all links that are there are asked for, so that no two of them share one.
        """
        index = self._links.pop(link, None)
        if index is None and len(self._links) < budget.LINKS:
            index = len(self._links)
        elif index is None:
            index = self._links.pop(next(iter(self._links)))
        self._links[link] = index
        return self.tables[0] + index

    @property
    def default_table(self) -> int:
        return self.tables[0] + budget.LINKS

    def inner_table(self, slot: int) -> int:
        return self.default_table + 1 + self.first + slot

    def if_id(self, slot: int) -> int:
        """The xfrm interface id of a tunnel: its table's number, ours alone."""
        return self.inner_table(slot)

    def interface(self, slot: int) -> str:
        """Of a tunnel, where the kernel does ESP."""
        return f"mif{self.first + slot}"

    def priority(self, offset: int) -> int:
        return self.rules[0] + offset
