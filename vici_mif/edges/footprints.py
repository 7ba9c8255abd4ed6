# SPDX-License-Identifier: Apache-2.0
"""footprints.json: what `vici-mif guard` lays at boot, before charon can be asked.

A cache and no state: losing it costs protection between boot and the controller's start, and
nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from vici_mif.core.model import Footprint, GuardWish, Selector
from vici_mif.edges import files

SCHEMA = "vici-mif/footprints/1"
NAME = "footprints.json"


class FootprintsError(Exception):
    """The file cannot be understood; the text says where and what to do."""


def read(state_dir: Path) -> tuple[Footprint, ...]:
    """What was kept; nothing where there is no file."""
    path = state_dir / NAME
    try:
        content = files.read_document(path, SCHEMA)
        peers = content["peers"].items() if content else ()
        return tuple(_footprint(name, entry) for name, entry in peers)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FootprintsError(
            f"{path}: cannot be understood ({error!r}); remove it, the controller writes it anew"
        ) from error


def write(state_dir: Path, footprints: Iterable[Footprint]) -> None:
    """Replace what is kept; no file where there is nothing to keep."""
    path = state_dir / NAME
    peers = {footprint.peer: _entry(footprint) for footprint in footprints}
    if peers:
        text = json.dumps({"schema": SCHEMA, "peers": peers}, indent=2) + "\n"
        files.replace(path, text, mode=0o600)
    else:
        path.unlink(missing_ok=True)


def forget(state_dir: Path, peers: Iterable[str]) -> None:
    """These peers were taken down. A file that cannot be understood goes as a whole."""
    gone = set(peers)
    try:
        known = read(state_dir)
    except FootprintsError:
        known = ()
    write(state_dir, [footprint for footprint in known if footprint.peer not in gone])


def _footprint(name: str, entry: dict[str, Any]) -> Footprint:
    return Footprint(
        peer=name,
        per_path=bool(entry["per_path"]),
        kernel_esp=bool(entry["kernel_esp"]),
        slots=tuple(tuple(map(ip_address, slot)) for slot in entry["slots"]),
        remotes=tuple(map(ip_network, entry["remotes"])),
        bare=frozenset(map(int, entry["bare"])),
        guard=_guard(entry["guard"]),
    )


def _guard(entry: dict[str, Any] | None) -> GuardWish | None:
    if entry is None:
        return None
    return GuardWish(
        selectors=tuple(Selector(*map(ip_network, pair)) for pair in entry["selectors"]),
        uplinks=tuple(map(str, entry["uplinks"])),
        exempt=tuple(map(ip_network, entry["exempt"])),
        kernel_esp=bool(entry["kernel_esp"]),
    )


def _entry(footprint: Footprint) -> dict[str, Any]:
    wish = footprint.guard
    return {
        "per_path": footprint.per_path,
        "kernel_esp": footprint.kernel_esp,
        "slots": [list(map(str, slot)) for slot in footprint.slots],
        "remotes": list(map(str, footprint.remotes)),
        "bare": sorted(footprint.bare),
        "guard": wish
        and {
            "selectors": [[str(s.local), str(s.remote)] for s in wish.selectors],
            "uplinks": list(wish.uplinks),
            "exempt": list(map(str, wish.exempt)),
            "kernel_esp": wish.kernel_esp,
        },
    }
