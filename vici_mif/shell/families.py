# SPDX-License-Identifier: Apache-2.0
"""The gateway's part of the status as people read it: a line for each family."""

from __future__ import annotations

from collections.abc import Sequence

from vici_mif.core.status import FamilyStatus, GatewayStatus, SourcesStatus
from vici_mif.shell.columns import NOTHING, how_long, size, table

HEAD = ("IDENTITY", "CONNECTION", "TUNNELS", "INNER", "REMOTE", "TX", "RX", "AGE", "WHY")


def lines(gateway: GatewayStatus) -> list[str]:
    """The sums, the check of sources, the families."""
    head = f"gateway  {len(gateway.families)} families, {gateway.tunnels} tunnels"
    head += f"  {gateway.refused} clones refused" if gateway.refused else ""
    rows: list[Sequence[str]] = [HEAD]
    rows += [_family(family) for family in gateway.families]
    return [head, f"  {_sources(gateway.sources)}", *(table(rows) if rows[1:] else [])]


def _family(family: FamilyStatus) -> Sequence[str]:
    there = dict.fromkeys(path.rpartition(" ")[2] for path in family.paths)
    return (
        family.identity or NOTHING,
        family.connection,
        str(family.tunnels),
        ",".join(family.inner) or NOTHING,
        ",".join(there),
        size(family.tx_bytes),
        size(family.rx_bytes),
        how_long(family.age_s),
        family.why or NOTHING,
    )


def _sources(it: SourcesStatus) -> str:
    if it.why:
        return f"source check: not in force: {it.why}"
    if it.mode == "off":
        return "source check: off"
    done = "dropped" if it.mode == "drop" else "counted"
    return (
        f"source check: {it.mode}, {it.known} sources known, {it.refused} refused; "
        f"packets: {it.refused_packets} {done}, {it.new_packets} from new sources, "
        f"{it.spread_packets + it.full_packets} from more than are remembered"
    )
