# SPDX-License-Identifier: Apache-2.0
"""What charon has loaded: connections with the children they may open."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChildTemplate:
    """A child of a connection as configured (list-conns)."""

    name: str
    mode: str = "TUNNEL"
    local_ts: tuple[str, ...] = ()
    """Selectors; the word `dynamic` stands for the virtual IP or the outer address."""
    remote_ts: tuple[str, ...] = ()
    start_action: str | None = None
    """none, start, trap, trap|start; None where charon does not tell (stock)."""
    if_id_in: str = "0"
    """Text: a number, `%unique` or `%unique-dir`; `0` is none."""
    if_id_out: str = "0"


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as charon has it loaded (list-conns)."""

    name: str
    version: str = "IKEv2"
    local_addrs: tuple[str, ...] = ()
    """Addresses, names, prefixes or `%any`."""
    remote_addrs: tuple[str, ...] = ()
    vips: tuple[str, ...] = ()
    """Virtual IPs to ask for. Patched charon only: a stock one does not tell."""
    pools: tuple[str, ...] = ()
    childless: str | None = None
    mobike: bool = True
    unique: str | None = None
    children: tuple[ChildTemplate, ...] = ()
