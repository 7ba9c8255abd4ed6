# SPDX-License-Identifier: Apache-2.0
"""Addresses that the peer announces (ADDITIONAL_IP*_ADDRESS, RFC 4555, 3.6) as remotes.

A peer is hostile until proven otherwise, and may be after its authentication: what it announces
counts only inside the operator's prefixes, is bounded in number, and never names an address that
would be reached through the tunnels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from vici_mif.core.model import IPAddress, IPNetwork, Sa
from vici_mif.core.paths.remotes import Remote

MOST = 8
"""Learned remotes at most."""

NO_ENTRY = -1
"""`pairs.one_to_one` has no link for them."""


class Learned:
    """What one peer announced and the operator allows, in the order in which it was learned."""

    def __init__(self, allowed: Sequence[IPNetwork]) -> None:
        self._allowed = allowed
        self._known: tuple[IPAddress, ...] = ()
        self.before: tuple[Remote, ...] = ()
        """Learned under another configuration, and not allowed now."""

    def configure(self, allowed: Sequence[IPNetwork]) -> None:
        """What the new prefixes leave out is forgotten, except for tunnels that are there."""
        self._allowed = allowed
        kept = self._fit(self._known, ())
        dropped = (a for a in self._known if a not in kept)
        self.before = tuple(Remote(str(address), address, NO_ENTRY) for address in dropped)
        self._known = tuple(kept)

    def see(
        self,
        sas: Sequence[Sa],
        configured: Collection[IPAddress],
        protected: Collection[IPNetwork],
    ) -> tuple[Remote, ...]:
        """Take in what is announced now; `protected`: what lies behind the peer.

        One that is no longer announced stays while a tunnel is on it. Without an IKE SA nothing
        is taken back either.
        """
        standing = [sa for sa in sas if sa.established]
        if standing:
            announced = {a for sa in standing for a in sa.remote_addresses}
            used = {sa.remote for sa in standing}
            kept = [a for a in self._known if a in announced | used]
            fresh = [a for sa in standing for a in sa.remote_addresses if a not in kept]
            self._known = tuple(dict.fromkeys([*kept, *self._fit(fresh, protected)]))[:MOST]
        found = (a for a in self._known if a not in configured)
        return tuple(Remote(str(address), address, NO_ENTRY) for address in found)

    def _fit(
        self, addresses: Iterable[IPAddress], protected: Collection[IPNetwork]
    ) -> list[IPAddress]:
        return [
            address
            for address in addresses
            if any(_allows(prefix, address) for prefix in self._allowed)
            and not any(_inside(net, address) for net in protected)
        ]


def _allows(prefix: IPNetwork, address: IPAddress) -> bool:
    """A private address needs a prefix that is private as a whole: 0.0.0.0/0 allows none."""
    unusable = address.is_unspecified or address.is_loopback or address.is_multicast
    return address in prefix and not unusable and (prefix.is_private or not address.is_private)


def _inside(net: IPNetwork, address: IPAddress) -> bool:
    """With everything behind the peer, its own addresses are outside all the same."""
    return bool(net.prefixlen) and address in net
