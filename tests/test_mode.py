# SPDX-License-Identifier: Apache-2.0
"""Which mode is in force, and why."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.simulated import ROAD_WARRIOR, SITE
from vici_mif.core.family.mode import Shape, shape
from vici_mif.core.model import Connection, Sa
from vici_mif.core.wish.config import ConnectionConfig, Source, parse

VIPS = tuple(ip_address(f"10.9.0.{i}") for i in range(1, 4))
ROOT = Sa(
    1, "hq", "ESTABLISHED", ip_address("192.0.2.1"), ip_address("203.0.113.1"),
    original_initiator=True, clone_supported=True, local_vips=VIPS,
)  # fmt: skip


def wish(more: str = "") -> ConnectionConfig:
    text = f"version: 1\nconnections:\n  hq: {{links: [a]{more}}}\n"
    return parse([Source("c", text)]).connections["hq"]


def made(
    more: str = "", connection: Connection = ROAD_WARRIOR, root: Sa | None = ROOT, paths: int = 3,
    patched: bool = True,
) -> Shape:  # fmt: skip
    return shape(wish(more), connection, (root,) if root else (), paths, patched)


ROWS = {
    "virtual IPs": (made(), ("per-path", True, 3, False)),
    "before anything is up": (made(root=None), ("per-path", True, 3, False)),
    "no virtual IPs": (
        made(connection=SITE, root=replace(ROOT, local_vips=())), ("one", False, 3, False)),
    "none were given": (made(root=replace(ROOT, local_vips=())), ("one", False, 3, False)),
    "chosen: one": (made(", inner: one"), ("one", False, 3, False)),
    "five paths": (made(paths=5, root=None), ("per-path", True, 4, False)),
    "five paths, five asked": (
        made(", tunnels: 5", paths=5, root=None), ("per-path", True, 5, False)),
    "two asked": (made(", tunnels: 2"), ("per-path", True, 2, False)),
    "fewer addresses": (
        made(root=replace(ROOT, local_vips=VIPS[:1])), ("per-path", True, 1, False)),
    "peer cannot clone": (
        made(root=replace(ROOT, clone_supported=False)), ("single", True, 1, False)),
    "peer cannot clone, refuse": (
        made(", without_clone: refuse", root=replace(ROOT, clone_supported=False)),
        ("single", True, 1, True)),
    "stock charon": (made(patched=False), ("single", False, 1, False)),
    "stock charon, refuse": (
        made(", without_clone: refuse", patched=False), ("single", False, 1, True)),
    "peer began": (
        made(root=replace(ROOT, original_initiator=False)), ("passive", True, 1, False)),
}  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), ROWS.values(), ids=ROWS)
def test_modes(found: Shape, expected: tuple[str, bool, int, bool]) -> None:
    """By what charon, the peer and the configuration allow."""
    assert (found.word, found.per_path, found.limit, found.refused) == expected


@pytest.mark.parametrize(
    "found", [x for x, expected in ROWS.values() if expected[0] in {"single", "passive"}]
)
def test_less_than_wished_has_a_reason(found: Shape) -> None:
    """`status` says which mode is in force and why."""
    assert found.why
