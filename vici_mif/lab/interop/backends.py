# SPDX-License-Identifier: Apache-2.0
"""Where an implementation runs: a container of its image, or a plain network namespace."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vici_mif.build.charon import Charon, Request, default_patches
from vici_mif.build.errors import BuildError
from vici_mif.lab.errors import LabError
from vici_mif.lab.interop import images
from vici_mif.lab.interop.images import SkippedError
from vici_mif.lab.interop.implementations import Implementation, Role
from vici_mif.lab.lab import Setup
from vici_mif.lab.topology import CLIENT, GATEWAY

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


def in_containers(wanted: Implementation, kinds: dict[str, str]) -> Ready:
    """An image, built where it is not there. Raises SkippedError, LabError."""
    if wanted.image is None:
        raise SkippedError("it has no image: only in namespaces")
    images.build([wanted.image])
    # only here: the docker SDK is for those who have containers
    import docker

    from vici_mif.lab.containers import FOREIGN

    engine = docker.from_env()
    name = wanted.image.name
    # without the label it is no strongSwan
    prefix = engine.images.get(name).labels.get(PREFIX, str(FOREIGN))
    with _held(engine, name) as container:
        _distrust(container, name)
        plays = {
            (scenario, role)
            for scenario in kinds
            for role in wanted.roles
            if _check(container, scenario, role) != UNSUPPORTED
        }
    return Ready(Path(prefix), name, frozenset(plays))


@contextlib.contextmanager
def _held(engine: Any, name: str) -> Iterator[Any]:
    options = {"network_mode": "none", "init": True, "auto_remove": True, "detach": True}
    container = engine.containers.run(name, ["hold"], **options)
    try:
        yield container
    finally:
        container.kill()


def _distrust(container: Any, name: str) -> None:
    """Who says yes to everything is asked nothing: a name that nobody can know."""
    strange = f"scenario-{secrets.token_hex(8)}"
    for role in ("client", "gateway"):
        status = _check(container, strange, role)
        if status != UNSUPPORTED:
            raise LabError(
                f"{name} is not trusted: `endpoint check` answered {status}, "
                f"not {UNSUPPORTED}, to {strange} as {role}"
            )


def _check(container: Any, scenario: str, role: str) -> int:
    given = {"SCENARIO": scenario, "ROLE": role}
    status: int = container.exec_run(["endpoint", "check"], environment=given).exit_code
    return status
