# SPDX-License-Identifier: Apache-2.0
"""A small process beside the one that makes a lab: it takes the lab down if that one dies.

It reads a pipe whose other end only the maker holds. The kernel closes that end however the
maker ends, also by SIGKILL.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from vici_mif.lab.errors import LabError
from vici_mif.lab.removal import take_down
from vici_mif.lab.state import StateFile

_DISMISSED = b"."


class Guardian:
    """The maker's end."""

    def __init__(self, directory: Path) -> None:
        self.token = secrets.token_hex(8)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "vici_mif.lab.guardian", str(directory), self.token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """The lab needs no guard any more: it is gone, or it is to stay."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(_DISMISSED)
            self._child.stdin.close()
        self._child.wait()


def draft_directory(directory: Path, token: str) -> Path:
    """Where a lab's directory is prepared before it gets its name."""
    return directory.with_name(f".{directory.name}.{token}")


def clean_up(directory: Path, token: str) -> None:
    """Remove the draft and the lab of this maker; a lab of that name may be somebody else's."""
    shutil.rmtree(draft_directory(directory, token), ignore_errors=True)
    with contextlib.suppress(LabError):
        if StateFile(directory).read().maker == token:
            take_down(directory)


def main() -> int:
    directory, token = Path(sys.argv[1]), sys.argv[2]
    if sys.stdin.buffer.read() != _DISMISSED:
        clean_up(directory, token)
    return 0


if __name__ == "__main__":
    sys.exit(main())
