# SPDX-License-Identifier: Apache-2.0
"""How closely tunnels are watched: the key `probe` of a connection."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, IPvAnyAddress, model_validator
from pydantic_core import PydanticCustomError

from vici_mif.core.model import IPAddress, Limit
from vici_mif.core.wish.inline import Frozen
from vici_mif.core.wish.values import Delay, Share

ProfileName = Literal["fast", "normal", "relaxed"]


class Profile(NamedTuple):
    """What a profile's name stands for."""

    interval_delay: float
    """Seconds between two echo requests."""
    multiplier: int
    """Answers in a row that must be missing."""
    ike_delay: float
    """Seconds between two looks where IKE has to tell."""


PROFILES: dict[ProfileName, Profile] = {
    "fast": Profile(0.05, 3, 1.0),
    "normal": Profile(0.1, 3, 3.0),
    "relaxed": Profile(5.0, 3, 30.0),
}


def _target(value: object) -> object:
    try:
        address = ip_address(str(value))
    except ValueError:
        raise PydanticCustomError("place", "expected an address behind the peer") from None
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        raise PydanticCustomError("place", "expected an address of one host behind the peer")
    return address


class ProbeConfig(Frozen):
    """How the health of tunnels is found out."""

    profile: ProfileName = Field(
        default="normal",
        description="How often, and how many answers in a row must be missing: fast 50 ms x 3, "
        "normal 100 ms x 3, relaxed 5 s x 3.",
    )
    targets: tuple[Annotated[IPvAnyAddress, BeforeValidator(_target)], ...] = Field(
        default=(),
        max_length=4,
        description="Addresses behind the peer that answer pings. Without any IKE has to tell.",
    )
    loss: Share | None = Field(
        default=None, description="From this loss on another path is better."
    )
    loss_recovery: Share | None = Field(
        default=None, description="With this loss or less it is good again. Default: half."
    )
    delay: Delay | None = Field(
        default=None, description="From this round trip time on another path is better."
    )
    delay_recovery: Delay | None = Field(
        default=None, description="With this or less it is good again. Default: three quarters."
    )

    @model_validator(mode="after")
    def _below(self) -> Self:
        for key in ("loss", "delay"):
            worst, recovery = getattr(self, key), getattr(self, f"{key}_recovery")
            if recovery is not None and (worst is None or recovery > worst):
                raise PydanticCustomError(
                    "place", "expected no more than `" + key + "`", {"at": (f"{key}_recovery",)}
                )
        return self

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """The targets."""
        return tuple(dict.fromkeys(ip_address(str(target)) for target in self.targets))

    @property
    def loss_limit(self) -> Limit | None:
        return _limit(self.loss, self.loss_recovery, 1 / 2)

    @property
    def delay_limit(self) -> Limit | None:
        return _limit(self.delay, self.delay_recovery, 3 / 4)


def _limit(worst: float | None, recovery: float | None, share: float) -> Limit | None:
    if worst is None:
        return None
    return Limit(worst, worst * share if recovery is None else recovery)
