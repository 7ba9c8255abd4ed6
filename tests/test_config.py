# SPDX-License-Identifier: Apache-2.0
"""Configuration: what is read, and each mistake with its place."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vici_mif.core import status
from vici_mif.core.wish import config
from vici_mif.core.wish.config import Config, ConfigError, Source, parse

ROOT = Path(__file__).parent.parent
TWO_LINES = "version: 1\nconnections:\n  hq: {links: [eth0, 'wwan*']}\n"

INLINE = """\
version: 1
connections:
  hq:
    links: [eth0]
    connection:
      remote_addrs: 203.0.113.1
      mobike: yes
      rekey_time: 4h
      local: {auth: eap-mschapv2, eap_id: carol, certs: a.pem}
      remote: {auth: pubkey, cacerts: [/etc/ca.pem]}
      children:
        net: {remote_ts: "10.1.0.0/16, 10.2.0.0/16", start_action: none}
      secrets:
        eap-carol: {id: carol, secret: {env: CAROL}}
        private-hq: {file: hq.key}
"""


def read(*texts: str) -> Config:
    return parse(Source(f"c{i}.yaml", text) for i, text in enumerate(texts))


def mistakes(*texts: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(*texts)
    return [str(problem) for problem in raised.value.problems]


def test_the_two_lines() -> None:
    """A connection's name and its links are enough; everything else has a default."""
    wish = read(TWO_LINES).connections["hq"]

    assert [match.match for match in wish.links] == ["eth0", "wwan*"]
    assert (wish.hold_down, wish.inner, wish.without_clone) == (5.0, "auto", "single")
    assert (wish.on_stop, wish.children, wish.tunnels) == ("keep", (), None)


def test_all_keys_of_now() -> None:
    """The whole format that exists."""
    wish = read(
        """
version: 1
connections:
  hq:
    links: [{match: eth0}, wwan0]
    children: [net]
    remotes: {use: [gw.example.org, 203.0.113.2]}
    pairs: {one_to_one: true, deny: [["wwan*", 203.0.113.2], [eth0, "2001:db8::1"]]}
    tunnels: 3
    inner: one
    hold_down: 500ms
    without_clone: refuse
    on_stop: close
daemon: {vici: /run/x.vici, group: staff, tables: 1000-1099, rules: 100-119,
         run_dir: /run/x, state_dir: /var/lib/x}
"""
    )
    hq = wish.connections["hq"]

    assert (hq.remotes.use, hq.hold_down, hq.tunnels) == (
        ("gw.example.org", "203.0.113.2"),
        0.5,
        3,
    )
    assert hq.pairs.one_to_one
    assert hq.pairs.deny == (("wwan*", "203.0.113.2"), ("eth0", "2001:db8::1"))
    assert (wish.daemon.tables, wish.daemon.rules) == ((1000, 1099), (100, 119))


def test_inline_connection() -> None:
    """swanctl's own terms; lists by comma or as YAML lists, truth values as words."""
    inline = read(INLINE).connections["hq"].connection

    assert inline is not None
    assert inline.remote_addrs == ("203.0.113.1",)
    assert inline.children["net"].remote_ts == ("10.1.0.0/16", "10.2.0.0/16")
    assert (inline.mobike, inline.local.auth, inline.local.certs) == (  # type: ignore[attr-defined]
        "yes",
        "eap-mschapv2",
        ("a.pem",),
    )


@pytest.mark.parametrize("word", ["5s", "5", 5, "5000ms", "5.0 s"])
def test_times(word: object) -> None:
    """Seconds with or without unit."""
    wish = read(TWO_LINES.replace("]}", f"], hold_down: {word}}}"))

    assert wish.connections["hq"].hold_down == 5.0


def one(keys: str) -> str:
    """hq with more keys, on line 3, from column 23 on."""
    return f"version: 1\nconnections:\n  hq: {{links: [eth0], {keys}}}\n"


MISTAKES = {
    "unknown key": (
        one("tunels: 3"),
        ["c0.yaml:3:23: connections.hq.tunels: unknown key; nearest known: tunnels"],
    ),
    "a key of another section": (
        one("state_dir: /tmp") + "links: [eth0]\n",
        [
            "c0.yaml:3:23: connections.hq.state_dir: unknown key here; it belongs below daemon",
            "c0.yaml:4:1: links: unknown key here; it belongs below connections.NAME",
        ],
    ),
    "unknown key like nothing": (one("zzz: 3"), ["c0.yaml:3:23: connections.hq.zzz: unknown key"]),
    "probe: no such profile": (
        one("probe: {profile: quick}"),
        [
            "c0.yaml:3:40: connections.hq.probe.profile: expected 'fast', 'normal' or 'relaxed', "
            "found 'quick'"
        ],
    ),
    "probe: a name as target": (
        one("probe: {targets: [gw.example.org]}"),
        ["c0.yaml:3:41: connections.hq.probe.targets.0: expected an address behind the peer"],
    ),
    "probe: loss is a share": (
        one("probe: {loss: 0.2}"),
        ["c0.yaml:3:37: connections.hq.probe.loss: expected a share such as 20%"],
    ),
    "probe: recovery above the threshold": (
        one("probe: {loss: 10%, loss_recovery: 20%}"),
        ["c0.yaml:3:42: connections.hq.probe.loss_recovery: expected no more than `loss`"],
    ),
    "probe: recovery without a threshold": (
        one("probe: {delay_recovery: 100ms}"),
        ["c0.yaml:3:31: connections.hq.probe.delay_recovery: expected no more than `delay`"],
    ),
    "gateway: one of our own": (
        TWO_LINES + "gateway: {connections: [hq]}\n",
        [
            "c0.yaml:4:11: gateway.connections: hq is one of connections: there we begin, "
            "here the peers"
        ],
    ),
    "gateway: nobody": (
        TWO_LINES + "gateway: {connections: []}\n",
        ["c0.yaml:4:24: gateway.connections: expected at least one"],
    ),
    "gateway: unknown check": (
        TWO_LINES + "gateway: {connections: rw, source_check: maybe}\n",
        ["c0.yaml:4:42: gateway.source_check: expected 'off', 'count' or 'drop', found 'maybe'"],
    ),
    "neither peers nor a gateway": (
        "version: 1\n",
        ["c0.yaml:1:1: expected connections, or a gateway"],
    ),
    "metrics without a port": (
        TWO_LINES + "daemon:\n  metrics: localhost\n",
        ["c0.yaml:5:12: daemon.metrics: expected HOST:PORT, or the path of a unix socket"],
    ),
    "a wrong prefix": (
        one("remotes: {use: a, learn: [x]}"),
        ["c0.yaml:3:49: connections.hq.remotes.learn.0: expected a prefix such as 203.0.113.0/24"],
    ),
    "cost of a link": (
        "version: 1\nconnections:\n  hq: {links: [{match: a, cost: much}]}\n",
        ["c0.yaml:3:33: connections.hq.links.0.cost: expected 'free' or 'metered', found 'much'"],
    ),
    "empty links": (
        "version: 1\nconnections:\n  hq: {links: []}\n",
        ["c0.yaml:3:15: connections.hq.links: expected at least one"],
    ),
    "later: shared": (
        one("inner: shared"),
        [
            "c0.yaml:3:30: connections.hq.inner: `shared` comes in a later version; "
            "expected 'auto', 'per-path' or 'one'"
        ],
    ),
    "a denied pair of one": (
        one("pairs: {deny: [[eth0]]}"),
        ["c0.yaml:3:38: connections.hq.pairs.deny.0.1: missing"],
    ),
    "an unknown key of pairs": (
        one("pairs: {denny: []}"),
        ["c0.yaml:3:31: connections.hq.pairs.denny: unknown key; nearest known: deny"],
    ),
    "more peers than tables": (
        TWO_LINES + "  b: {links: [eth0], tunnels: 16}\ndaemon: {tables: 1000-1063}\n",
        ["c0.yaml:4:3: connections.b: no routing tables are left for it: daemon.tables needs 91"],
    ),
    "rank from 1": (
        one("rank: 0"),
        ["c0.yaml:3:29: connections.hq.rank: expected greater than or equal to 1, found 0"],
    ),
    "duplicate key": (
        one("on_stop: keep, on_stop: close"),
        ["c0.yaml:3:38: connections.hq.on_stop: duplicate key, set before at c0.yaml:3:23"],
    ),
    "wrong word": (
        one("on_stop: maybe"),
        ["c0.yaml:3:32: connections.hq.on_stop: expected 'keep' or 'close', found 'maybe'"],
    ),
    "wrong time": (
        one("hold_down: soon"),
        ["c0.yaml:3:34: connections.hq.hold_down: expected a time such as 5s, 500ms or 2m"],
    ),
    "too many tunnels": (
        one("tunnels: 99"),
        ["c0.yaml:3:32: connections.hq.tunnels: expected less than or equal to 16, found 99"],
    ),
    "no links": (
        "version: 1\nconnections:\n  hq: {tunnels: 1}\n",
        ["c0.yaml:3:7: connections.hq.links: missing"],
    ),
    "no version": ("connections:\n  hq: {links: [a]}\n", ["c0.yaml:1:1: version: missing"]),
    "wrong version": (
        TWO_LINES.replace("version: 1", "version: 2"),
        ["c0.yaml:1:10: version: expected 1, found 2"],
    ),
    "a word for a mapping": (
        "version: 1\nconnections:\n  hq: eth0\n",
        ["c0.yaml:3:7: connections.hq: expected keys and values"],
    ),
    "rules above charon's": (
        TWO_LINES + "daemon: {rules: 210-230}\n",
        ["c0.yaml:4:17: daemon.rules: expected at least 12 preferences from 1 to 219"],
    ),
    "tables over main": (
        TWO_LINES + "daemon: {tables: 200-300}\n",
        [
            "c0.yaml:4:18: daemon.tables: expected at least 64 tables that leave out 220 and "
            "253 to 255"
        ],
    ),
    "no YAML": (
        "version: 1\nconnections: [\n",
        [
            "c0.yaml:3:1: this is not YAML: while parsing a flow node expected the node content, "
            "but found '<stream end>'"
        ],
    ),
    "a list": ("- 1\n", ["c0.yaml:1:1: expected keys and values (`version: 1`)"]),
    "empty": ("", ["c0.yaml:1:1: version: missing"]),
    "an alias in itself": (
        "version: 1\nconnections: &a {hq: *a}\n",
        ["c0.yaml:2:14: connections.hq: an alias that contains itself"],
    ),
    "inline: unknown key of a child": (
        INLINE.replace("start_action: none", "start_actoin: none"),
        [
            "c0.yaml:12:54: connections.hq.connection.children.net.start_actoin: unknown key; "
            "nearest known: start_action"
        ],
    ),
    "inline: no remote": (
        INLINE.replace("      remote_addrs: 203.0.113.1\n", ""),
        ["c0.yaml:6:7: connections.hq.connection: missing: `remote_addrs`, the peer's address"],
    ),
    "inline: kind of secret": (
        INLINE.replace("private-hq", "rsa-hq"),
        [
            "c0.yaml:15:9: connections.hq.connection.secrets.rsa-hq: expected a name that begins "
            "with ike, eap or private, as in swanctl.conf"
        ],
    ),
    "inline: both places": (
        INLINE.replace("{env: CAROL}", "{env: CAROL, file: x}"),
        [
            "c0.yaml:14:40: connections.hq.connection.secrets.eap-carol.secret: expected either "
            "`file` or `env`"
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(text: str, expected: list[str]) -> None:
    """File, line, column, key, what was expected."""
    assert mistakes(text) == expected


def test_several_mistakes_come_together_in_the_order_of_the_text() -> None:
    """One run shows them all."""
    found = mistakes(one("tunels: 3, on_stop: no, hold_down: x"))

    assert [line.split(":")[2] for line in found] == ["23", "43", "58"]


def test_a_secret_is_not_repeated() -> None:
    """Who writes a secret into the file does not find it in the error."""
    (said,) = mistakes(INLINE.replace("{env: CAROL}", "hunter2"))

    assert "hunter2" not in said
    assert said.startswith("c0.yaml:14:40: ")
    assert "expected {file: PATH} or {env: NAME}" in said


def test_a_mistake_beside_a_secret_hides_the_value() -> None:
    """Neither does a value of the wrong kind."""
    (said,) = mistakes(INLINE.replace("{env: CAROL}", "{env: [hunter2]}"))

    assert "hunter2" not in said


def test_conf_d_adds() -> None:
    """Connections and daemon keys may be spread over files."""
    wish = read("version: 1\n", "connections: {hq: {links: [a]}}\n", "daemon: {group: x}\n")

    assert (list(wish.connections), wish.daemon.group) == (["hq"], "x")


def test_what_two_files_set_is_a_mistake() -> None:
    """Both places are named; nobody wins silently."""
    assert mistakes(TWO_LINES, "version: 1\nconnections:\n  hq: {links: [b]}\n") == [
        "c1.yaml:3:3: connections.hq: duplicate key, set before at c0.yaml:3:3"
    ]
    assert mistakes(TWO_LINES + "daemon: {group: a}\n", "daemon: {group: b}\n") == [
        "c1.yaml:1:10: daemon.group: duplicate key, set before at c0.yaml:4:10"
    ]


def test_later_keys_are_known_nowhere() -> None:
    """A key that comes later is not one that exists."""
    known = {(*at, name) for at, model in config.MODELS.items() for name in model.model_fields}

    assert not known & config.LATER


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes anything but a ConfigError."""
    with suppress(ConfigError):
        read(text)


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
keys = st.sampled_from(
    ["version", "connections", "hq", "links", "match", "daemon", "tables", "connection", "secrets",
     "children", "local", "remotes", "use", "secret", "file", "x"]
)  # fmt: skip
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)
)


@given(trees)
def test_any_tree_is_read_or_refused_with_places(tree: object) -> None:
    """Every problem has a place in the file, and no problem is empty."""
    problems = None
    try:
        read(json.dumps(tree))
    except ConfigError as error:
        problems = error.problems

    assert problems != ()
    assert all(problem.place.line == 1 and problem.text for problem in problems or ())


@pytest.mark.parametrize(
    ("name", "schema"),
    [("vici-mif.schema.json", config.schema()), ("vici-mif-status.schema.json", status.schema())],
    ids=["configuration", "status"],
)
def test_schemas_are_current(name: str, schema: object) -> None:
    """docs/ has the schemas as the code has them (`scripts/schemas` writes them)."""
    assert json.loads((ROOT / "docs" / name).read_text()) == schema


def test_a_gateway_needs_no_connections() -> None:
    """A word for a list, and YAML's own idea of `off`."""
    wish = read("version: 1\ngateway: {connections: rw, source_check: off}\n")

    assert wish.gateway is not None
    assert (wish.gateway.connections, wish.gateway.source_check) == (("rw",), "off")
    assert read("version: 1\ngateway: {connections: [a, b]}\n").gateway is not None
