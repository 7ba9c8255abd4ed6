# SPDX-License-Identifier: Apache-2.0
"""Our wheel and sdist, and the wheels of what it needs: for hosts without a package index.

`python -m vici_mif.build.wheelhouse [SUITE]...` fills dist/ and dist/wheelhouse; it is
`make wheelhouse`, and works in a source tree only.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vici_mif.build.errors import BuildError, UnavailableError

ROOT = Path(__file__).resolve().parents[2]
# which Python a Debian suite has
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
BACKEND = "setuptools>=68"
# what pip says when it is the index that fails, not us
OUTSIDE = ("No matching distribution", "Could not fetch", "Connection", "Name or service", "Retry")
_GLIBC = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
_PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def wheel(into: Path) -> Path:
    """Our wheel, made anew in place of older ones. Raises BuildError."""
    for old in into.glob("vici_mif-*.whl"):
        old.unlink()
    # the same files give the same wheel, so that a container's build finds its layer again
    epoch = {"SOURCE_DATE_EPOCH": "315532800"}
    _run([*_PIP, "wheel", "--no-deps", "--wheel-dir", str(into), str(ROOT)], "our wheel", epoch)
    return next(into.glob("vici_mif-*.whl"))


def sdist(into: Path) -> Path:
    """Our source distribution, made anew in place of older ones. Raises BuildError."""
    for old in into.glob("vici_mif-*.tar.gz"):
        old.unlink()
    into.mkdir(parents=True, exist_ok=True)
    make = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    with tempfile.TemporaryDirectory() as backend:
        _run([*_PIP, "install", "--target", backend, BACKEND], "setuptools")
        command = [sys.executable, "-c", make, str(into.resolve())]
        _run(command, "our source distribution", {"PYTHONPATH": backend})
    return next(into.glob("vici_mif-*.tar.gz"))


def fill(into: Path, pythons: Iterable[str], extras: str = "") -> Path:
    """Our wheel and all it needs for these versions of Python, what is there left alone.

    extras are ours, such as `tui`. UnavailableError when no index gives what is missing.
    """
    ours = wheel(into)
    wanted = f"{ours}[{extras}]" if extras else str(ours)
    tags = [word for tag in _GLIBC for word in ("--platform", f"{tag}_{platform.machine()}")]
    for python in pythons:
        found = ["--find-links", str(into), "--dest", str(into), "--only-binary=:all:"]
        fetch = [*_PIP, "download", *found, "--python-version", python, *tags, wanted]
        offline = subprocess.run([*fetch, "--no-index"], capture_output=True, check=False)
        if offline.returncode:
            _run(fetch, f"wheels for Python {python}")
    return ours


def _run(command: Sequence[str], what: str, extra: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(extra or {})}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return
    end = "\n".join(done.stdout.splitlines()[-25:])
    kind = UnavailableError if any(word in end for word in OUTSIDE) else BuildError
    raise kind(f"{what}: `{' '.join(command[:4])} …` ended with {done.returncode}:\n{end}")


def main(argv: list[str] | None = None) -> int:
    """Fill the output directory; 69 when the outside world lacks something."""
    parser = argparse.ArgumentParser(prog="scripts/wheelhouse", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", default=list(PYTHONS))
    parser.add_argument("--output", type=Path, default=Path("dist"), metavar="DIR")
    args = parser.parse_args(argv)
    if unknown := [suite for suite in args.suites if suite not in PYTHONS]:
        parser.error(f"no such suite: {unknown[0]} ({', '.join(PYTHONS)})")
    house = args.output / "wheelhouse"
    house.mkdir(parents=True, exist_ok=True)
    try:
        fill(house.resolve(), [PYTHONS[suite] for suite in args.suites], "tui")
        print(sdist(args.output))
    except UnavailableError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return 69
    except BuildError as error:
        print(f"scripts/wheelhouse: {error}", file=sys.stderr)
        return 1
    print(house)
    return 0


if __name__ == "__main__":
    sys.exit(main())
