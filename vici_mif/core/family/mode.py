# SPDX-License-Identifier: Apache-2.0
"""Which mode is in force for a peer, how many tunnels that allows, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vici_mif.core.family.family import slots_of
from vici_mif.core.model import Connection, Sa
from vici_mif.core.wish.budget import DEFAULT_TUNNELS
from vici_mif.core.wish.config import ConnectionConfig

STOCK = (
    "this charon lacks the series and moves its one tunnel alone; `vici-mif charon build` makes "
    "one that has it"
)
STOCK_EACH = (
    "this charon lacks the series: one tunnel for each connection of `authenticate`, which moves "
    "and authenticates again by its own rules"
)
NO_CLONING = (
    "cloning was not agreed with the peer (RFC 7791, 5.1); it wants "
    "charon.clone_ike_sa.max_clones in strongswan.conf at both ends"
)

Word = Literal["per-path", "one", "single", "authenticate", "passive"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What to build."""

    word: Word
    """As `status` calls it."""
    per_path: bool
    """Each tunnel has an inner address of its own, and we steer by it."""
    limit: int
    """Tunnels with a home at most."""
    why: str = ""
    spares: int = 0
    """Tunnels without a home, kept ready."""
    refused: bool = False
    """`without_clone: refuse` and there is no cloning: build nothing."""


def wants_per_path(config: ConnectionConfig, connection: Connection) -> bool:
    """Before anything is up: virtual IPs decide, unless the operator did."""
    if config.inner == "auto":
        return bool(connection.vips)
    return config.inner == "per-path"


def tunnels(config: ConnectionConfig, paths: int) -> int:
    """How many tunnels the configuration asks for."""
    return config.tunnels or max(1, min(DEFAULT_TUNNELS, paths))


def shape(
    config: ConnectionConfig,
    connection: Connection,
    members: Sequence[Sa],
    paths: int,
    patched: bool,
) -> Shape:
    """The mode by what charon, the peer and the configuration allow."""
    limit = tunnels(config, paths)
    if not patched and len(config.authenticate) > 1:
        return Shape("authenticate", False, len(config.authenticate), STOCK_EACH)
    if not patched:
        return _without(config, False, STOCK)
    if not members:
        per_path = wants_per_path(config, connection)
        return Shape("per-path" if per_path else "one", per_path, limit, spares=config.spares)
    per_path = bool(members[0].local_vips) and config.inner != "one"
    if not members[0].original_initiator:
        why = "the peer began this IKE SA, so only the peer may move it (RFC 4555, 3.3)"
        return Shape("passive", per_path, 1, why)
    if not any(sa.clone_supported for sa in members):
        if config.without_clone == "authenticate":
            return Shape("authenticate", per_path, limit, NO_CLONING)
        return _without(config, per_path, NO_CLONING)
    return _full(config, connection, members[0], per_path, limit)


def _without(config: ConnectionConfig, per_path: bool, why: str) -> Shape:
    if config.without_clone == "refuse":
        text = f"{why}, and without_clone is refuse"
        return Shape("single", per_path, 1, text, refused=True)
    if config.without_clone == "authenticate":
        why = (
            f"{why}; without it equal connections are merged, so there is one authentication "
            "unless `authenticate` names a connection per path"
        )
    return Shape("single", per_path, 1, why)


def _full(
    config: ConnectionConfig, connection: Connection, root: Sa, per_path: bool, limit: int
) -> Shape:
    if not per_path:
        asked = wants_per_path(config, connection)
        why = "the peer gave no virtual IP" if asked else "no virtual IP in the connection"
        why = why if config.inner == "auto" or asked else ""
        return Shape("one", False, limit, why, config.spares)
    return _by_addresses(limit, config.spares, len(slots_of(root.local_vips)))


def _by_addresses(limit: int, spares: int, addresses: int) -> Shape:
    """One inner address per tunnel; where they are short, spares go without first."""
    if addresses >= limit + spares:
        return Shape("per-path", True, limit, spares=spares)
    noun = "address" if addresses == 1 else "addresses"
    why = f"the peer gave {addresses} inner {noun} for {limit} tunnels"
    if addresses >= limit:
        why += " and a spare" if spares == 1 else f" and {spares} spares"
    return Shape("per-path", True, min(limit, addresses), why, max(0, addresses - limit))
