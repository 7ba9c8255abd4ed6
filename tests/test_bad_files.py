# SPDX-License-Identifier: Apache-2.0
"""Files that are no configuration: each is refused in words, soon, and with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vici_mif.core.wish.config import ConfigError, Source, parse
from vici_mif.core.wish.document import MOST_VALUES
from vici_mif.edges import files
from vici_mif.edges.files import FileError
from vici_mif.shell.cli import main

GOOD = "version: 1\nconnections:\n  hq: {links: [eth0]}\n"


def links(text: str) -> str:
    return GOOD.replace("eth0", text)


def beside(text: str) -> str:
    return GOOD.replace("[eth0]", f"[eth0], {text}")


def laughs(depth: int, width: int = 10) -> str:
    """Lists of aliases of lists of aliases: some hundred bytes, width to the depth values."""
    lines = ["a0: &a0 [x]"]
    for level in range(1, depth):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines) + "\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse([Source("c.yaml", text)])
    return [str(problem) for problem in raised.value.problems]


REFUSED = {
    "nothing": ("", "c.yaml:1:1: version: missing"),
    "lists in lists": ("[" * 3000, "c.yaml:1:1: nested too deeply"),
    "maps in maps": ("x: " + "{a: " * 40 + "1" + "}" * 40, "c.yaml:1:"),
    "a tab": ("version: 1\nconnections:\n\thq: 1\n", "c.yaml:3:1: this is not YAML"),
    "escape": ("version: 1\nx: \x1b[2J\n", "c.yaml:2:4: this is not YAML"),
    "escape written": ('version: 1\n"\\e[2J": 1\n', "c.yaml:2:1: a key with a control character"),
    "value": (links('"\\e[2J"'), "c.yaml:3:16: connections.hq.links.0: a control character"),
    "half a pair": (links('"\\uD800"'), "c.yaml:3:16: connections.hq.links.0: a control"),
    "zero": (GOOD + 'daemon: {vici: "/a\\0b"}\n', "c.yaml:4:16: daemon.vici: a control character"),
    "no truth": ("version: !!bool perhaps\n", "c.yaml:1:10: version: not a value of `!!bool`"),
    "no number": ('version: !!int ""\n', "c.yaml:1:10: version: not a value of `!!int`"),
    "no date": ("version: !!timestamp x\n", "c.yaml:1:10: version: not a value of `!!timestamp`"),
    "an object": ("version: !!python/name:os x\n", "c.yaml:1:10: version: not a value of `!!py"),
    "long": (links("a" * 16), "c.yaml:3:16: connections.hq.links.0.match: no interface can have"),
    "space": (links("'a b'"), "c.yaml:3:16: connections.hq.links.0.match: no interface can have"),
    "alias of eth0": (links("'eth0:1'"), "c.yaml:3:16: connections.hq.links.0.match: no interface"),
    "slash": (links("eth0/1"), "c.yaml:3:16: connections.hq.links.0.match: no interface can have"),
    "twice": (links("eth0, eth0"), "c.yaml:3:22: connections.hq.links.1: says nothing: `eth0`"),
    "cost behind a pattern": (
        links("'wwan*', {match: wwan0, cost: metered}"),
        "c.yaml:3:25: connections.hq.links.1: says nothing: `wwan*`",
    ),
    "one link": (
        GOOD.replace("[eth0]", "eth0"),
        "c.yaml:3:15: connections.hq.links: expected a li",
    ),
    "zone": (beside("remotes: {use: 'fe80::1%eth0'}"), "c.yaml:3:38: connections.hq.remotes.use.0"),
    "link-local": (
        beside("remotes: {use: 'fe80::1'}"),
        "c.yaml:3:38: connections.hq.remotes.use.0",
    ),
    "any": (
        beside("remotes: {use: '%any'}"),
        "c.yaml:3:38: connections.hq.remotes.use.0: expected",
    ),
    "prefix": (beside("remotes: {use: 10.0.0.0/8}"), "c.yaml:3:38: connections.hq.remotes.use.0"),
    "no address": (
        beside("remotes: {use: 300.1.1.1}"),
        "c.yaml:3:38: connections.hq.remotes.use.0",
    ),
    "empty label": (beside("remotes: {use: a..b}"), "c.yaml:3:38: connections.hq.remotes.use.0"),
    "nobody": (GOOD.replace("hq:", '"":'), "c.yaml:3:3: connections.: expected a name"),
    "a long name": (
        GOOD.replace("hq:", f"? {'h' * 256}\n  :"),
        f"c.yaml:3:5: connections.{'h' * 256}: expected a name of 255 bytes at most",
    ),
    "a long child": (
        beside("connection: {remote_addrs: a, children: {? %s : {}}}" % ("é" * 128)),
        "c.yaml:3:66: connections.hq.connection.children.é",
    ),
    "for ever": (beside(f"hold_down: {'9' * 400}"), "c.yaml:3:34: connections.hq.hold_down: expe"),
    "years": (
        beside("hold_down: 99999h"),
        "c.yaml:3:34: connections.hq.hold_down: expected a time of a day",
    ),
    "a URI": (
        GOOD + "daemon: {vici: 'unix:///run/charon.vici'}\n",
        "c.yaml:4:16: daemon.vici: exp",
    ),
    "relative": (GOOD + "daemon: {journal: log}\n", "c.yaml:4:19: daemon.journal: expected a path"),
    "empty host": (
        GOOD + 'daemon: {metrics: "a..b:9791"}\n',
        "c.yaml:4:19: daemon.metrics: expect",
    ),
    "beyond u32": (
        GOOD + "daemon: {tables: 1000-4294967296}\n",
        "c.yaml:4:18: daemon.tables: expe",
    ),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(text: str, words: str) -> None:
    """Never a traceback, always the place."""
    assert mistakes(text)[0].startswith(words)


@pytest.mark.parametrize(
    "text",
    [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD.replace("[eth0]", "&a [eth0]")],
    ids=["line ends of Windows", "byte order mark", "an anchor"],
)
def test_what_is_taken(text: str) -> None:
    """The two lines, as an editor may have left them."""
    assert [link.match for link in parse([Source("c.yaml", text)]).connections["hq"].links] == [
        "eth0"
    ]


def test_aliases_of_aliases() -> None:
    """Half a kilobyte that stands for a billion values is refused after some of them."""
    text = laughs(10)

    assert len(text) < 1000
    assert any(f"more than {MOST_VALUES} values" in said for said in mistakes(GOOD + text))


def test_a_secret_is_not_repeated() -> None:
    """Not even where its tag does not fit."""
    entry = "{ike: {secret: !!int hunter2}}"
    inline = f"connection: {{remote_addrs: 192.0.2.1, children: {{net: {{}}}}, secrets: {entry}}}"

    assert "hunter2" not in "".join(mistakes(beside(inline)))


# --- files ----------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], file: Path) -> str:
    assert main(["check", "-c", str(file)]) == 78
    return capsys.readouterr().err


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """None, a directory, a link to itself, something else than text."""
    loop, binary = tmp_path / "loop.yaml", tmp_path / "binary.yaml"
    loop.symlink_to(loop)
    binary.write_bytes(b"version: \xff\xfe")

    assert "none.yaml: No such file" in said(capsys, tmp_path / "none.yaml")
    assert f"{tmp_path}: Is a directory" in said(capsys, tmp_path)
    assert "loop.yaml: Too many levels of symbolic links" in said(capsys, loop)
    assert "binary.yaml: not UTF-8 (byte 9)" in said(capsys, binary)


def test_a_file_without_end(capsys: pytest.CaptureFixture[str]) -> None:
    """It is not read to its end."""
    assert "/dev/zero: larger than 1000000 bytes" in said(capsys, Path("/dev/zero"))


def test_conf_d_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be looked into is not passed over in silence."""
    (tmp_path / "config.yaml").write_text(GOOD)
    (tmp_path / "conf.d").write_text("")

    assert "conf.d: Not a directory" in said(capsys, tmp_path / "config.yaml")


def test_what_an_editor_leaves_in_conf_d(tmp_path: Path) -> None:
    """A lock of Emacs is a link to nowhere, hidden by its name."""
    (tmp_path / "config.yaml").write_text(GOOD)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/.#b.yaml").symlink_to("somebody@somewhere.1")
    (tmp_path / "conf.d/b.yaml").write_text("daemon: {group: x}\n")

    names = [os.path.basename(name) for name, _ in files.read_config(tmp_path / "config.yaml")]
    assert names == ["config.yaml", "b.yaml"]


def test_a_name_with_a_zero() -> None:
    """No system call takes it."""
    with pytest.raises(FileError, match="null"):
        files.read_bytes(Path("/etc/a\0b"))
