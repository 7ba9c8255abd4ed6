# SPDX-License-Identifier: Apache-2.0
"""What a peer has laid in the kernel, as far as it holds without tunnels and charon."""

from __future__ import annotations

from dataclasses import dataclass

from vici_mif.core.model.address import IPNetwork, Slot
from vici_mif.core.model.kernel import GuardWish


@dataclass(frozen=True, slots=True)
class Footprint:
    """One peer's part. No secret is in it, and no address of a link as a source."""

    peer: str
    per_path: bool
    """Inner sources are led by rules of ours, and guarded as well; else the guard is all."""
    kernel_esp: bool = True
    slots: tuple[Slot, ...] = ()
    """Inner addresses that were given last."""
    remotes: tuple[IPNetwork, ...] = ()
    """What lies behind the peer."""
    bare: frozenset[int] = frozenset()
    """Slots that no rule of ours leads."""
    guard: GuardWish | None = None
    """Of what no rule of ours leads."""

    @property
    def is_empty(self) -> bool:
        """Nothing of ours is laid for it."""
        return not self.per_path and self.guard is None
