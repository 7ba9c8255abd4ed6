# SPDX-License-Identifier: Apache-2.0
"""What lies behind a peer, child by child: as negotiated, before that as the template says. Pure.

The gateway may have narrowed a child (RFC 7296, 2.9), and what it left out is not protected. A
child that is refused, closed or not open yet does not take the protection off its networks,
whatever the others do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vici_mif.core.family.family import template_of
from vici_mif.core.model import ChildTemplate, IPNetwork, Sa
from vici_mif.core.selectors import networks


class Negotiated(NamedTuple):
    """What the children of one template have, or had last."""

    of: tuple[str, ...]
    """The template's selectors at that time: other ones lead to another result."""
    networks: tuple[IPNetwork, ...]


class Behind:
    """Networks behind one peer."""

    def __init__(self) -> None:
        self.networks: tuple[IPNetwork, ...] = ()
        """Of all children; the last ones while no template is known."""
        self.closed: frozenset[IPNetwork] = frozenset()
        """Those of them that no child has while another one works."""
        self._negotiated: dict[str, Negotiated] = {}

    def see(self, members: Iterable[Sa], templates: Sequence[ChildTemplate]) -> None:
        """`templates`: the children that are wanted; none where charon lacks the connection."""
        live = _live(members)
        if templates:
            self._negotiated = {t.name: self._of(t, live.get(t.name, ())) for t in templates}
        if templates or live:
            wanted = (each.networks for each in self._negotiated.values())
            both = (*wanted, *live.values())
            self.networks = tuple(dict.fromkeys(net for each in both for net in each))
        had = {net for each in live.values() for net in each}
        self.closed = frozenset(self.networks) - had if had else frozenset()

    def _of(self, template: ChildTemplate, live: tuple[IPNetwork, ...]) -> Negotiated:
        before, said = self._negotiated.get(template.name), template.remote_ts
        if before and (live == before.networks if live else said == before.of):
            return before
        declared = networks(said) if template.mode != "PASS" else ()
        return Negotiated(said, live or declared)


def _live(members: Iterable[Sa]) -> Mapping[str, tuple[IPNetwork, ...]]:
    """By template, of all tunnels."""
    found: dict[str, tuple[str, ...]] = {}
    for child in (child for sa in members for child in sa.children if child.works):
        name = template_of(child)
        found[name] = (*found.get(name, ()), *child.remote_ts)
    return {name: networks(selectors) for name, selectors in found.items()}
