# SPDX-License-Identifier: Apache-2.0
"""Orders without a controller: whom they close, and whom not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.speaker import Speaker, listening, sa
from vici_mif.core.model import OrderKind
from vici_mif.edges import orders
from vici_mif.shell import offline
from vici_mif.shell.cli import main
from vici_mif.shell.exits import NO_CONTROLLER, OK, USAGE

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
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [("down hq", OK, "closed 2 IKE SAs"), ("peer revoke hq", NO_CONTROLLER, "hq-b: IKE SA #2")],
)
async def test_the_connections_of_a_peer_go_with_it(
    words: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of `authenticate` have other names; another peer's stay."""
    file = tmp_path / "config.yaml"
    wish = "without_clone: authenticate, authenticate"
    speaker = Speaker()
    speaker.sas = [sa(1, "hq-a"), sa(2, "hq-b"), sa(3, "backup"), sa(4, "backup-a")]
    async with listening(speaker, tmp_path) as path:
        file.write_text(
            f"version: 1\nconnections:\n  hq: {{links: [eth0], {wish}: [hq-a, hq-b]}}\n"
            f"  backup: {{links: [eth0], {wish}: [backup-a]}}\n"
            f"daemon: {{run_dir: {tmp_path}, state_dir: {tmp_path}, vici: {path}}}\n"
        )
        assert await asyncio.to_thread(main, [*words.split(), "-c", str(file)]) == code

    assert speaker.numbers == [3, 4]
    assert said in capsys.readouterr().out


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


@pytest.mark.parametrize("word", ["revoke", "unrevoke"])
def test_an_identity_without_a_name_is_refused(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`"$ID"` of a variable that is not set: everybody without EAP has no name there."""
    with pytest.raises(SystemExit) as ended:
        main(["gateway", word, "", "--state-dir", str(tmp_path)])

    assert ended.value.code == USAGE
    assert "IDENTITY: it is empty" in capsys.readouterr().err
    assert orders.read(tmp_path) == ()


async def test_an_identity_where_charon_knows_no_families(tmp_path: Path) -> None:
    """Each IKE SA is one of its own there: who is called otherwise stays."""
    speaker = Speaker()
    names = ["alice", "eve", "bob"]
    speaker.sas = [sa(n, "rw", **{"remote-id": name}) for n, name in enumerate(names, 1)]
    async with listening(speaker, tmp_path) as path:
        assert await offline.revoke_identity(path, ["rw"], "eve") == 1

    assert speaker.numbers == [1, 3]


async def test_an_identity_loses_its_whole_family(tmp_path: Path) -> None:
    """Clones too, and what is called so only in EAP; nothing of another connection."""
    speaker = Speaker()
    eve = {"clone-family": 1, "remote-eap-id": "eve"}
    speaker.sas = [sa(1, "rw", **eve), sa(2, "rw", **{"clone-family": 1}), sa(3, "other", **eve)]
    async with listening(speaker, tmp_path) as path:
        assert await offline.revoke_identity(path, ["rw"], "eve") == 2

    assert speaker.numbers == [3]
