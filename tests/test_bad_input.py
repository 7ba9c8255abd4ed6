# SPDX-License-Identifier: Apache-2.0
"""What an operator or a neighbour gives us that is not good: a sentence and an exit status."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journals import Asked, Started, written
from tests.test_cli import HQ, answering, report
from vici_mif.core import events as e
from vici_mif.core.figures.text import CONTENT_TYPE
from vici_mif.core.planner import Planner
from vici_mif.core.wish.config import Source, parse
from vici_mif.edges.control import Answer, ControlError, ControlServer, Question
from vici_mif.edges.scrapes import Scrapes
from vici_mif.shell import questions
from vici_mif.shell.cli import main
from vici_mif.shell.dropin import dropin
from vici_mif.shell.hooks import Hook
from vici_mif.shell.log import Log

GATEWAY = "version: 1\ngateway: {connections: [rw]}\n"


@contextmanager
def another_user() -> Iterator[None]:
    """As somebody who is not root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# --- the command line -------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "nothing", "status --wait", "status --wait gone", "status --timeout nan --wait up",
        "status --timeout -1 --wait up", "status --timeout inf --wait up", "path", "path drain",
        "path prefer", "tunnel", "tunnel revoke", "peer revoke", "gateway", "gateway revoke",
        "orders clear", "orders clear one", "events -n many", "run now", "-c file status",
    ],
)  # fmt: skip
def test_wrong_words(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """64 and the usage: 2 would mean that a peer is down."""
    try:
        code = main(words.split())
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]

    assert code == 64
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "down _", "up _", "path drain _ eth0", "path drain _", "path undrain _", "path prefer _",
        "tunnel revoke _", "tunnel revoke _ eth0", "peer revoke _",
    ],
)  # fmt: skip
def test_a_name_that_is_empty_is_nobodys(
    words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`"$PEER"` of a variable that is not set: it would mean all of them."""
    with pytest.raises(SystemExit) as end:
        main(["" if word == "_" else word for word in [*words.split(), "--run-dir", str(tmp_path)]])

    assert end.value.code == 64
    assert "it is empty" in capsys.readouterr().err


def test_help_without_the_lab(tmp_path: Path) -> None:
    """On a host that has only what tunnels need, the lab says what it lacks."""
    (tmp_path / "cryptography.py").write_text("raise ModuleNotFoundError(name='cryptography')\n")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])

    def said(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "vici_mif", *words]
        env = os.environ | {"PYTHONPATH": path}
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    assert said("--help").returncode == 0
    assert "needs cryptography" in said("--help").stdout
    up = said("lab", "up", "--name", "try")
    assert (up.returncode, up.stderr) == (
        1,
        "vici-mif: lab needs cryptography: pip install 'vici-mif[lab]'\n",
    )


def test_a_reader_that_goes() -> None:
    """`vici-mif … | head -1` ends without a word of Python's."""
    argv = f"{sys.executable} -m vici_mif units | head -1"
    root = Path(__file__).parent.parent
    done = subprocess.run(argv, shell=True, cwd=root, capture_output=True, text=True, check=False)

    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_words_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes of another character set come back as something that can be shown."""
    (tmp_path / "c.yaml").write_text(
        HQ + f"daemon: {{run_dir: {tmp_path}, state_dir: {tmp_path}}}\n"
    )
    name = os.fsdecode(b"\xff\x1b[2J")

    assert main(["down", "-c", str(tmp_path / "c.yaml"), name]) == 64
    assert "not UTF-8" in capsys.readouterr().err


def test_half_a_character_is_no_identity() -> None:
    """JSON can name it; the journal, the status and orders.json could not keep it."""
    with pytest.raises(ValueError, match="'identity' is not a name"):
        questions.order({"ask": "revoke-identity", "identity": "\udcff"}, "now")


# --- a controller, and none -----------------------------------------------------------------


def test_a_controller_of_another_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an upgrade, before the restart: what it says may have keys unknown to us."""

    async def handle(_: Question) -> Answer:
        status = report("up").model_dump(mode="json", by_alias=True)
        return {"ok": True, "status": status | {"new": 1}, "events": [{"new": 1}]}

    with answering(tmp_path, handle):
        for words in (["status"], ["orders"], ["events"], ["status", "--json"]):
            assert main([*words, "--run-dir", str(tmp_path)]) == 69  # 1: degraded
            assert "the controller that runs is another one" in capsys.readouterr().err


def test_orders_that_may_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """77, as for the sockets."""
    (tmp_path / "state").mkdir(mode=0o000)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with another_user():
        words = ["--run-dir", str(tmp_path / "run"), "--state-dir", str(tmp_path / "state")]
        code = main(["orders", *words])

    assert code == 77
    assert "orders.json: Permission denied" in capsys.readouterr().err


async def test_a_run_dir_that_is_none(tmp_path: Path) -> None:
    """A file, a name that is too long for a socket, a directory where the socket belongs."""

    async def handle(_: Question) -> Answer:
        return {}

    (tmp_path / "file").write_text("")
    (tmp_path / "taken/control.sock").mkdir(parents=True)
    for place, words in (("file", "File exists"), ("x" * 120, "too long"), ("taken", "directory")):
        with pytest.raises(ControlError, match=words):
            await ControlServer(tmp_path / place, "nobody", handle, ()).start()
    assert (tmp_path / "taken/control.sock").is_dir()


async def test_a_deep_question(tmp_path: Path) -> None:
    """Lists in lists are refused like anything else that is no question."""

    async def handle(_: Question) -> Answer:
        return {"ok": True}

    server = ControlServer(tmp_path, "nobody", handle, ())
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "status.sock")
    writer.write(b"[" * 60_000 + b"\n")
    assert b"not JSON" in await reader.readline()
    writer.close()
    await server.close()


async def test_metrics_take_no_file_away(tmp_path: Path) -> None:
    """A path that was mistyped keeps what it has."""
    file = tmp_path / "precious"
    file.write_text("precious")

    async def page() -> str:
        return ""

    with pytest.raises(OSError, match="is no socket"):
        await Scrapes(str(file), CONTENT_TYPE, page).serve()
    assert file.read_text() == "precious"


async def test_a_hook_s_arguments_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """They may be passwords."""
    hook = Hook(Log(verbose=True))
    hook.command = ("/bin/false", "--token", "hunter2")
    hook._judge("exit status 1")

    assert "hook /bin/false: exit status 1" in (said := capsys.readouterr().err)
    assert "hunter2" not in said


# --- a gateway alone --------------------------------------------------------------------------


def test_dropin_of_a_gateway() -> None:
    """It drives no connection, so none needs a line."""
    text = dropin(parse([Source("c.yaml", GATEWAY)]), [])

    assert "nothing is needed" in text
    assert "max_clones" in text


def test_dropin_counts_spares() -> None:
    """Clones are members beside the first IKE SA."""
    text = HQ.replace("[eth0]", "[eth0], tunnels: 6, spares: 3")

    assert "max_clones = 8 " in dropin(parse([Source("c.yaml", text)]), [])


# --- replay ------------------------------------------------------------------------------------


def journal(config: str) -> list[str]:
    """A start, and one link."""
    wish = parse([Source("c.yaml", config)])
    fact = e.LinksSeen(())
    return written([Started(wish), Asked(fact, 1.0, Planner(wish).handle(fact, 1.0))])


def test_a_gateways_journal_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no connection of its own that something could be about."""
    (tmp_path / "journal.jsonl").write_text("".join(journal(GATEWAY)))

    assert main(["replay", "--events", str(tmp_path)]) == 0
    assert "same actions in 1 steps" in capsys.readouterr().out


BROKEN = {
    "empty": b"",
    "text": b"root:x:0:0\n",
    "several lines": b"root:x:0:0\ndaemon:x:1:1\n",
    "binary": bytes(range(256)) * 64,
    "lists in lists": b"[" * 100_000 + b"\n",
    "another's JSON": b'{"journal": "somebody/1"}\n',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_replay_of_no_journal(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """78: 1 would mean that a decision differs."""
    file = tmp_path / "journal.jsonl"
    file.write_bytes(content)

    for more in ([], ["--events"], ["--json"]):
        assert main(["replay", *more, str(file)]) == 78
    assert len(capsys.readouterr().err) < 1000


def test_replay_where_no_journal_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(HQ + "daemon: {journal: off}\n")

    assert main(["replay", "-c", str(tmp_path / "c.yaml")]) == 78
    assert "daemon.journal is off: name the file" in capsys.readouterr().err
