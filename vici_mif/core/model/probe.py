# SPDX-License-Identifier: Apache-2.0
"""The nouns of health: what is watched inside a tunnel, and what may be found there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vici_mif.core.model.address import IPAddress
from vici_mif.core.model.link import PathName


class Verdict(StrEnum):
    """What the echoes inside one tunnel say of the path it is on."""

    NEW = "new"
    """Nothing is known yet."""
    GOOD = "good"
    POOR = "poor"
    """It works, and loses or delays more than the operator allows."""
    SILENT = "silent"
    """It answered and does not answer any more."""
    UNSURE = "unsure"
    """Nothing answers, and that may be the targets' fault: IKE has to decide."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold: trouble from `worst` on, over once it is `recovery` or less."""

    worst: float
    recovery: float


@dataclass(frozen=True, slots=True)
class Echo:
    """Echo requests inside a tunnel, from one of its inner addresses to a host behind the peer."""

    source: IPAddress
    target: IPAddress
    outer_bytes: int
    """Bytes of one such packet on the link, with the headers of ESP, UDP and the outer IP."""


@dataclass(frozen=True, slots=True)
class ProbeWish:
    """One tunnel whose health is watched from inside, on the path where it is."""

    peer: str
    path: PathName
    serial: int
    """Another one each time the tunnel comes to a path: measuring begins anew."""
    echoes: tuple[Echo, ...]
    """All must fail before the path has failed."""
    interval_delay: float
    """Seconds between two requests to one target."""
    multiplier: int
    """How many in a row must stay without an answer."""
    loss: Limit | None = None
    """Of all requests of the last while, 0 to 1; None: loss alone is no trouble."""
    delay: Limit | None = None
    """Seconds there and back, smoothed; None: delay alone is no trouble."""
