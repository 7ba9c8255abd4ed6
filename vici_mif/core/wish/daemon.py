# SPDX-License-Identifier: Apache-2.0
"""What the operator wrote of the controller itself: `daemon:`."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from vici_mif.core.wish.inline import Frozen
from vici_mif.core.wish.values import AbsolutePath, Command, Directory, Listen, Range


class Hooks(Frozen):
    """The operator's own commands."""

    on_path_change: Command | None = Field(
        default=None, description="Run when a path has another state. No shell runs it."
    )


class DaemonConfig(Frozen):
    """The controller itself."""

    vici: AbsolutePath = Field(default="/run/charon.vici", description="charon's VICI socket.")
    group: str = Field(default="vici-mif", description="Members of this group may read the status.")
    tables: Range = Field(
        default=(7791, 7890), description="Routing tables that are ours, at least 64."
    )
    rules: Range = Field(
        default=(150, 169), description="Rule preferences that are ours, below 220."
    )
    run_dir: AbsolutePath = Field(
        default="/run/vici-mif", description="Where the control sockets stand."
    )
    state_dir: AbsolutePath = Field(
        default="/var/lib/vici-mif", description="Where orders.json and footprints.json stand."
    )
    journal: Directory = Field(
        default="/var/log/vici-mif",
        min_length=1,
        description="Directory of the journal, ten files of 10 MB; `off`: none is kept.",
    )
    metrics: Listen | None = Field(
        default=None,
        description="Where Prometheus asks: HOST:PORT or a unix socket's path. Default: nowhere.",
    )
    hooks: Hooks = Field(default=Hooks(), description="The operator's own commands.")

    @field_validator("tables")
    @classmethod
    def _tables(cls, value: tuple[int, int]) -> tuple[int, int]:
        low, high = value
        special = low <= 255 <= high or low <= 220 <= high
        if high - low + 1 < 64 or low <= 0 or special or high >= 2**32:
            raise PydanticCustomError(
                "place", "expected at least 64 tables that leave out 220 and 253 to 255"
            )
        return value

    @field_validator("rules")
    @classmethod
    def _rules(cls, value: tuple[int, int]) -> tuple[int, int]:
        low, high = value
        # charon's own rule has preference 220 and must come after ours
        if not (low > 0 and high < 220 and high - low + 1 >= 12):
            raise PydanticCustomError("place", "expected at least 12 preferences from 1 to 219")
        return value
