# SPDX-License-Identifier: Apache-2.0
"""The labs of this machine."""

from __future__ import annotations

from pathlib import Path

from vici_mif.lab import namespaces
from vici_mif.lab.errors import LabError
from vici_mif.lab.state import StateFile, root
from vici_mif.lab.topology import owner


def names(where: Path | None = None) -> dict[str, str]:
    """All labs and their condition: up, half-made, or only namespaces that a crash left."""
    base = where or root()
    found = {o: "leftover" for ns in namespaces.existing() if (o := owner(ns))}
    for path in sorted(base.glob("*/state.json")):
        try:
            found[path.parent.name] = "up" if StateFile(path.parent).read().ready else "half-made"
        except LabError:
            found[path.parent.name] = "broken"
    return dict(sorted(found.items()))
