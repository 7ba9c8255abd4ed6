# SPDX-License-Identifier: Apache-2.0
"""The cache of builds."""

from dataclasses import replace
from pathlib import Path

import pytest

from vici_mif.build.cache import Cache, Record, home, key
from vici_mif.build.errors import BuildError

RECORD = Record("k1", "6.1.0", "Debian source package 6.1.0-2", "abc")


def test_home_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    """$XDG_CACHE_HOME, if it is absolute as its specification asks."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    absolute = home()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert (absolute, home()) == (Path("/somewhere/vici-mif"), Path.home() / ".cache/vici-mif")


def test_key_knows_where_a_part_ends() -> None:
    """Two lists that join to one text have two keys."""
    assert key(["ab", "c"]) != key(["a", "bc"])


def test_an_unfinished_build_is_not_found(tmp_path: Path) -> None:
    """The record comes last."""
    cache = Cache(tmp_path)
    cache.begin("k1")
    cache.choose("request", RECORD)
    before = cache.chosen("request")
    cache.finish(RECORD)
    assert (before, cache.chosen("request")) == (None, RECORD)


def test_beginning_again_empties_the_place(tmp_path: Path) -> None:
    """What an interrupted build left is not taken over."""
    cache = Cache(tmp_path)
    (cache.begin("k1") / "half").write_text("x")
    assert list(cache.begin("k1").iterdir()) == []


def test_a_torn_record_is_no_record(tmp_path: Path) -> None:
    """Half a file counts as none."""
    cache = Cache(tmp_path)
    (cache.begin("k1") / "build.json").write_text('{"key": "k')
    assert cache.finished("k1") is None


def test_a_cache_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    """The variable that moves it is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="XDG_CACHE_HOME"):
        Cache(tmp_path / "file").room("sources")


def test_cleaning_keeps_what_is_asked_for(tmp_path: Path) -> None:
    """And the record of choices, and what somebody is building now."""
    cache = Cache(tmp_path)
    for name in ("k1", "k2"):
        cache.begin(name)
        cache.finish(replace(RECORD, key=name))
    cache.begin("under-way")
    cache.choose("request", RECORD)
    assert cache.clean(["k1"]) == ["k2"]
    assert cache.chosen("request") == RECORD
    assert cache.build("under-way").exists()
