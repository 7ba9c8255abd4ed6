# SPDX-License-Identifier: Apache-2.0
"""`daemon.hooks`: what is told, to real commands, and that none of them can do harm."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.namespace import eventually
from tests.simulated import GATEWAY, World
from vici_mif.core.status import PathChange
from vici_mif.core.wish.config import ConfigError, Source, parse
from vici_mif.shell.hooks import Hook
from vici_mif.shell.log import Log

E1 = f"eth1/{GATEWAY}"
HOOKED = """version: 1
connections:
  hq: {links: [eth0, eth1, eth2], spares: 0}
daemon: {hooks: {on_path_change: /bin/true}}
"""


def change(link: str = "eth0", before: str = "active", state: str = "failed") -> PathChange:
    return PathChange(
        peer="hq",
        path=f"{link}/gw",
        link=link,
        local=None,
        remote=GATEWAY,
        before=before,
        state=state,
        why="the link is down",
    )


# --- what is told -------------------------------------------------------------------


def test_changes_of_a_life() -> None:
    """New, used, lost, found again; tests in between are not told."""
    world = World(HOOKED).start().run(5)
    world.link_down("eth1")
    world.run(2)
    world.link_up("eth1")
    world.run(20)
    told = [(c.before, c.state) for c in world.told if c.path == E1]

    assert told == [
        ("", "idle"),
        ("idle", "ready"),
        ("ready", "active"),
        ("active", "failed"),
        ("failed", "idle"),
        ("idle", "ready"),
        ("ready", "active"),
    ]


def test_nothing_is_told_twice() -> None:
    """Quiet hours tell nothing."""
    world = World(HOOKED).start().run(5)
    before = len(world.told)
    world.run(300)

    assert len(world.told) == before


def test_a_path_that_is_no_longer_configured_is_told() -> None:
    """As gone."""
    world = World(HOOKED).start().run(5)
    world.configure(HOOKED.replace("eth0, eth1, eth2", "eth0, eth2"))
    world.run(10)

    assert (world.told[-1].path, world.told[-1].state) == (E1, "gone")


# --- how it is run --------------------------------------------------------------------


def hook(*command: str, within: float = 5.0) -> Hook:
    made = Hook(Log(verbose=False), within)
    made.command = command
    return made


async def over(made: Hook, within: float = 20.0) -> None:
    end = time.monotonic() + within
    while made.runs:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_environment_and_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of the JSON as variables, and nothing of ours that may be a secret."""
    monkeypatch.setenv("HQ_PASSWORD", "s3cret")
    monkeypatch.setenv("NOTIFY_SOCKET", "@nowhere")
    made = hook(script(tmp_path / "hook", f"env > {tmp_path}/env; cat > {tmp_path}/json"), "word")
    made.tell([change()])
    await over(made)

    env = dict(x.split("=", 1) for x in (tmp_path / "env").read_text().splitlines())
    assert env["VICI_MIF_PATH"] == "eth0/gw"
    assert (env["VICI_MIF_BEFORE"], env["VICI_MIF_STATE"]) == ("active", "failed")
    assert (env["VICI_MIF_LOCAL"], env["VICI_MIF_PEER"]) == ("", "hq")
    assert not {"HQ_PASSWORD", "NOTIFY_SOCKET"} & env.keys()
    told = json.loads((tmp_path / "json").read_text())
    assert PathChange.model_validate(told).model_copy(update={"at": ""}) == change()
    assert told["schema"] == "vici-mif/path-change/1"
    assert told["at"].endswith("Z")


async def test_one_at_a_time_with_the_newest_state(tmp_path: Path) -> None:
    """What happens while it runs is one change per path; what came back is none."""
    note = f"cat >> {tmp_path}/log"
    wait = f"{note}; while [ -e {tmp_path}/wait ]; do sleep 0.02; done"
    (tmp_path / "wait").touch()
    made = hook(script(tmp_path / "hook", wait))
    made.tell([change("eth0")])
    await asyncio.to_thread(eventually, lambda: (tmp_path / "log").exists())
    made.tell([change("eth1", "active", "failed"), change("eth2", "active", "failed")])
    made.tell([change("eth1", "failed", "idle"), change("eth2", "failed", "active")])
    made.tell([change("eth1", "idle", "ready")])
    (tmp_path / "wait").unlink()
    await over(made)

    told = [json.loads(x) for x in (tmp_path / "log").read_text().splitlines() if x]
    assert [(t["link"], t["before"], t["state"]) for t in told] == [
        ("eth0", "active", "failed"),
        ("eth1", "active", "ready"),
    ]


async def test_a_hook_that_hangs_is_ended_with_its_children(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It never reads its input, ignores SIGTERM, and has begun another process."""
    text = f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/child; sleep 600"
    made = hook(script(tmp_path / "hook", text), within=2.0)
    made.tell([change()])
    await over(made)

    assert "not finished within 2 s" in capsys.readouterr().err
    child = int((tmp_path / "child").read_text())
    await asyncio.to_thread(eventually, lambda: not _lives(child))


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_failure_is_said_once_until_it_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a command that is not there is one."""
    made = hook(script(tmp_path / "hook", f"test -e {tmp_path}/good"))
    for _ in range(3):
        made.tell([change()])
        await over(made)
    assert capsys.readouterr().err.count("exit status 1") == 1
    (tmp_path / "good").touch()
    made.tell([change()])
    await over(made)
    made.command = ("/nowhere/hook",)
    for _ in range(2):
        made.tell([change()])
        await over(made)

    assert capsys.readouterr().err.count("/nowhere/hook") == 2  # the command, and the error


async def test_telling_never_waits(tmp_path: Path) -> None:
    """A thousand changes while a hook sleeps: nothing is run beside it, little is kept."""
    made = hook("/bin/sleep", "600")
    made.tell([change()])
    begun = time.process_time()
    for i in range(1000):
        made.tell([change(f"eth{i % 10}", "active", "failed" if i % 20 < 10 else "idle")])

    assert time.process_time() - begun < 2.0
    assert made.waiting <= 10
    await made.close()


# --- the key ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/usr/local/bin/tell", ("/usr/local/bin/tell",)),
        ("'/bin/tell --to \"two words\"'", ("/bin/tell", "--to", "two words")),
        ("[/bin/tell, now]", ("/bin/tell", "now")),
    ],
)
def test_the_command(text: str, command: tuple[str, ...]) -> None:
    """Words as in a shell, without one."""
    found = parse([Source("c", HOOKED.replace("/bin/true", text))])

    assert found.daemon.hooks.on_path_change == command


@pytest.mark.parametrize("text", ["''", "[]", "7", "'\"'", "{a: b}"])
def test_no_command(text: str) -> None:
    """Refused with its place."""
    with pytest.raises(ConfigError, match=r"c:4:\d+: daemon.hooks.on_path_change"):
        parse([Source("c", HOOKED.replace("/bin/true", text))])
