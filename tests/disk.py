# SPDX-License-Identifier: Apache-2.0
"""A file system of its own for one test, so small that it can be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small(place: Path, size: str) -> Iterator[Path]:
    """`size`: as tmpfs takes it, `256k`."""
    if os.geteuid():
        pytest.skip("needs root: mounts a file system")
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
