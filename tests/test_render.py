# SPDX-License-Identifier: Apache-2.0
"""The status as people read it: which cells, and how numbers and times are shortened."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vici_mif.core.status import (
    ChildStatus,
    DaemonStatus,
    OrderStatus,
    PathStatus,
    PeerStatus,
    Status,
    TunnelStatus,
)
from vici_mif.shell import render

NOW = datetime(2026, 11, 20, 21, 0, 0, tzinfo=UTC)


def tunnel(ike_id: int, home: str, current: str | None, sent: int = 0) -> TunnelStatus:
    child = ChildStatus(
        name=f"net@{home}",
        state="INSTALLED",
        spi_in="c1",
        spi_out="c2",
        local_ts=(f"10.3.0.{ike_id}/32",),
        remote_ts=("10.1.0.0/16",),
        tx_bytes=sent,
        rx_bytes=2 * sent,
    )
    return TunnelStatus(
        name=home,
        ike_id=ike_id,
        home=home,
        current=current,
        local="192.168.1.2",
        remote="203.0.113.1",
        inner=(f"10.3.0.{ike_id}",),
        children=(child,),
        since="2026-11-20T20:59:30Z",
    )


def path(link: str, state: str, why: str = "") -> PathStatus:
    return PathStatus(
        name=f"{link}/203.0.113.1",
        link=link,
        local="192.168.1.2",
        remote="203.0.113.1",
        state=state,  # type: ignore[arg-type]
        since="2026-11-20T17:48:00Z",
        why=why,
    )


def report(*tunnels: TunnelStatus, paths: tuple[PathStatus, ...], why: str = "") -> Status:
    return Status(
        daemon=DaemonStatus(
            version="1", charon="6.1.0", patched=True, config="c", since="2026-11-20T17:00:00Z"
        ),
        peers=(
            PeerStatus(
                name="hq",
                state="degraded",
                mode="per-path",
                why=why,
                authentications=1,
                clones=2,
                family=1,
                tunnels=tunnels,
                paths=paths,
            ),
        ),
        orders=(OrderStatus(id=1, kind="down", peer="", given="2026-11-20T20:00:00Z", by="me"),),
    )


def rows(status: Status) -> list[list[str]]:
    """The lines of the table, cell by cell."""
    return [line.split() for line in render.status(status, NOW).splitlines()]


def cells(text: str) -> list[str]:
    return text.split()


def test_a_row_for_each_path() -> None:
    """Path, addresses, state, tunnel, inner address, bytes, age and reason stand in one row."""
    found = rows(
        report(
            tunnel(1, "eth0/203.0.113.1", "eth0/203.0.113.1", 4100),
            paths=(path("eth0", "active"), path("wlan0", "failed", "no answer")),
            why="one path does not answer",
        )
    )

    assert found[0] == cells("peer hq degraded mode: per-path 1 authentication, 2 cloned")
    assert found[1] == cells("one path does not answer")
    assert found[2] == cells("PATH LOCAL REMOTE STATE TUNNEL INNER TX RX SINCE WHY")
    assert found[3] == cells(
        "eth0/203.0.113.1 192.168.1.2 203.0.113.1 active #1 10.3.0.1 4.1k 8.2k 3h12m -"
    )
    assert found[4] == cells(
        "wlan0/203.0.113.1 192.168.1.2 203.0.113.1 failed - - - - 3h12m no answer"
    )


def test_a_parked_tunnel_names_its_home() -> None:
    """Two tunnels on one path are two rows; the guest says where it belongs."""
    here = "eth0/203.0.113.1"
    found = rows(
        report(
            tunnel(1, here, here),
            tunnel(2, "wlan0/203.0.113.1", here),
            paths=(path("eth0", "active"), path("wlan0", "failed")),
        )
    )

    assert found[3] == cells("#2 of wlan0/203.0.113.1 10.3.0.2 0 0 30s")


def test_a_parked_tunnel_says_why() -> None:
    """The hold-down that is left stands beside it."""
    here = "eth0/203.0.113.1"
    away = tunnel(2, "wlan0/203.0.113.1", here).model_copy(update={"why": "7 s of 10 s left"})
    found = rows(report(tunnel(1, here, here), away, paths=(path("eth0", "active"),)))

    assert found[3][-5:] == cells("7 s of 10 s left")[-5:]


def test_a_tunnel_on_no_path_is_not_hidden() -> None:
    """What charon has moved elsewhere is shown too."""
    text = render.status(
        report(tunnel(7, "eth0/203.0.113.1", None), paths=(path("eth0", "idle"),)), NOW
    )

    assert "on no path of ours" in text


def test_orders_follow() -> None:
    """An order that holds is always in sight."""
    found = rows(report(paths=(path("eth0", "idle"),)))

    assert found[-1] == cells("1 down all - 2026-11-20T20:00:00Z me")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (99_940, "99.9k"),
        (100_000, "100k"),
        (999_999, "1000k"),
        (80_000_000, "80.0M"),
        (3 * 10**15, "3P"),
    ],
)
def test_size(count: int, text: str) -> None:
    """Three digits are enough for people."""
    assert render.size(count) == text


@pytest.mark.parametrize(
    ("since", "text"),
    [
        ("2026-11-20T20:59:48Z", "12s"),
        ("2026-11-20T20:55:58Z", "4m02s"),
        ("2026-11-20T17:48:00Z", "3h12m"),
        ("2026-11-15T18:00:00Z", "5d03h"),
        ("2026-11-20T21:00:05Z", "0s"),
        ("", "-"),
    ],
)
def test_age(since: str, text: str) -> None:
    """Two units at most; a clock set back gives no negative age."""
    assert render.age(since, NOW) == text


def test_what_is_ordered_of_a_path_stands_beside_its_state() -> None:
    """Where the state does not say it itself."""
    waiting = path("eth0", "active").model_copy(update={"order": "drain"})
    drained = path("eth1", "drained").model_copy(update={"order": "drain"})
    first = path("eth2", "ready").model_copy(update={"order": "prefer"})
    text = render.status(report(paths=(waiting, drained, first)), NOW)

    assert "active, to be drained" in text
    assert "drained  " in text
    assert "ready, preferred" in text


def test_what_others_took_away_is_told() -> None:
    """Only where it happened."""
    quiet = report(paths=())
    assert "taken away" not in render.status(quiet, NOW)

    assert "put back: 3 times rules or routes, 1 times the nftables table" in render.status(
        quiet.restored(routing=3, guard=1), NOW
    )
