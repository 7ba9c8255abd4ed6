# SPDX-License-Identifier: Apache-2.0
"""The journal as it is kept: files that turn over, disks that are full or slow, two controllers."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import disk
from tests.journals import BASE, Asked, differing
from tests.simulated import SPARE, World
from vici_mif.core.journal.lines import Start, parse
from vici_mif.core.rooms import Rooms
from vici_mif.core.wish.config import Source
from vici_mif.core.wish.config import parse as parse_config
from vici_mif.edges.files import FileError
from vici_mif.edges.journal import FILES, JournalFile, files_of, read
from vici_mif.shell import journal
from vici_mif.shell.cli import main
from vici_mif.shell.journal import Journal
from vici_mif.shell.log import Log

PATIENCE = 20.0


@pytest.fixture(scope="module")
def world() -> World:
    """A client for two minutes."""
    return World(text=SPARE).start().run(120)


class Kept:
    """A journal, rooms of its own, and a story to tell it."""

    def __init__(self, world: World, file: JournalFile) -> None:
        self.journal = Journal(file, BASE, Log(verbose=False))
        self._rooms = Rooms(world.planner.config, BASE)
        self._steps = [step for step in world.kept if isinstance(step, Asked)]
        self._told = 0

    def tell(self, number: int | None = None) -> None:
        """The next steps; it is decided as it was."""
        end = len(self._steps) if number is None else self._told + number
        for step in self._steps[self._told : end]:
            assert tuple(self.journal.handle(self._rooms, step.event, step.now)) == step.actions
        self._told = min(end, len(self._steps))


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < end
        time.sleep(0.01)


def starts(directory: Path) -> list[Start]:
    """Where a replay may begin, oldest first."""
    texts = [text for file in files_of(directory) for _, text in read(file)]
    return [line for line in map(parse, texts) if isinstance(line, Start)]


def begun(directory: Path) -> list[str]:
    """Why a replay may begin there."""
    return [start.began for start in starts(directory)]


def test_what_was_told_is_replayed(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the files that the controller writes, by the command; for programs, too."""
    kept = Kept(world, JournalFile(tmp_path / "new" / "journal"))
    kept.tell()
    kept.journal.close()
    directory = tmp_path / "new" / "journal"

    assert main(["replay", str(directory)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"the same actions in {len(world.kept) - 1} steps"
    assert any(" < CharonConnected 6.1.0, with series" in line for line in said)
    assert any(" > Clone ike_id=1" in line for line in said)
    assert main(["replay", "--json", str(directory / "journal.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True
    config = tmp_path / "config.yaml"
    config.write_text(f"{SPARE}daemon: {{journal: {directory}}}\n")
    assert main(["replay", "-q", "-c", str(config)]) == 0
    assert (directory / "journal.jsonl").stat().st_mode & 0o777 == 0o600


def test_the_first_difference_is_shown(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step, what was begun and what would be begun; exit status 1."""
    kept = Kept(world, JournalFile(tmp_path))
    kept.tell()
    kept.journal.close()
    file = tmp_path / "journal.jsonl"
    file.write_text(file.read_text().replace('"pin_delay":30', '"pin_delay":29'))

    assert main(["replay", "-q", str(file)]) == 1
    said = capsys.readouterr()
    assert '- {"Migrate":' in said.out
    assert '+ {"Migrate":' in said.out
    assert said.err.startswith("differs at step ")
    assert main(["replay", "--json", str(file)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["same"], found["difference"]["file"]) == (False, str(file))
    assert found["difference"]["recorded"] != found["difference"]["found"]


def test_what_is_no_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named with its line; a file that is not there, a directory without one."""
    file = tmp_path / "journal"
    file.write_text("{}\n{}\n")

    assert main(["replay", str(file)]) == 78
    assert f"{file}:1: neither a start nor a step" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "none")]) == 78
    assert main(["replay", str(tmp_path)]) == 78
    assert "no journal.jsonl there" in capsys.readouterr().err


def test_files_turn_over(world: World, tmp_path: Path) -> None:
    """The oldest goes, each begins with the planner's state, and what is left is replayed."""
    kept = Kept(world, JournalFile(tmp_path, most_bytes=40_000, files=3))
    for _ in range(200):
        kept.tell(5)
        until(lambda: kept.journal.idle)
    kept.journal.close()

    assert sorted(x.name for x in tmp_path.iterdir()) == [
        "journal.jsonl", "journal.jsonl.1", "journal.jsonl.2",
    ]  # fmt: skip
    assert {start.began for start in starts(tmp_path)} == {"rotated"}
    assert main(["replay", "-q", str(tmp_path)]) == 0
    for file in tmp_path.iterdir():
        assert file.stat().st_size < 80_000
        assert main(["replay", "-q", str(file)]) == 0


def test_there_are_ten_files() -> None:
    """A hundred megabytes at most, as documented."""
    assert FILES == 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 256 kB."""
    with disk.small(tmp_path / "disk", "256k") as place:
        yield place


def test_a_full_disk(
    world: World,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One warning, the controller goes on; with room it is noted again, from a whole line on."""
    monkeypatch.setattr(journal, "RETRY_DELAY", 0.05)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(240_000))
    kept = Kept(world, JournalFile(small_disk))
    for _ in range(20):
        kept.tell(8)
        until(lambda: kept.journal.idle)
    ballast.unlink()
    # what is read while it is written may end within a line
    until(lambda: kept.tell(1) or (kept.journal.idle and "resumed" in begun(small_disk)))
    kept.tell()
    kept.journal.close()

    said = [line for line in capsys.readouterr().err.splitlines() if "journal" in line]
    assert ["No space left on device" in line for line in said] == [True, False]
    assert "steps were lost" in said[1]
    (_, resumed) = starts(small_disk)
    assert resumed.lost > 0
    assert f" {resumed.lost} steps" in said[1]
    assert main(["replay", "-q", str(small_disk)]) == 0


def test_a_slow_disk(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that takes nothing: nobody waits for it, and what does not fit is counted."""
    monkeypatch.setattr(journal, "MOST_WAITING", 50)
    pipe = tmp_path / "journal.jsonl"
    os.mkfifo(pipe)
    kept = Kept(world, JournalFile(tmp_path))
    kept.tell(len(world.kept) - 20)
    assert capsys.readouterr().err.count("the disk is too slow") == 1
    drained: list[bytes] = []
    with pipe.open("rb") as stream:
        reader = threading.Thread(target=lambda: drained.extend(stream), daemon=True)
        reader.start()
        until(lambda: kept.journal.idle)
        kept.tell()
        kept.journal.close()
        reader.join(PATIENCE)
    found = [line.decode() for line in drained]

    assert [x.lost > 0 for x in map(parse, found) if isinstance(x, Start)] == [False, True]
    assert differing(found) == []
    assert f'"step":{len(world.kept) - 1},' in found[-1]


def test_a_mistake_of_the_planner_is_noted(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step at which a controller broke is its journal's last, and can be repeated."""

    def broken(*_: object) -> None:
        raise ValueError("a mistake of ours")

    kept = Kept(world, JournalFile(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr("vici_mif.core.peers.peer.Peer.observe", broken)
        with pytest.raises(ValueError, match="a mistake of ours"):
            kept.tell()
        kept.journal.close()
        *_, (_, last) = read(tmp_path / "journal.jsonl")

        assert json.loads(last)["raised"] == "ValueError: a mistake of ours"
        assert main(["replay", "-q", str(tmp_path)]) == 0
    assert main(["replay", "-q", str(tmp_path)]) == 1


@pytest.mark.parametrize("word", ["off", "'off'"])
def test_none_is_kept_where_none_is_wanted(world: World, word: str) -> None:
    """YAML reads `off` as a truth value; the planner is asked all the same."""
    config = parse_config([Source("c", f"{SPARE}daemon: {{journal: {word}}}\n")])
    assert config.daemon.journal == "off"
    silent = Journal(None, BASE, Log(verbose=False))
    rooms = Rooms(config, BASE)
    first = next(step for step in world.kept if isinstance(step, Asked))

    assert tuple(silent.handle(rooms, first.event, first.now)) == first.actions
    assert silent.idle
    silent.close()


def test_two_controllers_do_not_share_a_journal(world: World, tmp_path: Path) -> None:
    """The second is told what to do, and writes nothing."""
    first, second = JournalFile(tmp_path), JournalFile(tmp_path)
    first.append("{}\n")
    with pytest.raises(FileError, match=r"another controller writes here: set daemon.journal"):
        second.append("{}\n")
    first.close()
    second.append("{}\n")
    second.close()

    assert (tmp_path / "journal.jsonl").read_text() == "{}\n{}\n"
    assert world.kept


def test_half_a_line_is_ended(tmp_path: Path) -> None:
    """Left by a controller that was killed."""
    (tmp_path / "journal.jsonl").write_text('{"step": 7, "ev')
    file = JournalFile(tmp_path)
    file.append("{}\n")
    file.close()

    assert (tmp_path / "journal.jsonl").read_text() == '{"step": 7, "ev\n{}\n'
