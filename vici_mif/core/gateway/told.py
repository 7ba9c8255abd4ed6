# SPDX-License-Identifier: Apache-2.0
"""How the gateway stands, as the status model."""

from __future__ import annotations

from vici_mif.core import status as s
from vici_mif.core.gateway.families import Family
from vici_mif.core.gateway.gateway import Gateway


def gateway(it: Gateway, clock: s.Clock) -> s.GatewayStatus | None:
    """None: no gateway is configured."""
    if it.config is None:
        return None
    families = sorted(it.families.all(), key=lambda family: (family.identity, family.id))
    return s.GatewayStatus(
        families=tuple(_family(family, clock.now) for family in families),
        tunnels=it.families.tunnels,
        refused=it.families.refused,
        read=clock.rfc3339(it.read_at) if it.read_at is not None else "",
        sources=_sources(it),
    )


def sentence(it: Gateway) -> str:
    """In a few words; empty where no gateway is configured."""
    count = len(it.families.by_id)
    return f"gateway: {count} families, {it.families.tunnels} tunnels" if it.config else ""


def _family(family: Family, now: float) -> s.FamilyStatus:
    members = family.members.values()
    said = ", ".join(family.refusals)
    return s.FamilyStatus(
        id=family.id,
        connection=family.connection,
        identity=family.identity,
        tunnels=len(members),
        paths=tuple(sorted({str(sa.pair) for sa in members})),
        inner=tuple(dict.fromkeys(str(vip) for sa in members for vip in sa.remote_vips)),
        rx_bytes=family.rx_bytes,
        tx_bytes=family.tx_bytes,
        age_s=round(max(0.0, now - family.born_at), 1),
        refused=family.refused,
        why=f"{family.refused} clones refused: {said or 'before the start'}"
        if family.refused
        else "",
    )


def _sources(it: Gateway) -> s.SourcesStatus:
    counts = it.checking.counts
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
