# SPDX-License-Identifier: Apache-2.0
"""Who takes part: `docker/implementations.json`, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError

from vici_mif.core.wish.inline import Frozen
from vici_mif.lab.errors import LabError

Role = Literal["client", "gateway"]

ROLES: tuple[Role, ...] = ("client", "gateway")


class Image(Frozen):
    """How an implementation becomes a container."""

    name: str = Field(description="Of the image, with its tag.")
    suite: Literal["bookworm", "trixie"] = Field(description="Debian's, of the base image.")
    target: str = Field(description="The stage of docker/Dockerfile.")
    release: str = Field(default="", description="Of strongSwan; empty: the distribution's.")

    @property
    def base(self) -> str:
        """What the Dockerfile's BASE is."""
        return f"debian:{self.suite}-slim"


class Namespaced(Frozen):
    """The same without a container: a build of `vici-mif charon build`, or an image's files."""

    release: str = ""
    stock: bool = False
    root: bool = Field(default=False, description="The files of `image`, as `unpack` lays them.")


class Implementation(Frozen):
    """One row and column of the matrix."""

    title: str
    clones: bool = Field(default=False, description="Whether it knows RFC 7791.")
    replaces: str = Field(
        default="", description="The implementation that stood there before: it is upgraded to us."
    )
    roles: tuple[Role, ...] = ROLES
    image: Image | None = None
    netns: Namespaced | None = None
    limits: str = Field(
        default="", description="What its cells cannot prove without ESP in the kernel."
    )


_ALL = TypeAdapter(dict[str, Implementation])


def read(path: Path) -> Mapping[str, Implementation]:
    """All of a file, by name. Raises LabError with every mistake."""
    try:
        known = _ALL.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise LabError(f"{path}: {error}") from error
    for name, each in known.items():
        if each.replaces and each.replaces not in known:
            raise LabError(f"{path}: {name} replaces {each.replaces}, which is not there")
    return known


def chosen(known: Mapping[str, Implementation], names: str) -> Mapping[str, Implementation]:
    """Those of a list with commas; an empty one means all. Raises LabError for a strange name."""
    wanted = [name for name in names.split(",") if name]
    if strange := set(wanted) - set(known):
        raise LabError(f"no such implementation: {', '.join(strange)} (known: {', '.join(known)})")
    return {name: known[name] for name in wanted or known}
