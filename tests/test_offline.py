# SPDX-License-Identifier: Apache-2.0
"""`down PEER` without a controller, where other peers go on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vici_mif.core.model import OrderKind
from vici_mif.edges import orders
from vici_mif.shell import offline
from vici_mif.shell.cli import main
from vici_mif.shell.exits import NO_CONTROLLER, USAGE

NOW = "2026-01-01T00:00:00Z"


def test_who_is_not_meant_to_be_down(tmp_path: Path) -> None:
    """Neither those that go now nor those that went before."""
    offline.keep(tmp_path, OrderKind.DOWN, ["b"], "", NOW)

    assert offline.others(tmp_path, ["a"], ["a", "b", "c"]) == ["c"]
    assert offline.others(tmp_path, ["a", "c"], ["a", "b", "c"]) == []


@pytest.mark.skipif(bool(os.geteuid()), reason="needs root: the command asks for it")
def test_the_ground_of_other_peers_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said, and nothing of the kernel is touched: without nft and netlink it ends well."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "version: 1\nconnections:\n  hq: {links: [eth0]}\n  backup: {links: [eth0]}\n"
        f"daemon: {{run_dir: {tmp_path}, state_dir: {tmp_path}, vici: {tmp_path}/vici}}\n"
    )

    assert main(["down", "hq", "-c", str(file)]) == 0
    assert "left our routes and rules, which backup may need" in capsys.readouterr().out
    assert [(o.kind, o.peer) for o in orders.read(tmp_path)] == [(OrderKind.DOWN, "hq")]


@pytest.mark.skipif(bool(os.geteuid()), reason="needs root: the command asks for it")
def test_an_identity_is_revoked_for_the_next_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a charon nothing is there to close; the order is kept, and can be taken back."""
    file = tmp_path / "config.yaml"
    own = f"run_dir: {tmp_path}, state_dir: {tmp_path}, vici: {tmp_path}/vici"
    file.write_text(f"version: 1\ngateway: {{connections: [rw]}}\ndaemon: {{{own}}}\n")

    assert main(["gateway", "revoke", "eve", "-c", str(file)]) == NO_CONTROLLER
    assert "closed 0 IKE SAs" in capsys.readouterr().err
    assert [(o.kind, o.identity) for o in orders.read(tmp_path)] == [
        (OrderKind.REVOKE_IDENTITY, "eve")
    ]
    assert main(["gateway", "unrevoke", "eve", "-c", str(file)]) == 0
    assert orders.read(tmp_path) == ()
    assert main(["gateway", "unrevoke", "eve", "-c", str(file)]) == USAGE
