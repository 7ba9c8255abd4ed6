# SPDX-License-Identifier: Apache-2.0
"""The record of a lab survives being written and read, and says what is wrong with it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from vici_mif.lab.errors import LabError
from vici_mif.lab.processes import Process
from vici_mif.lab.state import State, StateFile
from vici_mif.lab.topology import Auth, Profile, Wish


def state() -> State:
    wish = Wish(name="x", profile=Profile.SITE, auth=Auth.CERT, ipv6=True)
    return State(wish, {"client": "/opt"}, "word", processes=[Process("charon@client", 7, 9)])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    StateFile(tmp_path).write(state())
    assert StateFile(tmp_path).read() == state()


def test_a_missing_lab_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there is no lab here"):
        StateFile(tmp_path / "here").read()


@pytest.mark.parametrize("text", ["{", "{}", '{"schema": "vici-mif/lab/0"}', "[]"])
def test_a_broken_record_tells_the_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(LabError, match="lab down"):
        StateFile(tmp_path).read()


def test_changes_side_by_side_are_all_kept(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    file.write(state())

    def add(number: int) -> None:
        with StateFile(tmp_path).change() as changed:
            changed.processes.append(Process("p", number, 1))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.pid for p in file.read().processes) == sorted([7, *range(20)])
