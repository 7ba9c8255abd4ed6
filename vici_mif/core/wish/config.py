# SPDX-License-Identifier: Apache-2.0
"""The wish: YAML text to a frozen tree, or every mistake with its place.

A key whose feature does not exist yet is refused by name (LATER), not as unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from vici_mif.core.wish import budget, document, inline
from vici_mif.core.wish.daemon import DaemonConfig, Hooks
from vici_mif.core.wish.document import ConfigError, Document, Key, Problem, Source
from vici_mif.core.wish.gateway import GatewayConfig
from vici_mif.core.wish.inline import Frozen, InlineConnection
from vici_mif.core.wish.links import LinkMatch, Links
from vici_mif.core.wish.profile import PROFILES, ProbeConfig, Profile, ProfileName
from vici_mif.core.wish.values import (
    Delay,
    Dialled,
    Name,
    Prefix,
    not_empty,
    one_text,
)

__all__ = ["Config", "ConfigError", "ConnectionConfig", "Source", "parse", "schema"]


def _probe(value: object) -> object:
    return {"profile": value} if isinstance(value, str) else value


Names = Annotated[
    tuple[str, ...], BeforeValidator(one_text, json_schema_input_type=str | list[str])
]


class Remotes(Frozen):
    """The peer's addresses."""

    use: Annotated[
        tuple[Dialled, ...], BeforeValidator(one_text, json_schema_input_type=str | list[str])
    ] = Field(
        default=(),
        description="Addresses and names of the peer, best first, instead of the connection's "
        "remote_addrs.",
    )
    learn: tuple[Prefix, ...] = Field(
        default=(),
        description="Prefixes from which addresses that the peer announces become remotes, after "
        "those of use. Default: none.",
    )

    @field_validator("use", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        return not_empty(value)


class Pairs(Frozen):
    """Which link goes with which remote. Default: each with each."""

    one_to_one: bool = Field(
        default=False,
        description="The first entry of links with the first remote only, the second with the "
        "second, and so on.",
    )
    deny: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="Pairs that are never used nor tested: a link's name or pattern, and an "
        "address or name of the peer.",
    )


class ConnectionConfig(Frozen):
    """One peer: a connection that charon has, or an inline one, and our links."""

    links: Links = Field(description="Local interfaces, best first; patterns are allowed.")

    rank: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Among peers that protect the same the lowest that works carries. Equal "
        "ones are independent. Default: the place in the file, from 1.",
    )
    connection: InlineConnection | None = Field(
        default=None,
        description="The connection itself, in swanctl's terms, where charon has none.",
    )
    children: tuple[str, ...] = Field(
        default=(), description="Children to open on each tunnel. Default: all of the connection."
    )
    remotes: Remotes = Field(
        default=Remotes(),
        description="The peer's addresses. Default: the connection's remote_addrs.",
    )
    pairs: Pairs = Field(default=Pairs(), description="Which link goes with which remote.")
    tunnels: int | None = Field(
        default=None, ge=1, le=16, description="How many tunnels. Default: one per path, at most 4."
    )
    spares: int = Field(
        default=1,
        ge=0,
        le=4,
        description="Tunnels more, kept ready without a path of their own: a new link takes one.",
    )
    inner: Literal["auto", "per-path", "one"] = Field(
        default="auto",
        description="How inner traffic finds its tunnel. auto: per-path where the connection has "
        "virtual IPs, else one.",
    )
    hold_down: Delay = Field(
        default=5.0, description="How long a path must work again before its tunnel goes home."
    )
    mtu: int | None = Field(
        default=None,
        ge=576,
        le=65535,
        description="Bytes of an inner packet. Default: what fits on the smallest path.",
    )
    probe: Annotated[
        ProbeConfig, BeforeValidator(_probe, json_schema_input_type=ProfileName | ProbeConfig)
    ] = Field(default=ProbeConfig(), description="How the health of tunnels is found out.")
    without_clone: Literal["single", "authenticate", "refuse"] = Field(
        default="single",
        description="With a peer or a charon that cannot clone: one tunnel, one by each "
        "connection of `authenticate`, or none.",
    )
    authenticate: Names = Field(
        default=(),
        description="Where charon lacks the series, and without_clone is authenticate: its "
        "connections to this peer, one per path, each with local_addrs of its own.",
    )
    on_stop: Literal["keep", "close"] = Field(
        default="keep", description="What becomes of the tunnels when the controller is stopped."
    )

    def profile(self, link: str) -> Profile:
        """How closely a tunnel on this link is watched."""
        match = next((m for m in self.links if m.fits(link)), None)
        metered = match is not None and match.cost == "metered"
        default: ProfileName = "relaxed" if metered else self.probe.profile
        return PROFILES[(match.probe if match else None) or default]


class Config(Frozen):
    """The whole configuration: config.yaml and conf.d together."""

    version: Literal[1] = Field(description="The format's version.")
    connections: dict[Name, ConnectionConfig] = Field(
        default={}, description="By the name of the connection in charon."
    )
    gateway: GatewayConfig | None = Field(default=None, description="Peers that come to us.")
    daemon: DaemonConfig = DaemonConfig()

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.connections and self.gateway is None:
            raise PydanticCustomError("place", "expected connections, or a gateway")
        both = [n for n in (self.gateway.connections if self.gateway else ()) if self._has(n)]
        if both:
            text = f"{both[0]} is one of connections: there we begin, here the peers"
            raise PydanticCustomError("place", text, {"at": ("gateway", "connections")})
        return self

    def _has(self, connection: str) -> bool:
        return connection in self.connections

    @model_validator(mode="after")
    def _room(self) -> Self:
        tunnels = self.most_tunnels
        short = budget.surplus(self.daemon.tables, tunnels)
        if short is not None:
            needed = budget.wanted(tunnels.values())
            text = f"no routing tables are left for it: daemon.tables needs {needed}"
            raise PydanticCustomError("place", text, {"at": ("connections", short)})
        return self

    @model_validator(mode="after")
    def _used_once(self) -> Self:
        seen: dict[str, str] = {name: name for name in self.connections}
        for peer, wish in self.connections.items():
            at = {"at": ("connections", peer, "authenticate")}
            if wish.authenticate and wish.without_clone != "authenticate":
                raise PydanticCustomError("place", "wants `without_clone: authenticate`", at)
            for name in wish.authenticate:
                if seen.setdefault(name, peer) != peer:
                    raise PydanticCustomError("place", f"{name} belongs to {seen[name]}", at)
        return self

    @property
    def parts(self) -> dict[str, str]:
        """Connections that are driven as part of a peer of another name, and that peer."""
        peers = self.connections.items()
        return {name: peer for peer, wish in peers for name in wish.authenticate if name != peer}

    def driven(self, peers: Collection[str]) -> list[str]:
        """The connections that these peers have in charon: of their own names, and their parts."""
        return [*peers, *(part for part, peer in self.parts.items() if peer in peers)]

    @property
    def most_tunnels(self) -> dict[str, int]:
        """By peer, with spares."""
        peers = self.connections.items()
        return {
            name: (peer.tunnels or budget.DEFAULT_TUNNELS) + peer.spares for name, peer in peers
        }

    def rank(self, peer: str) -> int:
        """As configured, else its place in the file."""
        return self.connections[peer].rank or 1 + list(self.connections).index(peer)


MOST_SHOWN = 60
"""Characters of a value that an error repeats."""

LATER: frozenset[Key] = frozenset(
    {
        ("connections", "*", "policy"),
        ("connections", "*", "lan"),
        ("connections", "*", "links", "*", "name"),
        ("daemon", "mark_mask"),
    }
)
"""Keys of the full format that are not built yet."""

LATER_VALUES: Mapping[Key, frozenset[str]] = {
    ("connections", "*", "inner"): frozenset({"shared", "transport"}),
}

_C: Key = ("connections", "*", "connection")
MODELS: Mapping[Key, type[BaseModel]] = {
    (): Config,
    ("daemon",): DaemonConfig,
    ("gateway",): GatewayConfig,
    ("daemon", "hooks"): Hooks,
    ("connections", "*"): ConnectionConfig,
    ("connections", "*", "links", "*"): LinkMatch,
    ("connections", "*", "remotes"): Remotes,
    ("connections", "*", "pairs"): Pairs,
    ("connections", "*", "probe"): ProbeConfig,
    _C: InlineConnection,
    **{(*_C, f"{side}{n}"): inline.Auth for side in ("local", "remote") for n in ("", "-1", "-2")},
    (*_C, "children", "*"): inline.InlineChild,
    (*_C, "secrets", "*"): inline.SecretEntry,
    (*_C, "secrets", "*", "secret"): inline.SecretSource,
}
"""Which keys are known where."""

ANY_NAME: frozenset[Key] = frozenset(
    {("connections",), ("connections", "*", "links"), (*_C, "children"), (*_C, "secrets")}
)
"""Places whose keys are names or numbers of the operator's."""


def parse(sources: Iterable[Source]) -> Config:
    """config.yaml first, then conf.d in order. Raises ConfigError with every problem."""
    read = document.read(sources)
    try:
        return Config.model_validate(read.data)
    except ValidationError as error:
        raise ConfigError(
            problem(read, details) for details in error.errors(include_url=False)
        ) from None


def schema() -> dict[str, Any]:
    """The JSON Schema of a whole configuration, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "vici-mif configuration",
    }


def pattern(key: Key) -> Key:
    """The key with each name of the operator's replaced by `*`."""
    out: Key = ()
    for part in key:
        out = (*out, "*" if out in ANY_NAME else part)
    return out


def problem(read: Document, details: ErrorDetails) -> Problem:
    """One error of pydantic, at its place in the text."""
    context = details.get("ctx", {})
    at = [part for part in details["loc"] if part != "[key]"]
    key: Key = (*at, *context.get("at", ()))
    of_key = details["type"] == "extra_forbidden" or "[key]" in details["loc"] or "at" in context
    return Problem(read.place(key, of_key=of_key), document.dotted(key), _text(key, details))


def _text(key: Key, details: ErrorDetails) -> str:
    match details["type"]:
        case "extra_forbidden":
            return _unknown(key)
        case "missing":
            return "missing"
        case "literal_error" if details["input"] in LATER_VALUES.get(pattern(key), ()):
            return f"`{details['input']}` comes in a later version; {_expected(details)}"
        case "place":
            return details["msg"]
        case "model_type" | "dict_type":
            return "expected keys and values"
    return _expected(details) + _found(key, details["input"])


def _unknown(key: Key) -> str:
    shape = pattern(key)
    if shape in LATER:
        return "comes in a later version"
    model = MODELS.get(shape[:-1])
    near = document.nearest(str(key[-1]), _names(model)) if model else None
    if near:
        return f"unknown key; nearest known: {near}"
    home = _home(str(key[-1]))
    return f"unknown key here; it belongs below {home}" if home else "unknown key"


def _home(name: str) -> str:
    """Where a key is known that stands elsewhere."""
    found = (at for at, model in MODELS.items() if 0 < len(at) <= 2 and name in _names(model))
    return document.dotted(next(found, ())).replace("*", "NAME")


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _expected(details: ErrorDetails) -> str:
    said = details["msg"].replace("Input should be", "expected").replace("Value error, ", "")
    return said.replace("a valid tuple", "a list")


def _found(key: Key, value: object) -> str:
    """Nothing near a secret is repeated."""
    if "secrets" in key:
        return ", found (hidden)"
    if not isinstance(value, str | int | float | bool):
        return ""
    shown = repr(value)
    return f", found {shown if len(shown) <= MOST_SHOWN else shown[:MOST_SHOWN] + '…'}"
