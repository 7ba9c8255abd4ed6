# SPDX-License-Identifier: Apache-2.0
"""How the gateway stands, as the status model."""

from __future__ import annotations

from vici_mif.core import status as s
from vici_mif.core.gateway.counts import Counted, Counts
from vici_mif.core.gateway.families import Family
from vici_mif.core.gateway.gateway import Gateway
from vici_mif.core.model import SourceCounts


def gateway(it: Gateway, counts: Counts, clock: s.Clock) -> s.GatewayStatus | None:
    """None: no gateway is configured."""
    if it.config is None:
        return None
    families = sorted(it.families.all(), key=lambda family: (family.identity, family.id))
    return s.GatewayStatus(
        families=tuple(_family(family, counts.of(family.id), clock.now) for family in families),
        tunnels=it.families.tunnels,
        refused=counts.refused,
        read=clock.rfc3339(counts.read_at) if counts.read_at is not None else "",
        sources=_sources(it, counts.sources),
    )


def sentence(it: Gateway) -> str:
    """In a few words; empty where no gateway is configured."""
    count = len(it.families.by_id)
    return f"gateway: {count} families, {it.families.tunnels} tunnels" if it.config else ""


def _family(family: Family, counted: Counted, now: float) -> s.FamilyStatus:
    members = family.members.values()
    said = ", ".join(counted.refusals)
    return s.FamilyStatus(
        id=family.id,
        connection=family.connection,
        identity=family.identity,
        tunnels=len(members),
        paths=tuple(sorted({str(sa.pair) for sa in members})),
        inner=tuple(dict.fromkeys(str(vip) for sa in members for vip in sa.remote_vips)),
        rx_bytes=counted.rx_bytes,
        tx_bytes=counted.tx_bytes,
        age_s=round(max(0.0, now - family.born_at), 1),
        refused=counted.refused,
        why=f"{counted.refused} clones refused: {said or 'before the start'}"
        if counted.refused
        else "",
    )


def _sources(it: Gateway, counts: SourceCounts) -> s.SourcesStatus:
    return s.SourcesStatus(
        mode=it.checking.mode,
        known=len(it.families.sources),
        refused=it.checking.refused,
        new_packets=counts.new,
        refused_packets=counts.refused,
        spread_packets=counts.spread,
        full_packets=counts.full,
        why=it.checking.why,
    )
