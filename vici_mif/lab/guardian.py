# SPDX-License-Identifier: Apache-2.0
"""A small process beside the one that makes a lab: it takes the lab down if that one dies.

It reads a pipe whose other end only the maker holds. The kernel closes that end however the
maker ends, also by SIGKILL.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from vici_mif.lab.removal import take_down

_DISMISSED = b"."


class Guardian:
    """The maker's end."""

    def __init__(self, directory: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "vici_mif.lab.guardian", str(directory)],
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


def main() -> int:
    if sys.stdin.buffer.read() != _DISMISSED:
        take_down(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
