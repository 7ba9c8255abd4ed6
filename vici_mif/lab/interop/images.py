# SPDX-License-Identifier: Apache-2.0
"""The rig's images: what a build needs is laid into its context first, then docker builds.

Wheels and sources come from this machine, because a build may have no way to Python's package
index and should not download what is here already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vici_mif.build import wheelhouse
from vici_mif.build.cache import Cache
from vici_mif.build.charon import Charon, Request, default_patches
from vici_mif.build.errors import BuildError, UnavailableError
from vici_mif.lab.errors import LabError
from vici_mif.lab.interop.implementations import Image

ROOT = Path(__file__).resolve().parents[3]
_OUTSIDE = (
    "Temporary failure resolving",
    "Unable to fetch some archives",
    "Unable to locate package",
    "no source of strongSwan can be had",
)
"""What apt and our own builder say."""


class SkippedError(LabError):
    """Something of the outside world is missing; the reason is the text."""


def build(images: Iterable[Image]) -> None:
    """Everything these images need, and the images. Raises SkippedError and LabError."""
    wanted = list(images)
    if any(image.target == "controller" for image in wanted):
        wheels(ROOT / "docker" / "wheels", sorted({image.suite for image in wanted}))
    for image in wanted:
        _run([str(ROOT / "scripts" / "base-image"), image.suite], "the base image")
        if image.release:
            have_source(image.release, ROOT / "docker" / "sources" / image.release)
        _build(image)


def _build(image: Image) -> None:
    arguments = {"BASE": image.base} | ({"RELEASE": image.release} if image.release else {})
    given = [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
    what = ["--file", "docker/Dockerfile", "--target", image.target, "--tag", image.name]
    print(f"building {image.name}", file=sys.stderr, flush=True)
    _run(["docker", "build", "--quiet", *given, *what, "."], image.name, _builder())


def _builder() -> Mapping[str, str]:
    """BuildKit passes over stages that are not needed; a client may lack it."""
    version = _output(["docker", "version", "--format", "{{.Client.Version}}"])
    embedded = int(version.split(".")[0] or 0) < 23
    buildx = (
        embedded
        or not subprocess.run(
            ["docker", "buildx", "version"], capture_output=True, check=False
        ).returncode
    )
    return {"DOCKER_BUILDKIT": "1" if buildx else "0"}


def root(image: Image) -> Path:
    """Where the files of an image are for those who have no engine."""
    return Cache().room("roots") / image.name.replace(":", "-")


def unpack(image: Image) -> Path:
    """Lay them there, from the image. Raises SkippedError and LabError."""
    build([image])
    into = root(image)
    fresh = into.with_name(f".{into.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    name = f"{into.name}-unpacked-{os.getpid()}"
    _run(["docker", "create", "--name", name, image.name], image.name)
    try:
        _run(["sh", "-ec", f"docker export {name} | tar -x -C '{fresh}'"], image.name)
    finally:
        _run(["docker", "rm", name], image.name)
    shutil.rmtree(into, ignore_errors=True)
    return fresh.rename(into)


def wheels(into: Path, suites: Sequence[str]) -> None:
    """Our wheel, made anew, and those of what it needs, unless they are there."""
    try:
        wheelhouse.fill(into, [wheelhouse.PYTHONS[suite] for suite in suites])
    except UnavailableError as error:
        raise SkippedError(str(error)) from error
    except BuildError as error:
        raise LabError(str(error)) from error


def have_source(release: str, into: Path) -> None:
    """The release's source as `vici-mif charon build` finds it."""
    if into.is_dir():
        return
    try:
        _, source = Charon().pick(Request(default_patches(), release))
    except UnavailableError as error:
        raise SkippedError(str(error)) from error
    except BuildError as error:
        raise LabError(str(error)) from error
    fresh = into.with_name(f".{into.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for file in filter(None, (source.tarball, source.debian)):
        shutil.copy(file, fresh)
    fresh.rename(into)


def _run(command: Sequence[str], what: str, extra: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(extra or {})}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode == os.EX_UNAVAILABLE:
        raise SkippedError(reason(done.stdout))
    if done.returncode and (line := outside(done.stdout)):
        raise SkippedError(f"{what}: {line}")
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-25:])
        raise LabError(f"{what}: `{' '.join(command[:3])} …` ended with {done.returncode}:\n{end}")


def reason(text: str) -> str:
    """Why a script of ours ended with `os.EX_UNAVAILABLE`: the last line that says "skipped: "."""
    told = [line for line in text.splitlines() if "skipped: " in line]
    return told[-1].partition("skipped: ")[2] if told else text.strip()


def outside(text: str) -> str:
    """The line by which a build says that something out there is gone or does not answer."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if any(word in line for word in _OUTSIDE)), "")


def _output(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError as error:
        raise SkippedError(f"no {command[0]} (scripts/packages rig)") from error
