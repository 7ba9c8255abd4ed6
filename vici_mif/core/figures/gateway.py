# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told of a gateway. Sums only: identities come and go, and would be series."""

from __future__ import annotations

from vici_mif.core.figures.text import Text
from vici_mif.core.status import GatewayStatus, SourcesStatus


def gateway(out: Text, it: GatewayStatus) -> None:
    """Where one is configured."""
    families = out.family("gateway_families", "gauge", "Authentications of peers that came.")
    families.add(len(it.families))
    tunnels = out.family("gateway_tunnels", "gauge", "IKE SAs of all families.")
    tunnels.add(it.tunnels)
    refused = out.family("gateway_clones_refused_total", "counter", "Clones refused to peers.")
    refused.add(it.refused)
    _sources(out, it.sources)


def _sources(out: Text, it: SourcesStatus) -> None:
    now = out.family("gateway_refused_sources", "gauge", "SPIs from addresses refused now.")
    now.add(it.refused)
    packets = out.family(
        "gateway_strange_packets_total", "counter", "ESP from where its peer is not known to be."
    )
    packets.add(it.new_packets, result="new")
    packets.add(it.refused_packets, result="refused")
    packets.add(it.spread_packets + it.full_packets, result="not-remembered")
