# SPDX-License-Identifier: Apache-2.0
"""A lab's state file: what exists, so that any later command can use it or take it down."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vici_mif.lab.errors import LabError
from vici_mif.lab.processes import Process
from vici_mif.lab.topology import Auth, Profile, Wish

SCHEMA = "vici-mif/lab/1"
DEFAULT_ROOT = Path("/run/vici-mif-lab")


@dataclass
class State:
    """What the file holds."""

    wish: Wish
    # host -> prefix of its charon
    charons: dict[str, str]
    # a word that only the lab's maker and its guardian know
    maker: str
    # host -> container image, of those that are containers
    images: dict[str, str] = field(default_factory=dict)
    # libipsec or netlink; and whether the kernel has ESP
    data_plane: str = ""
    kernel_esp: bool = False
    capture: bool = False
    keys: bool = False
    debug: int = 1
    ready: bool = False
    processes: list[Process] = field(default_factory=list)
    # name now -> name in the plan, of uplinks that were renamed
    names: dict[str, str] = field(default_factory=dict)
    # name in the plan -> addresses now, where they are not the plan's
    leases: dict[str, list[str]] = field(default_factory=dict)
    # uplink -> how often its NAT forgot
    rebindings: dict[str, int] = field(default_factory=dict)

    def find(self, role: str) -> Process | None:
        return next((p for p in reversed(self.processes) if p.role == role), None)


def root() -> Path:
    """Where the labs of this machine lie, unless told otherwise."""
    return Path(os.environ.get("VICI_MIF_LAB_DIR") or DEFAULT_ROOT)


class StateFile:
    """state.json of one lab; a lock keeps commands that run side by side apart."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "state.json"
        self._lock = directory / "lock"

    def exists(self) -> bool:
        return self.path.exists()

    def read(self) -> State:
        try:
            return _decode(json.loads(self.path.read_text()))
        except FileNotFoundError as error:
            name = self.path.parent.name
            raise LabError(
                f"there is no lab {name} ({self.path} is missing): "
                f"`vici-mif lab up --name {name}` makes it, `vici-mif lab list` shows all"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"{self.path} cannot be read ({error}): `vici-mif lab down` removes the lab"
            ) from error

    def write(self, state: State) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(_encode(state), indent=2) + "\n")
        fresh.replace(self.path)

    @contextlib.contextmanager
    def change(self) -> Iterator[State]:
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.read()
            yield state
            self.write(state)


def _encode(state: State) -> dict[str, Any]:
    tree = dataclasses.asdict(state)
    tree["schema"] = SCHEMA
    tree["wish"] |= {"profile": state.wish.profile.value, "auth": state.wish.auth.value}
    return tree


def _decode(tree: dict[str, Any]) -> State:
    if tree.pop("schema") != SCHEMA:
        raise ValueError("made by another version")
    wish = tree.pop("wish")
    wish |= {"profile": Profile(wish["profile"]), "auth": Auth(wish["auth"])}
    wish["nat"] = tuple(wish["nat"])
    processes = [Process(**p) for p in tree.pop("processes")]
    return State(wish=Wish(**wish), processes=processes, **tree)
