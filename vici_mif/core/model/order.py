# SPDX-License-Identifier: Apache-2.0
"""What an operator asks for by hand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OrderKind(StrEnum):
    """What an operator can ask for by hand."""

    DOWN = "down"
    DRAIN = "drain"
    """A path is taken out of use without a loss."""
    PREFER = "prefer"
    """A path ranks first."""
    REVOKE = "revoke"
    """An act, kept until it has come to its end: keys die now."""
    REVOKE_IDENTITY = "revoke-identity"
    """What peers of this identity have with our gateway ends, until it is taken back."""
    RETIRE = "retire"
    """By the configuration, which has the peer no longer: what is left of it goes."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asked for; kept over restarts, the only thing that is."""

    id: int
    kind: OrderKind
    peer: str
    given: str
    """RFC 3339 UTC, put in by who took the order."""
    by: str = "operator"
    """`operator`, or `swanctl` where a local terminate was seen."""
    path: str = ""
    """LINK/REMOTE, or LINK for all its paths; empty: not about a path."""
    spis: tuple[str, ...] = ()
    """Revoke, retire: SPIs of the keys that have to die; `family 7`: of all its members."""
    identity: str = ""
    """Of a gateway's peers, as charon prints it."""
    loaded: tuple[str, ...] = ()
    """Retire: what charon has to forget, as the command for that and a name."""
