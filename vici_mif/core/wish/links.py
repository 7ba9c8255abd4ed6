# SPDX-License-Identifier: Apache-2.0
"""Which local interfaces a peer uses: the key `links` of a connection."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from vici_mif.core.wish.inline import Frozen
from vici_mif.core.wish.profile import ProfileName
from vici_mif.core.wish.values import LinkName, not_empty


def _link(value: object) -> object:
    return {"match": value} if isinstance(value, str) else value


class LinkMatch(Frozen):
    """Which local interfaces to use. Order is rank: first is best."""

    match: LinkName = Field(min_length=1, description="An interface's name or a pattern: `wwan*`.")
    cost: Literal["free", "metered"] = Field(
        default="free", description="metered: every byte costs, so its tunnels are watched rarely."
    )
    probe: ProfileName | None = Field(
        default=None,
        description="How closely tunnels on this link are watched. Default: relaxed where "
        "metered, else the connection's profile.",
    )

    def fits(self, name: str) -> bool:
        return fnmatchcase(name, self.match)

    @property
    def exact(self) -> bool:
        """A name, not a pattern: its path exists even while the link does not."""
        return not any(c in self.match for c in "*?[")


def _each_fits(links: tuple[LinkMatch, ...]) -> tuple[LinkMatch, ...]:
    """The first that fits an interface counts: another word behind it would say nothing."""
    for number, link in enumerate(links):
        hides = next((x.match for x in links[:number] if _hides(x, link)), None)
        if hides is not None:
            text = f"says nothing: `{hides}` stands before it, fits the same, and counts"
            raise PydanticCustomError("place", text, {"at": (number,)})
    return links


def _hides(before: LinkMatch, link: LinkMatch) -> bool:
    """A name behind a pattern still has its paths while the interface is away."""
    same = (before.cost, before.probe) == (link.cost, link.probe)
    return before.match == link.match or (link.exact and not same and before.fits(link.match))


Links = Annotated[
    tuple[
        Annotated[LinkMatch, BeforeValidator(_link, json_schema_input_type=str | LinkMatch)],
        ...,
    ],
    BeforeValidator(not_empty),
    AfterValidator(_each_fits),
]
"""Best first."""
