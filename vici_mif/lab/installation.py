# SPDX-License-Identifier: Apache-2.0
"""A strongSwan installation that a lab's host runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vici_mif.lab.errors import LabError

VARIABLE, STOCK_VARIABLE = "VICI_MIF_CHARON", "VICI_MIF_STOCK_CHARON"
_PLACES = ("libexec/ipsec/charon", "lib/ipsec/charon", "lib/strongswan/charon")


@dataclass(frozen=True, slots=True)
class Installation:
    """A strongSwan below a prefix."""

    prefix: Path
    root: Path = Path("/")
    """Where the file system is seen in which the prefix lies: a container has its own."""

    @property
    def charon(self) -> Path:
        """The daemon, by the name that it has in its own file system. Raises LabError."""
        for place in _PLACES:
            if (self._seen / place).is_file():
                return self.prefix / place
        raise LabError(
            f"there is no charon below {self.prefix}: `vici-mif charon build` makes one, "
            "--charon PREFIX names another"
        )

    @property
    def _seen(self) -> Path:
        return self.root / self.prefix.relative_to("/") if self.root != Path("/") else self.prefix

    @property
    def plugins(self) -> frozenset[str]:
        found = (self._seen / "lib/ipsec/plugins").glob("libstrongswan-*.so")
        return frozenset(path.stem.removeprefix("libstrongswan-") for path in found)

    def demand(self, *names: str) -> None:
        missing = sorted(set(names) - self.plugins)
        if missing:
            raise LabError(f"the charon below {self.prefix} lacks the plugins {', '.join(missing)}")


def default_prefix() -> Path:
    """The prefix named in the environment, else where `vici-mif charon build` put ours."""
    return _prefix(VARIABLE, stock=False)


def stock_prefix() -> Path:
    """The same for a charon without the series."""
    return _prefix(STOCK_VARIABLE, stock=True)


def _prefix(variable: str, stock: bool) -> Path:
    named = os.environ.get(variable, "")
    if named:
        return Path(named)
    # only here: it loads much that no other command of the lab needs
    from vici_mif.build.charon import Charon, Request, default_patches
    from vici_mif.build.errors import BuildError

    try:
        return Charon().path(Request(default_patches(), stock=stock))
    except BuildError as error:
        raise LabError(f"{error} (or name another one: {variable}=PREFIX)") from error
