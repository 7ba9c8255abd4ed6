# SPDX-License-Identifier: Apache-2.0
"""A command whose output goes to a log, line by line, and whose end is told if it fails."""

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from vici_mif.build.errors import BuildError

END = 25


def run(
    command: Iterable[str],
    log: Path,
    cwd: Path | None = None,
    each: Callable[[str], None] | None = None,
) -> None:
    """Run a command; `each` sees its lines. BuildError shows the end of the log."""
    words = list(command)
    with log.open("a") as stream:
        print("$", *words, file=stream, flush=True)
        with subprocess.Popen(
            words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL, errors="replace",
        ) as process:  # fmt: skip
            for line in process.stdout or ():
                stream.write(line)
                if each:
                    each(line)
    if process.returncode:
        where = f" in {cwd}" if cwd else ""
        end = "\n".join(log.read_text(errors="replace").splitlines()[-END:])
        raise BuildError(f"{words[0]} failed{where}, the whole log is {log}. Its end:\n{end}")
