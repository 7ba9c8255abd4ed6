# SPDX-License-Identifier: Apache-2.0
"""A peer's own words reach a terminal as text: they colour, move and turn nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from vici_mif.core.notice import Notice
from vici_mif.core.status import (
    DaemonStatus,
    FamilyStatus,
    GatewayStatus,
    OrderStatus,
    SourcesStatus,
    Status,
)
from vici_mif.shell import following, render, terminal
from vici_mif.shell.asking import complain
from vici_mif.shell.log import Log

EVIL = "e\x1b]0;gone\x07\x1b[2J\x9b31m\u202evil"
"""A window's title, a wiped page, a colour by one byte (ECMA-48), right to left."""


def harmless(text: str) -> bool:
    return "e?" in text and all(c.isprintable() or c == "\n" for c in text)


def status() -> Status:
    family = FamilyStatus(
        id=1, connection="rw", identity=EVIL, tunnels=1, paths=(), inner=(), rx_bytes=0, tx_bytes=0,
        age_s=1, refused=0,
    )  # fmt: skip
    off = SourcesStatus(
        mode="off", known=0, refused=0, new_packets=0, refused_packets=0, spread_packets=0,
        full_packets=0,
    )  # fmt: skip
    gateway = GatewayStatus(families=(family,), tunnels=1, refused=0, read="", sources=off)
    daemon = DaemonStatus(version="1", charon="6.1.0", patched=True, config="c", since="")
    order = OrderStatus(
        id=1, kind="revoke-identity", peer="", path="", identity=EVIL, given="", by=""
    )
    return Status(daemon=daemon, peers=(), gateway=gateway, orders=(order,))


def test_the_status_is_harmless() -> None:
    """The table of families, and of orders."""
    assert harmless(render.status(status(), datetime.now(UTC)))


def test_json_says_the_same() -> None:
    """For programs nothing is lost, and `cat` of it is harmless."""
    text = terminal.escaped(status().to_json())

    assert all(c.isprintable() or c == "\n" for c in text)
    assert json.loads(text)["gateway"]["families"][0]["identity"] == EVIL
    assert json.loads(terminal.escaped('"\U000e0001"')) == "\U000e0001"


def test_an_event_is_harmless() -> None:
    """Whoever follows the events sees them in a terminal too."""
    assert harmless(following.line(Notice(kind="said", text=f"{EVIL} came")))


def test_the_log_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """Also what charon repeats of a peer."""
    Log(verbose=False).say(f"refused: {EVIL}", "warning")
    complain(f"no such peer {EVIL}", 64)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(map(harmless, lines))
