# SPDX-License-Identifier: Apache-2.0
"""The command line: what it ends with and what it says, without a controller or a charon."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vici_mif.core.model import ChildTemplate, Connection
from vici_mif.core.status import DaemonStatus, PeerStatus, Status
from vici_mif.edges.control import Answer, ControlServer, Handler, Question, refusal
from vici_mif.shell import places
from vici_mif.shell.cli import main
from vici_mif.shell.dropin import dropin

HQ = "version: 1\nconnections:\n  hq: {links: [eth0]}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(HQ + f"daemon: {{run_dir: {tmp_path}/run, state_dir: {tmp_path}/state}}\n")
    return file


def report(state: str) -> Status:
    peer = PeerStatus(
        name="hq",
        state=state,  # type: ignore[arg-type]
        mode="per-path",
        why="",
        authentications=1,
        clones=0,
        family=1,
        tunnels=(),
        paths=(),
    )
    daemon = DaemonStatus(version="1", charon="6.1.0", patched=True, config="c", since="")
    return Status(daemon=daemon, peers=(peer,))


@contextmanager
def refusing(run_dir: Path, error: str) -> Iterator[None]:
    """A controller that finds its configuration broken."""

    async def handle(_: Question) -> Answer:
        return refusal(error) | {"exit": 78}

    with answering(run_dir, handle):
        yield


@contextmanager
def controller(run_dir: Path, *states: str) -> Iterator[list[Question]]:
    """The sockets of a controller that is in one state after the other, in a thread."""
    asked: list[Question] = []
    left = list(states)

    async def handle(question: Question) -> Answer:
        asked.append(question)
        if question.get("peer") == "nobody":
            return refusal("no peer 'nobody'")
        status = report(left.pop(0) if len(left) > 1 else left[0])
        return {"ok": True, "status": status.model_dump(mode="json", by_alias=True)}

    with answering(run_dir, handle):
        yield asked


@contextmanager
def answering(run_dir: Path, handle: Handler) -> Iterator[None]:
    """The sockets of a controller, in a thread."""
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = ControlServer(run_dir, "no-such-group", handle, harmless=("status", "orders"))
        await server.start()
        ready.set()
        await over.wait()
        await server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(5)
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(5)
        loop.close()


def test_no_argument_means_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`vici-mif` alone asks the controller of this machine."""
    monkeypatch.setattr(places, "CONFIG_PATH", tmp_path / "none.yaml")
    with controller(tmp_path, "up") as asked:
        code = main(["status", "--run-dir", str(tmp_path)])

    assert code == 0
    assert asked == [{"ask": "status", "peer": ""}]
    assert capsys.readouterr().out.startswith("peer hq  up")
    monkeypatch.setattr("sys.argv", ["vici-mif"])
    assert main() == 3


@pytest.mark.parametrize(("state", "code"), [("up", 0), ("standby", 0), ("degraded", 1)])
def test_exit_status_is_the_peers_state(tmp_path: Path, state: str, code: int) -> None:
    """For monitoring: 0 up, 1 degraded, 2 down."""
    with controller(tmp_path, state):
        assert main(["status", "--run-dir", str(tmp_path)]) == code


def test_down_is_two(tmp_path: Path) -> None:
    """Waiting for something is as good as down."""
    for state in ("down", "waiting"):
        with controller(tmp_path, state):
            assert main(["status", "--run-dir", str(tmp_path)]) == 2


def test_json_is_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What programs read is the status as documented."""
    with controller(tmp_path, "up"):
        main(["status", "--json", "--run-dir", str(tmp_path)])

    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == "vici-mif/status/1"
    assert Status.model_validate(printed) == report("up")


def test_wait(tmp_path: Path) -> None:
    """`--wait up` asks until it is so."""
    with controller(tmp_path, "down", "degraded", "up") as asked:
        assert main(["status", "--wait", "up", "--timeout", "9", "--run-dir", str(tmp_path)]) == 0

    assert len(asked) == 3


def test_wait_in_vain(tmp_path: Path) -> None:
    """The time is over: the state it is in decides, and without a controller 3."""
    wait = ["status", "--wait", "up", "--timeout", "0.3", "--run-dir", str(tmp_path)]
    with controller(tmp_path, "degraded"):
        assert main(wait) == 1
    assert main(wait) == 3


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """64, since argparse's own 2 means that a peer is down."""
    for words in (["no-such-command"], ["status", "--no-such-option"], ["status", "--wait", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 64
    assert "no-such-command" in capsys.readouterr().err


def test_refused_by_the_controller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A peer that does not exist is the caller's mistake."""
    with controller(tmp_path, "up"):
        assert main(["down", "nobody", "--run-dir", str(tmp_path)]) == 64

    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "check"])
def test_configuration_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """78, with file, line and column; an unreadable file is the same kind of mistake."""
    file = tmp_path / "bad.yaml"
    file.write_text("version: 1\nconnections:\n  hq: {link: [eth0]}\n")

    assert main([command, "-c", str(file)]) == 78
    assert f"{file}:3:8" in capsys.readouterr().err
    assert main([command, "-c", str(tmp_path / "none.yaml")]) == 78
    assert "none.yaml" in capsys.readouterr().err


def test_orders_without_a_controller(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are read from the file, and cleared in it."""
    assert main(["orders", "-c", str(config)]) == 0
    assert capsys.readouterr().out == "no orders\n"

    assert main(["orders", "-c", str(config), "clear", "7"]) == 64


def test_conf_d_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What Ansible puts beside the file counts, and its mistakes have its name."""
    (tmp_path / "config.yaml").write_text("version: 1\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "hq.yaml").write_text("connections:\n  hq: {links: [eth0], rank: x}\n")

    assert main(["check", "-c", str(tmp_path / "config.yaml")]) == 78
    assert "hq.yaml:2" in capsys.readouterr().err


def template(name: str, action: str | None) -> ChildTemplate:
    return ChildTemplate(name=name, start_action=action)


def printed(*children: ChildTemplate) -> str:
    config = places.parse([places.Source("c", HQ)])
    return dropin(config, [Connection("hq", children=children), Connection("other")])


def test_dropin_quiets_what_starts_by_itself() -> None:
    """`start_action = none` for the children we open, and nothing for other connections."""
    text = printed(template("net", "start"), template("voip", "none"))

    assert "net {" in text
    assert "voip" not in text
    assert "other" not in text


def test_dropin_with_nothing_to_do() -> None:
    """A connection that is quiet already needs no line in swanctl's files."""
    text = printed(template("net", "none"))

    assert "connections" not in text
    assert "max_clones" in text


def test_dropin_when_charon_does_not_tell() -> None:
    """A charon without the series hides the start action: better one line too many."""
    assert "start_action = none" in printed(template("net", None))


def test_not_permitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user outside the group gets 77, not "no controller"."""
    if os.geteuid():
        pytest.skip("needs root, to become another user")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with controller(tmp_path, "up"):
        os.seteuid(65534)
        try:
            code = main(["status", "--run-dir", str(tmp_path)])
        finally:
            os.seteuid(0)

    assert code == 77
    assert "may not ask" in capsys.readouterr().err


def test_status_with_a_broken_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A controller that runs is asked all the same; without one the file is what is wrong."""
    file = tmp_path / "bad.yaml"
    file.write_text("version: 1\nconnections:\n  hq: {link: [eth0]}\n")
    words = ["status", "-c", str(file), "--run-dir", str(tmp_path)]
    with controller(tmp_path, "up"):
        assert main(words) == 0

    assert main(words) == 78
    assert f"{file}:3:8" in capsys.readouterr().err


def test_reload_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 78 with the controller's words; without a controller 3."""
    run = ["reload", "--run-dir", str(tmp_path)]
    with refusing(tmp_path, "config.yaml:3:8: connections.hq.link: unknown key"):
        assert main(run) == 78

    assert capsys.readouterr().err == "config.yaml:3:8: connections.hq.link: unknown key\n"
    assert main(run) == 3
