# SPDX-License-Identifier: Apache-2.0
"""All that Prometheus is told. Pure.

Labels are names of the configuration and words of fixed lists: no SPI, port, number of an IKE SA
or time, so that rekeying makes no series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from vici_mif.core.figures.failovers import REASONS, AllFailovers
from vici_mif.core.figures.gateway import gateway
from vici_mif.core.figures.text import Text
from vici_mif.core.figures.traffic import Traffic
from vici_mif.core.health.tally import Tally
from vici_mif.core.model import PathKey
from vici_mif.core.paths.path import WORKS, PathState
from vici_mif.core.status import PathStatus, PeerState, PeerStatus, Status

REFUSALS = (
    "not-negotiated", "limit", "rate", "temporary", "no-proposal", "peer-refused", "timeout",
    "sa-gone", "busy", "disabled", "invalid", "failed",
)  # fmt: skip
"""Reasons of a clone that did not come (docs/vici.md); all others are `failed`."""


MOST_GONE = 16
"""Paths of one peer without an address."""


@dataclass
class Counted:
    """What the status does not have."""

    failovers: AllFailovers = field(default_factory=AllFailovers)
    traffic: Traffic = field(default_factory=Traffic)
    tallies: Mapping[PathKey, Tally] = field(default_factory=dict)
    refused: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Clones by peer and reason."""
    connects: int = 0
    """To charon's VICI socket."""
    lag_s: float = 0.0


def text(status: Status, counted: Counted) -> str:
    """One answer to a scrape."""
    counted.traffic.look(status)
    out = Text()
    _daemon(out, status, counted)
    if status.gateway is not None:
        gateway(out, status.gateway)
    for peer in status.peers:
        _peer(out, peer, counted)
        for path in told(peer):
            _path(out, peer.name, path, counted)
            _probes(out, peer.name, path, counted)
    return str(out)


def told(peer: PeerStatus) -> list[PathStatus]:
    """Paths that are there or have a tunnel, and of those that went the last ones.

    A dial-up link may have another name each time, and the status shows it for an hour.
    """
    seated = {name for tunnel in peer.tunnels for name in (tunnel.home, tunnel.current)}
    here = [path for path in peer.paths if path.local is not None or path.name in seated]
    gone = [path for path in peer.paths if path not in here]
    kept = sorted(gone, key=lambda path: path.since, reverse=True)[:MOST_GONE]
    return [path for path in peer.paths if path in here or path in kept]


def _daemon(out: Text, status: Status, counted: Counted) -> None:
    own = status.daemon
    out.family("build_info", "gauge", "The controller's version.").add(1, version=own.version)
    charon = out.family("charon_up", "gauge", "1 while charon answers.")
    charon.add(int(own.charon is not None))
    series = out.family("charon_patched", "gauge", "1 while charon has the series.")
    series.add(int(own.patched))
    connects = out.family("vici_reconnects_total", "counter", "Connections to charon, but the 1st.")
    connects.add(max(0, counted.connects - 1))
    lag = out.family("event_loop_lag_seconds", "gauge", "Longest delay of the last minute.")
    lag.add(counted.lag_s)
    refused = out.family("config_refused", "gauge", "1 while the files on disk are refused.")
    refused.add(int(bool(own.config_refused)))
    kernel = out.family("kernel_refused", "gauge", "1 while the kernel does not take what is ours.")
    kernel.add(int(bool(own.kernel_why)))
    restored = out.family("restored_total", "counter", "What others deleted and was put back.")
    restored.add(own.restored.routing, what="routing")
    restored.add(own.restored.guard, what="guard")


def _peer(out: Text, peer: PeerStatus, counted: Counted) -> None:
    name = peer.name
    up = out.family("peer_up", "gauge", "1 while the peer is up, degraded or stands by.")
    up.add(int(peer.state in ("up", "degraded", "standby")), peer=name)
    states = out.family("peer_state", "gauge", "1 for the state the peer is in.")
    for state in get_args(PeerState):
        states.add(int(peer.state == state), peer=name, state=state)
    tunnels = out.family("peer_tunnels", "gauge", "Members of the peer's family.")
    tunnels.add(len(peer.tunnels), peer=name)
    paths = out.family("peer_paths", "gauge", "Paths of the peer by state.")
    for each in PathState:
        found = sum(path.state == each.value for path in peer.paths)
        paths.add(found, peer=name, state=each.value)
    full = out.family("authentications_total", "counter", "Runs of IKE_AUTH that were begun.")
    full.add(peer.authentications, peer=name)
    _clones(out, peer, counted)
    _failovers(out, name, counted)


def _clones(out: Text, peer: PeerStatus, counted: Counted) -> None:
    clones = out.family("clones_total", "counter", "Clones asked for, by what became of them.")
    clones.add(peer.clones, peer=peer.name, result="ok")
    known = dict.fromkeys(REFUSALS, 0)
    for reason, count in counted.refused.get(peer.name, {}).items():
        known[reason if reason in known else "failed"] += count
    for reason, count in known.items():
        clones.add(count, peer=peer.name, result=reason)


def _failovers(out: Text, peer: str, counted: Counted) -> None:
    found = counted.failovers.of(peer)
    total = out.family("failovers_total", "counter", "Tunnels whose path failed and that are back.")
    for reason in REASONS:
        total.add(found.reasons[reason], peer=peer, reason=reason)
    about = "From a path's failure until its tunnel carries again."
    out.family("failover_duration_seconds", "histogram", about).histogram(
        found.durations, peer=peer
    )


def _path(out: Text, peer: str, path: PathStatus, counted: Counted) -> None:
    labels = {"peer": peer, "path": path.name, "iface": path.link}
    up = out.family("path_up", "gauge", "1 while a tunnel works here, or a test has passed.")
    up.add(int(path.state in WORKS), **labels)
    states = out.family("path_state", "gauge", "1 for the state the path is in.")
    for state in PathState:
        states.add(int(path.state == state.value), **labels, state=state.value)
    sent, received = counted.traffic.of(peer, path.name)
    out.family("path_tx_bytes_total", "counter", "Bytes in tunnels, to the peer.").add(
        sent, **labels
    )
    out.family("path_rx_bytes_total", "counter", "Bytes in tunnels, from the peer.").add(
        received, **labels
    )


def _probes(out: Text, peer: str, path: PathStatus, counted: Counted) -> None:
    """Every path has all of these from the start, or its series would come and go."""
    labels = {"peer": peer, "path": path.name, "iface": path.link}
    jitter = out.family("path_jitter_seconds", "gauge", "Variation of the round trip, smoothed.")
    jitter.add(_or_nan(path.jitter_s), **labels)
    loss = out.family("path_loss_ratio", "gauge", "Share of the last probes without an answer.")
    loss.add(_or_nan(path.loss), **labels)
    tally = counted.tallies.get((peer, path.name)) or Tally()
    sent = out.family("probe_sent_total", "counter", "Echo requests sent inside tunnels.")
    sent.add(tally.sent, **labels)
    lost = out.family("probe_lost_total", "counter", "Echo requests without an answer.")
    lost.add(tally.lost, **labels)
    rtt = out.family("path_rtt_seconds", "histogram", "Round trips of the probes inside tunnels.")
    rtt.histogram(tally.rtt, **labels)


def _or_nan(value: float | None) -> float:
    """Not measured: no number, but a series."""
    return float("nan") if value is None else value
