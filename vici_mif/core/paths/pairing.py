# SPDX-License-Identifier: Apache-2.0
"""Which link may go with which remote: the operator's word about pairs. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from vici_mif.core.paths.remotes import Remote, literal_address
from vici_mif.core.wish.config import Pairs

DENIED = "denied by configuration"
"""Why such a path is not used; a pair that the peer refused says what the peer said."""


def belong(pairs: Pairs, link_entry: int, remote: Remote) -> bool:
    """`one_to_one`: the first entry of `links` with the first remote, and so on.

    Entries are counted, not interfaces: one that goes must not shift the others.
    """
    return not pairs.one_to_one or link_entry == remote.entry


def denied(pairs: Pairs, link: str, remote: Remote) -> bool:
    """A pair that the operator excluded."""
    return any(
        fnmatchcase(link, link_pattern) and _means(text, remote)
        for link_pattern, text in pairs.deny
    )


def _means(text: str, remote: Remote) -> bool:
    """By address, by the path's label, or by the name that has both IP versions."""
    literal = literal_address(text)
    if literal is not None:
        return literal == remote.address
    return fnmatchcase(remote.label, text) or remote.label.rpartition(".")[0] == text
