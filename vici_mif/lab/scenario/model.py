# SPDX-License-Identifier: Apache-2.0
"""A scenario file: YAML text to frozen data, or every mistake with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from vici_mif.core.status import PeerState
from vici_mif.core.wish import config, document
from vici_mif.core.wish.config import Config
from vici_mif.core.wish.document import ConfigError, Document, Key, Place, Problem, Source
from vici_mif.core.wish.inline import Frozen
from vici_mif.core.wish.values import Delay
from vici_mif.lab.evidence.ikev2 import Exchange, N
from vici_mif.lab.scenario import words
from vici_mif.lab.topology import Auth, Profile, Wish


@dataclass(frozen=True, slots=True)
class Bound:
    """How many: `3`, `<= 8`, `>= 1`."""

    low: int
    high: int | None

    def __str__(self) -> str:
        if self.high is None:
            return f">= {self.low}"
        return str(self.low) if self.low == self.high else f"<= {self.high}"

    def holds(self, number: int) -> bool:
        return self.low <= number and (self.high is None or number <= self.high)


def _bound(value: object) -> object:
    match = re.fullmatch(r"(<=|>=)?\s*(\d+)", str(value).strip())
    if match is None or isinstance(value, bool):
        raise PydanticCustomError("place", "expected a number, or one such as `<= 8`")
    number = int(match[2])
    return Bound(low=0 if match[1] == "<=" else number, high=None if match[1] == ">=" else number)


def _commands(value: object) -> object:
    lines = value if isinstance(value, list) else [value]
    found = []
    for at, line in enumerate(lines):
        try:
            found.append(words.parse(str(line)))
        except ValueError as error:
            inside = {"at": str(at)} if isinstance(value, list) else {}
            raise PydanticCustomError("place", "{text}", {"text": str(error), **inside}) from None
    return tuple(found)


_COUNT = {"type": ["integer", "string"], "pattern": "^((<=|>=) *)?[0-9]+$"}
Count = Annotated[Any, BeforeValidator(_bound), WithJsonSchema(_COUNT)]
_LINES = {"type": ["string", "array"], "items": {"type": "string"}}
Commands = Annotated[Any, BeforeValidator(_commands), WithJsonSchema(_LINES)]
Change = Literal["unchanged", "changed"]
ProbeWord = Literal["inner", "ike", "passive"]
PathWord = Literal["active", "ready", "idle", "testing", "failed", "drained", "denied"]


class Topology(Frozen):
    """What there is: the lab's plan (docs/lab.md), and who runs which charon."""

    mode: Literal["road-warrior", "site"] = "road-warrior"
    uplinks: int = Field(default=3, ge=1, le=8, description="eth0, wlan0, wwan0, wwan1 ...")
    remotes: int = Field(default=1, ge=1, le=4, description="Addresses of the gateway.")
    gateways: int = Field(default=1, ge=1, le=2, description="The second is called backup.")
    absent: tuple[str, ...] = Field(
        default=(), description="Uplinks that are not there at the beginning."
    )
    ipv6: bool = Field(default=False, description="IPv6 beside IPv4, outside and inside.")
    outer: Literal[4, 6] = Field(default=4, description="The family that IKE and ESP use.")
    full: bool = Field(default=False, description="The far side is everything.")
    auth: Literal["psk", "cert", "eap"] = "psk"
    max_clones: int = 8
    client: Literal["patched", "stock"] = Field(default="patched", description="Its charon.")
    gateway: Literal["patched", "stock"] = Field(default="patched", description="Its charon.")
    nat: tuple[str, ...] = Field(default=(), description="Uplinks behind a NAT.")
    one_nat: bool = Field(
        default=False, description="All of them behind the same address, instead of one each."
    )
    controller: bool = Field(default=True, description="Whether the client has ours at all.")

    def wish(self, name: str) -> Wish:
        """As the lab calls it. Raises LabError."""
        return Wish(
            name=name,
            uplinks=self.uplinks,
            remotes=self.remotes,
            gateways=self.gateways,
            profile=Profile.SITE if self.mode == "site" else Profile.ROADWARRIOR,
            auth=Auth(self.auth),
            ipv6=self.ipv6,
            outer=self.outer,
            full=self.full,
            max_clones=self.max_clones,
            nat=self.nat,
            one_nat=self.one_nat,
        )


class Expect(Frozen):
    """What must be so. Each key is one claim; all hold at the same moment."""

    of: str = Field(default="", description="The peer that is meant; default: the first.")
    peer: PeerState | None = Field(default=None, description="Its state.")
    mode: str | None = Field(default=None, description="As `status` names it.")
    why: str | None = Field(default=None, description="Words that stand in the peer's `why`.")
    seats: Mapping[str, str] | None = Field(
        default=None,
        description="Home: where its tunnel is and has children; a link stands for its path. "
        "`nowhere`: no tunnel has this home.",
    )
    over: tuple[str, ...] | None = Field(
        default=None, description="The links or paths on which tunnels with children are."
    )
    tunnels: Count | None = Field(
        default=None, description="How many tunnels at home or parked have children."
    )
    spares: Count | None = Field(default=None, description="How many tunnels have no home.")
    authentications: Count | None = Field(default=None, description="Since the controller began.")
    clones: Count | None = Field(default=None, description="Since the controller began.")
    moves: Count | None = Field(default=None, description="Moves since `remember`.")
    paths: Mapping[str, PathWord] | None = Field(
        default=None, description="State of paths; a link stands for its path."
    )
    probe: Mapping[str, ProbeWord] | None = Field(
        default=None, description="What tells of paths; a link stands for its path."
    )
    links: tuple[str, ...] | None = Field(
        default=None, description="The links that have a path, exactly these."
    )
    mtu: Count | None = Field(
        default=None, description="Bytes of an inner packet that fit on every path."
    )
    spis: Change | None = Field(
        default=None, description="Unique ids and SPIs since `remember`, but spares."
    )
    inner: Change | None = Field(default=None, description="Inner addresses since `remember`.")
    family: Change | None = Field(default=None, description="The family since `remember`.")
    traffic: Mapping[str, str] | None = Field(
        default=None,
        description="Home: the link over which its payload reaches the far side now.",
    )
    silence: Delay | None = Field(
        default=None, description="No stream was silent for longer since `remember`."
    )
    lost: Count | None = Field(
        default=None, description="Datagrams sent since `remember` that came to nobody."
    )
    reordered: Count | None = Field(
        default=None, description="Datagrams since `remember` that came after a later one."
    )
    tcp: Literal["lives"] | None = Field(
        default=None, description="Every connection of `traffic start` has lost nothing."
    )
    reached: Literal["yes", "no"] | None = Field(
        default=None, description="Whether the far side answers who sends from the near side."
    )
    sas: Count | None = Field(default=None, description="IKE SAs that the client has.")
    gateway_sas: Count | None = Field(default=None, description="IKE SAs that the gateway has.")
    pins: Count | None = Field(default=None, description="IKE SAs that are pinned.")
    left: Literal["nothing", "something"] | None = Field(
        default=None, description="Rules, routes, tables and interfaces of ours in the kernel."
    )
    controller: Literal["running", "gone"] | None = Field(default=None, description="running, gone")


class Step(Frozen):
    """One of: do, expect, wait, repeat."""

    do: Commands | None = Field(default=None, description="One line, or several at once.")
    expect: Expect | None = None
    within: Delay = Field(default=20.0, description="How soon all of `expect` must hold.")
    throughout: Delay | None = Field(
        default=None, description="`expect` holds now and must go on holding so long."
    )
    wait: Delay | None = None
    repeat: Repeat | None = None

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        kinds = {"do", "expect", "wait", "repeat"}
        if isinstance(value, dict) and len(kinds & value.keys()) != 1:
            raise PydanticCustomError("place", "expected one of do, expect, wait, repeat")
        return value

    def commands(self) -> Iterator[words.Command]:
        yield from self.do or ()
        for step in self.repeat.steps if self.repeat else ():
            yield from step.commands()

    def expected(self) -> Iterator[Expect]:
        if self.expect is not None:
            yield self.expect
        for step in self.repeat.steps if self.repeat else ():
            yield from step.expected()


class Repeat(Frozen):
    """Steps that are done again and again, at even intervals."""

    times: int = Field(ge=1, le=10_000)
    every: Delay = Field(description="From one beginning to the next.")
    steps: tuple[Step, ...]


class WireClaim(Frozen):
    """How often something stands in the messages between client and gateway, in clear again."""

    exchange: Literal["IKE_SA_INIT", "IKE_AUTH", "CREATE_CHILD_SA", "INFORMATIONAL"] | None = None
    notify: str = Field(default="", description="Only messages with it, by its name in the RFC.")
    by: Literal["client", "gateway"] | None = Field(default=None, description="Who sends it.")
    kind: Literal["request", "response"] | None = None
    times: Count | None = Field(default=None, description="How many messages; again is not one.")
    sequence: tuple[str, ...] = Field(
        default=(),
        description="Instead: some IKE SA has requests with these exchanges or notifies, so.",
    )

    @model_validator(mode="after")
    def _known(self) -> WireClaim:
        names = {*N.__members__, *Exchange.__members__}
        if strange := {self.notify, *self.sequence} - names - {""}:
            raise PydanticCustomError("place", "unknown: {names}", {"names": ", ".join(strange)})
        if bool(self.sequence) is (self.times is not None):
            raise PydanticCustomError("place", "expected one of times, sequence")
        return self


class Story(Frozen):
    """The whole file."""

    scenario: str = Field(min_length=1, description="One sentence: what it shows.")
    needs: tuple[str, ...] = Field(
        default=(), description="What a real stage's machine must have: `kernel-esp`, `vlan` ..."
    )
    lab: Literal["test", "full"] = Field(
        default="full",
        description="Which run plays it with real charons: `make test`, `make full`.",
    )
    rig: Literal["clones", "fallback", "old-client", "upgrade"] | None = Field(
        default=None, description="Its part in the rig's matrix: what client and gateway can."
    )
    wire: tuple[WireClaim, ...] = Field(
        default=(), description="What must stand in the decrypted capture, where keys are kept."
    )
    topology: Topology = Topology()
    connections: Mapping[str, Any] = Field(
        default={"hq": {"links": ["eth0", "wlan0", "wwan0"]}},
        description="As in the controller's configuration.",
    )
    daemon: Mapping[str, Any] = Field(
        default={}, description="As in the controller's configuration."
    )
    steps: tuple[Step, ...]

    @field_validator("steps")
    @classmethod
    def _expects(cls, value: tuple[Step, ...]) -> tuple[Step, ...]:
        if not any(True for step in value for _ in step.expected()):
            raise PydanticCustomError("place", "nothing is expected: such a scenario cannot fail")
        return value


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that was read, with the places of its steps."""

    name: str
    """Of its file, without the ending."""
    story: Story
    places: Mapping[Key, Place]

    @property
    def configuration(self) -> dict[str, Any]:
        """What the controller gets, without the places of its files."""
        return {
            "version": 1,
            "connections": self.story.connections,
            "daemon": dict(self.story.daemon),
        }

    @property
    def needs(self) -> frozenset[str]:
        """What a real stage's machine must have, by its own word and by its commands."""
        top = self.story.topology
        own = {"patched"} if "patched" in (top.client, top.gateway) else set()
        own |= {"stock"} if "stock" in (top.client, top.gateway) else set()
        own |= {"nat"} if top.nat else set()
        found = (command.word.needs for command in self.commands())
        return frozenset(self.story.needs).union(own, *found)

    def commands(self) -> Iterator[words.Command]:
        for step in self.story.steps:
            yield from step.commands()

    def expected(self) -> Iterator[Expect]:
        for step in self.story.steps:
            yield from step.expected()


def parse(name: str, source: Source) -> Scenario:
    """One file. Raises ConfigError with every problem, each with its place."""
    read = document.read([source])
    problems = list(_configuration_problems(read))
    try:
        story = Story.model_validate(read.data)
    except ValidationError as error:
        problems += [_problem(read, details) for details in error.errors(include_url=False)]
    if problems:
        raise ConfigError(problems)
    return Scenario(name, story, read.values)


def schema() -> dict[str, Any]:
    """The JSON Schema of a scenario, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Story.model_json_schema(),
        "title": "vici-mif scenario",
    }


def _configuration_problems(read: Document) -> Iterator[Problem]:
    """The configuration inside is one: the controller's own reader judges it."""
    own = {key: read.data[key] for key in ("connections", "daemon") if key in read.data}
    if "connections" not in own:
        own["connections"] = Story.model_fields["connections"].default
    try:
        Config.model_validate({"version": 1, **own})
    except ValidationError as error:
        yield from (config.problem(read, details) for details in error.errors(include_url=False))


_KNOWN: Mapping[str, type[Frozen]] = {"topology": Topology, "expect": Expect, "repeat": Repeat}


def _problem(read: Document, details: ErrorDetails) -> Problem:
    context = details.get("ctx", {})
    at = tuple(part for part in details["loc"] if part != "[key]")
    key: Key = (*at, int(context["at"])) if "at" in context else at
    of_key = details["type"] == "extra_forbidden"
    return Problem(read.place(key, of_key=of_key), document.dotted(key), _text(key, details))


def _text(key: Key, details: ErrorDetails) -> str:
    if details["type"] == "extra_forbidden":
        around = next((_KNOWN[str(k)] for k in reversed(key[:-1]) if k in _KNOWN), None)
        names = (around or (Step if len(key) > 1 else Story)).model_fields
        near = document.nearest(str(key[-1]), names)
        return f"unknown key; nearest known: {near}" if near else "unknown key"
    if details["type"] == "missing":
        return "missing"
    said = details["msg"].replace("Input should be", "expected")
    shown = details["input"]
    plain = isinstance(shown, str | int | float | bool) and details["type"] != "place"
    return f"{said}, found {shown!r}" if plain else said
