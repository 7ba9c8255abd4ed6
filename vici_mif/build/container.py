# SPDX-License-Identifier: Apache-2.0
"""A fresh system of a Debian suite in which a script runs: a container, or a chroot.

Both take a directory, run the script in it as root, and give its folder `out` back.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vici_mif.build import apt, logged, mirrors
from vici_mif.build.errors import BuildError

ROOM = "/build"


@dataclass(frozen=True)
class Job:
    """A script, the directory it works in, and who looks at what it prints."""

    suite: str
    script: str
    directory: Path
    log: Path
    each: Callable[[str], None]


class Place(Protocol):
    """Where jobs run."""

    name: str

    def missing(self, suite: str) -> str:
        """Why it cannot be used for this suite; empty if it can."""

    def run(self, job: Job, out: Path) -> None:
        """Run the job; `out` gets what its folder `out` holds. BuildError if it fails."""


class Docker:
    """The engine that the docker command talks to, which may be another machine's."""

    name = "docker"

    def __init__(self, image: str = "") -> None:
        self._image = image

    def image(self, suite: str) -> str:
        """The image of a suite."""
        return self._image or f"debian:{suite}-slim"

    def missing(self, suite: str) -> str:
        """No command, no engine, or no image and no way to pull it."""
        if not shutil.which("docker"):
            return "no docker command"
        image = self.image(suite)
        asked = [["version"], ["image", "inspect", image], ["pull", image]]
        reasons = [_complaint(["docker", *words]) for words in asked[:2]]
        if reasons[0]:
            return f"no engine: {reasons[0]}"
        return reasons[1] and _complaint(["docker", *asked[2]])

    def run(self, job: Job, out: Path) -> None:
        """In a container of its own, which is removed whatever happens."""
        name = f"debs-{job.suite}-{os.getpid()}"
        command = ["sh", "-c", job.script]
        try:
            created = ["create", "--name", name, "--workdir", ROOM, self.image(job.suite)]
            logged.run(["docker", *created, *command], job.log)
            # docker cp names the folder after its target when that is not there yet
            logged.run(["docker", "cp", f"{job.directory}/.", f"{name}:{ROOM}"], job.log)
            logged.run(["docker", "start", "--attach", name], job.log, each=job.each)
            logged.run(["docker", "cp", f"{name}:{ROOM}/out/.", str(out)], job.log)
        finally:
            _complaint(["docker", "rm", "--force", name])


class Mmdebstrap:
    """A chroot that mmdebstrap makes and forgets, as root or in a user namespace."""

    name = "mmdebstrap"

    def missing(self, suite: str) -> str:
        """No command, or no archive to take packages from."""
        if not shutil.which("mmdebstrap"):
            return "no mmdebstrap command"
        return "" if self._sources(suite) else "no Debian archive in this machine's apt"

    def run(self, job: Job, out: Path) -> None:
        """As the last hooks of a system that is then thrown away."""
        script = shlex.quote(f"cd {ROOM}\n{job.script}")
        hooks = [
            f'mkdir -p "$1"{ROOM}',
            f"sync-in {shlex.quote(str(job.directory))} {ROOM}",
            f'chroot "$1" sh -c {script}',
            f"sync-out {ROOM}/out {shlex.quote(str(out))}",
        ]
        options = ["--variant=buildd", *(f"--customize-hook={hook}" for hook in hooks)]
        lines = self._sources(job.suite).splitlines()
        logged.run(["mmdebstrap", *options, job.suite, "/dev/null", *lines], job.log, each=job.each)

    @staticmethod
    def _sources(suite: str) -> str:
        keyring = str(apt.KEYRING) if apt.KEYRING.exists() else ""
        suites = (suite, f"{suite}-updates", f"{suite}-security")
        return mirrors.lines("deb", apt.system_mirrors(), suites, keyring)


def _complaint(command: list[str]) -> str:
    """What a command says when it fails, in one line; empty when it does not."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stderr or done.stdout).strip().splitlines() or ["it failed"]
    return lines[-1] if done.returncode else ""


def find(suite: str, places: tuple[Place, ...]) -> Place:
    """The first place that can be used; BuildError says why none can."""
    reasons = [(place, place.missing(suite)) for place in places]
    for place, reason in reasons:
        if not reason:
            return place
    told = "; ".join(f"{place.name}: {reason}" for place, reason in reasons)
    raise BuildError(f"nowhere to build for {suite}: {told}")
