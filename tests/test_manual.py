# SPDX-License-Identifier: Apache-2.0
"""Manual pages and completions are those of the table of commands, and work."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from vici_mif.core.wish import config
from vici_mif.shell.cli import parser

ROOT = Path(__file__).parent.parent
SHARE = ROOT / "share"
AGAIN = "the commands have changed: run scripts/manual, which writes share/"
PAGES = ("man/man1/vici-mif.1", "man/man5/vici-mif.yaml.5")
COMPLETIONS = ("bash-completion/completions/vici-mif", "zsh/site-functions/_vici-mif")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `scripts/manual` writes now."""
    target = tmp_path_factory.mktemp("share")
    subprocess.run([sys.executable, str(ROOT / "scripts/manual"), str(target)], check=True)
    return target


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_are_current(written: Path, page: str) -> None:
    """`scripts/manual` writes what is there."""
    assert (written / page).read_text() == (SHARE / page).read_text(), AGAIN


@pytest.mark.parametrize("name", COMPLETIONS)
def test_the_completions_know_every_word(name: str) -> None:
    """Every command and every option, of the lab and the build too."""
    text = (SHARE / name).read_text()

    assert [word for word in words(parser("--help")) if word not in text] == [], AGAIN


def words(above: argparse.ArgumentParser) -> Iterator[str]:
    for action in above._actions:
        yield from (name for name in action.option_strings if name.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name
                yield from words(below)


def test_every_key_is_on_its_page() -> None:
    """vici-mif.yaml(5): with the names of the places above it."""
    text = (SHARE / PAGES[1]).read_text().replace("\\-", "-")
    daemon = config.schema()["$defs"]["DaemonConfig"]["properties"]

    assert [key for key in daemon if f".B daemon.{key}" not in text] == []
    assert ".B connections.NAME.probe" in text


@pytest.mark.parametrize("page", PAGES)
def test_roff_has_nothing_to_complain(page: str) -> None:
    """groff with all warnings."""
    if shutil.which("groff") is None:
        pytest.skip("needs groff: scripts/packages check")
    argv = ["groff", "-man", "-Tutf8", "-ww", "-z", str(SHARE / page)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "can't find" in done.stderr or "cannot find" in done.stderr:
        pytest.skip(f"groff is not whole here: {done.stderr.splitlines()[0]}")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["sta"], ["status"]),
        (["path", ""], ["drain", "prefer", "undrain"]),
        (["status", "--wa"], ["--wait", "--watch"]),
        (["status", "--wait", ""], ["degraded", "down", "up"]),
        (["orders", "cl"], ["clear"]),
    ],
)
def test_bash_completes(typed: list[str], expected: list[str]) -> None:
    """What the tabulator key offers, asked of a real bash."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    script = (
        f"source {SHARE / COMPLETIONS[0]}; COMP_WORDS=(vici-mif \"$@\"); "
        "COMP_CWORD=$#; COMP_LINE=\"vici-mif $*\"; COMP_POINT=${#COMP_LINE}; "
        "f=$(complete -p vici-mif | sed -E 's/.*-F ([^ ]+).*/\\1/'); "
        "$f vici-mif \"${!#}\" >/dev/null 2>&1; printf '%s\\n' \"${COMPREPLY[@]}\""
    )  # fmt: skip
    argv = ["bash", "--norc", "-c", script, "bash", *typed]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    offered = sorted(line for line in done.stdout.splitlines() if not line.startswith("-"))
    options = sorted(line for line in done.stdout.splitlines() if line.startswith("-"))

    assert (options if typed[-1].startswith("-") else offered) == expected


def test_zsh_understands_it() -> None:
    """`zsh -n`."""
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh: scripts/packages check")
    subprocess.run(["zsh", "-n", str(SHARE / COMPLETIONS[1])], check=True)


def test_all_of_it_is_packaged() -> None:
    """The wheel has them below share/."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packaged = {file for files in tables["data-files"].values() for file in files}

    assert {f"share/{name}" for name in (*PAGES, *COMPLETIONS)} <= packaged
    assert [pattern for pattern in packaged if not list(ROOT.glob(pattern))] == []
