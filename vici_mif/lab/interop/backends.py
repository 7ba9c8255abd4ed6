# SPDX-License-Identifier: Apache-2.0
"""Where an implementation runs: a container of its image, or a plain network namespace."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vici_mif.build.charon import Charon, Request, default_patches
from vici_mif.build.errors import BuildError
from vici_mif.lab.abilities import KERNEL_ESP, abilities
from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import images
from vici_mif.lab.interop.images import SkippedError
from vici_mif.lab.interop.implementations import Implementation, Role
from vici_mif.lab.lab import Setup
from vici_mif.lab.roots import FOREIGN, PATH
from vici_mif.lab.topology import CLIENT, GATEWAY

Check = Callable[[str, str], int]
"""Scenario and role -> what `endpoint check` answers."""
UNSUPPORTED = 127
"""What `endpoint check` answers where an image does not play."""
PREFIX = "org.vici-mif.prefix"

_PARTS = {("clones", "client"): True, ("clones", "gateway"): True, ("fallback", "client"): True,
          ("fallback", "gateway"): False, ("old-client", "client"): False,
          ("old-client", "gateway"): True, ("upgrade", "client"): True,
          ("upgrade", "gateway"): True}  # fmt: skip
"""Kind of scenario and role -> whether who plays it can clone."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An implementation that can run here."""

    prefix: Path
    """Of its strongSwan; in a container the one inside."""
    image: str = ""
    plays: frozenset[tuple[str, Role]] = field(default_factory=frozenset)
    """Scenarios and roles."""


def setup(client: Ready, gateway: Ready) -> Setup:
    """A lab in which these two meet, captured, with their keys."""
    named = {CLIENT: client.image, GATEWAY: gateway.image}
    own = {host: image for host, image in named.items() if image}
    return Setup(client.prefix, gateway.prefix, capture=True, keys=True, images=own)


def in_namespaces(wanted: Implementation, kinds: dict[str, str]) -> Ready:
    """A build of `vici-mif charon build`. Raises SkippedError, LabError."""
    if wanted.netns is None:
        raise SkippedError("it is a package or an image: only in containers")
    if wanted.netns.root:
        return _in_a_root(wanted, kinds)
    request = Request(default_patches(), wanted.netns.release, wanted.netns.stock)
    charon = Charon()
    try:
        prefix = charon.cache.prefix(charon.build(request))
    except BuildError as error:
        raise SkippedError(str(error)) from error
    plays = {
        (name, role)
        for name, kind in kinds.items()
        for role in wanted.roles
        if _PARTS[kind, role] is wanted.clones
    }
    return Ready(prefix, "", frozenset(plays))


def _in_a_root(wanted: Implementation, kinds: dict[str, str]) -> Ready:
    assert wanted.image is not None
    root = images.root(wanted.image)
    if not root.is_dir():
        raise SkippedError(
            f"the files of {wanted.image.name} are not in {root}: "
            "`python -m vici_mif.lab.interop unpack NAME`, by its name in implementations.json, "
            "lays them there"
        )

    def check(scenario: str, role: str) -> int:
        command = ["chroot", str(root), "endpoint", "check"]
        return subprocess.run(command, env=_asked(scenario, role), check=False).returncode

    return Ready(FOREIGN, str(root), _playing(wanted, kinds, check))


def in_containers(wanted: Implementation, kinds: dict[str, str]) -> Ready:
    """An image, built where it is not there. Raises SkippedError, LabError."""
    if wanted.image is None:
        raise SkippedError("it has no image: only in namespaces")
    images.build([wanted.image])
    # only here: the docker SDK is for those who have containers
    import docker

    engine = docker.from_env()
    name = wanted.image.name
    # without the label it is no strongSwan
    prefix = engine.images.get(name).labels.get(PREFIX, str(FOREIGN))
    with _held(engine, name) as container:

        def check(scenario: str, role: str) -> int:
            given = _asked(scenario, role)
            status: int = container.exec_run(["endpoint", "check"], environment=given).exit_code
            return status

        return Ready(Path(prefix), name, _playing(wanted, kinds, check))


def _playing(
    wanted: Implementation, kinds: dict[str, str], check: Check
) -> frozenset[tuple[str, Role]]:
    assert wanted.image is not None
    _distrust(check, wanted.image.name)
    pairs = itertools.product(kinds, wanted.roles)
    return frozenset(pair for pair in pairs if check(*pair) != UNSUPPORTED)


@contextlib.contextmanager
def _held(engine: Any, name: str) -> Iterator[Any]:
    options = {"network_mode": "none", "init": True, "auto_remove": True, "detach": True}
    container = engine.containers.run(name, ["hold"], **options)
    try:
        yield container
    finally:
        container.kill()


def _distrust(check: Check, name: str) -> None:
    """Who says yes to everything is asked nothing: a name that nobody can know."""
    strange = f"scenario-{secrets.token_hex(8)}"
    for role in ("client", "gateway"):
        status = check(strange, role)
        if status != UNSUPPORTED:
            raise LabError(
                f"{name} is not trusted: `endpoint check` answered {status}, "
                f"not {UNSUPPORTED}, to {strange} as {role}"
            )


def _asked(scenario: str, role: str) -> dict[str, str]:
    """The environment of `endpoint check`. Containers have this machine's kernel."""
    esp = "yes" if KERNEL_ESP in abilities() else "no"
    return {"PATH": PATH, "SCENARIO": scenario, "ROLE": role, "ESP": esp}
