# SPDX-License-Identifier: Apache-2.0
"""The status as people read it: which cells, and how numbers and times are shortened."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from vici_mif.core.status import (
    ChildStatus,
    DaemonStatus,
    FamilyStatus,
    GatewayStatus,
    OrderStatus,
    PathStatus,
    PeerStatus,
    SourcesStatus,
    Status,
    TunnelStatus,
)
from vici_mif.shell import columns, families, render

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


def measured(path: PathStatus) -> PathStatus:
    return path.model_copy(update={"rtt_s": 0.0091, "jitter_s": 0.0012, "loss": 0.004})


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
            paths=(measured(path("eth0", "active")), path("wlan0", "failed", "no answer")),
            why="one path does not answer",
        )
    )

    assert found[0] == cells(
        "peer hq degraded mode: per-path paths 1/2 in use auth: 1 full, 2 cloned"
    )
    assert found[1] == cells("one path does not answer")
    assert found[2] == cells("PATH STATE RTT JIT LOSS TUNNEL INNER TX RX SINCE LOCAL REMOTE WHY")
    assert found[3] == cells(
        "eth0/203.0.113.1 active 9.1ms 1.2ms 0.4% #1 10.3.0.1 4.1k 8.2k 3h12m "
        "192.168.1.2 203.0.113.1 -"
    )
    assert found[4] == cells(
        "wlan0/203.0.113.1 failed - - - - - - - 3h12m 192.168.1.2 203.0.113.1 no answer"
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
    assert columns.size(count) == text


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
    assert columns.age(since, NOW) == text


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0004, "0.4ms"), (0.0099, "9.9ms"), (0.00997, "10ms"), (0.048, "48ms"),
     (0.9996, "1000ms"), (1.25, "1.2s")],
)  # fmt: skip
def test_span(seconds: float | None, text: str) -> None:
    """Two or three digits."""
    assert columns.span(seconds) == text


def crowded() -> Status:
    """Four paths, one of them IPv6, a parked tunnel, a spare, and a lot to say."""
    here, there = "eth0/203.0.113.1", "wwan0/2001:db8:77:88::1"
    away = tunnel(22, there, here, 7_000_000).model_copy(
        update={"why": f"{there}: 7 s of 10 s hold-down left, it broke 3 times"}
    )
    spare = tunnel(23, here, "wlan0/203.0.113.1").model_copy(update={"home": None})
    six = path("wwan0", "failed", "no answer to 3 tests by IKE, the last one 4 s ago")
    return report(
        tunnel(21, here, here, 41_000_000),
        away,
        spare,
        paths=(
            measured(path("eth0", "active")),
            path("wlan0", "active"),
            six.model_copy(update={"name": there, "remote": "2001:db8:77:88::1"}),
            path("usb0", "denied", "denied by configuration"),
        ),
        why="the tunnel of wwan0/2001:db8:77:88::1 is on eth0/203.0.113.1",
    )


@pytest.mark.parametrize("width", [80, 100, 60, 50])
def test_all_that_matters_fits(width: int) -> None:
    """On a narrow terminal a line more says what the row has no room for; none is longer."""
    text = render.status(crowded(), NOW, width)
    flat = " ".join(text.split())

    assert max(map(len, text.splitlines())) <= width
    for wanted in ("#21 10.3.0.21", "#22 of wwan0", "10.3.0.22", "7 s of 10 s hold-down", "spare"):
        assert wanted in flat
    for wanted in ("failed", "no answer to 3 tests", "denied by configuration"):
        assert wanted in flat


def test_eighty_columns_have_every_figure() -> None:
    """Round trip, jitter, loss and bytes of each path in its row."""
    lines = render.status(crowded(), NOW, 80).splitlines()
    row = next(line for line in lines if line.startswith("eth0/"))

    assert row.split() == cells("eth0/203.0.113.1 active 9.1ms 1.2ms 0.4% 41.0M 82.0M 3h12m")


def test_a_wide_terminal_has_one_row_each() -> None:
    """As in a pipe."""
    assert render.status(crowded(), NOW, 400) == render.status(crowded(), NOW)


def test_rates_stand_in_the_place_of_bytes() -> None:
    """Watched, a path shows what goes through it now."""
    rates = {("hq", "eth0/203.0.113.1"): (41_000_000.0, 812.4)}
    text = render.status(crowded(), NOW, None, rates)

    assert "41.0M/s" in text
    assert "812/s" in text


def test_nobody_speaks_to_the_terminal() -> None:
    """An escape sequence in somebody's name is shown, not obeyed."""
    found = report(paths=(path("eth0", "failed", "\x1b[2Jno\x07 answer"),))

    assert "?[2Jno? answer" in render.status(found, NOW)


def test_a_short_page_says_what_is_missing() -> None:
    """The end of the list is not silently cut off."""
    assert render.cut(["a", "b", "c", "d"], 3) == ["a", "b", "... 2 lines more"]
    assert render.cut(["a", "b", "c"], 3) == ["a", "b", "c"]


def test_a_gateway_has_a_line_for_each_family() -> None:
    """Sums first, then what the check of sources found, then who is here."""
    sources = SourcesStatus(
        mode="drop",
        known=2,
        refused=1,
        new_packets=3,
        refused_packets=40,
        spread_packets=5,
        full_packets=1,
    )
    family = FamilyStatus(
        id=1,
        connection="rw",
        identity="carol",
        tunnels=2,
        paths=("203.0.113.1 -> 192.0.2.7", "203.0.113.1 -> 192.0.2.8"),
        inner=("10.3.0.1",),
        rx_bytes=81_000,
        tx_bytes=5,
        age_s=3700.0,
        refused=2,
        why="2 clones refused: limit",
    )
    shown = families.lines(
        GatewayStatus(families=(family,), tunnels=2, refused=2, read="", sources=sources)
    )

    assert shown[0] == "gateway  1 families, 2 tunnels  2 clones refused"
    assert shown[1].split(": ", 1)[1] == (
        "drop, 2 sources known, 1 refused; packets: 40 dropped, 3 from new sources, "
        "6 from more than are remembered"
    )
    row = dict(zip(shown[2].split(), re.split(r" {2,}", shown[3]), strict=True))
    assert row["REMOTE"] == "192.0.2.7,192.0.2.8"
    assert (row["AGE"], row["RX"], row["WHY"]) == ("1h01m", "81.0k", "2 clones refused: limit")
