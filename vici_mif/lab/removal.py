# SPDX-License-Identifier: Apache-2.0
"""Taking down what is left of a lab, however little of it there is or was written down."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from vici_mif.lab import namespaces, processes
from vici_mif.lab.errors import LabError
from vici_mif.lab.state import StateFile
from vici_mif.lab.topology import HOSTS, namespace

PATIENCE = 3.0


def take_down(directory: Path) -> None:
    """End the lab's processes, remove its namespaces, then its directory: the record goes last."""
    for process in _recorded(directory):
        processes.end(process, PATIENCE)
    for host in HOSTS:
        _remove_namespace(namespace(directory.name, host))
    shutil.rmtree(directory, ignore_errors=True)
    # the place where the labs lie, if this was the last one
    with contextlib.suppress(OSError):
        directory.parent.rmdir()


def _recorded(directory: Path) -> list[processes.Process]:
    file = StateFile(directory)
    try:
        # the client first: its deletes still find the gateway
        return list(reversed(file.read().processes)) if file.exists() else []
    except LabError:
        return []


def _remove_namespace(name: str) -> None:
    inode = namespaces.inode(name)
    if inode is not None:
        processes.end_members(inode, PATIENCE)
    namespaces.remove(name)
