# SPDX-License-Identifier: Apache-2.0
"""YAML text as plain data that remembers where each key and value stood.

PyYAML accepts a key twice and forgets the places once the data is built, so the node tree is
walked here: `yaml.compose` keeps the marks.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

import yaml

Key = tuple[str | int, ...]
Data = dict[str, "Data"] | list["Data"] | str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Source:
    """One configuration file, already read."""

    name: str
    """As the operator named it; error messages begin with it."""
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file, counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration."""

    place: Place
    key: str
    """Dotted: `connections.hq.links.0.match`; empty where the text itself is broken."""
    text: str

    def __str__(self) -> str:
        return (
            f"{self.place}: {self.key}: {self.text}" if self.key else f"{self.place}: {self.text}"
        )


class ConfigError(Exception):
    """The operator's mistake: every problem found, in the order of the text."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(
            sorted(problems, key=lambda p: (p.place.file, p.place.line, p.place.column))
        )
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Document:
    """Data of all files together, with the place of each key and each value."""

    data: dict[str, Data] = field(default_factory=dict)
    keys: dict[Key, Place] = field(default_factory=dict)
    values: dict[Key, Place] = field(default_factory=dict)

    def place(self, key: Key, *, of_key: bool = False) -> Place:
        """Where `key` stands, or the nearest thing around it that stands in the text."""
        if of_key and key in self.keys:
            return self.keys[key]
        while key and key not in self.values:
            key = key[:-1]
        return self.values[key]


def dotted(key: Key) -> str:
    return ".".join(map(str, key))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name most like `word`."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def read(sources: Iterable[Source]) -> Document:
    """All files as one document. Later files add; what two files set is a mistake."""
    document = Document()
    reader = _Reader(document)
    for source in sources:
        reader.file(source)
    if reader.problems:
        raise ConfigError(reader.problems)
    return document


MERGED = {(), ("connections",), ("daemon",)}
"""Mappings that may be spread over several files."""

SAME_EVERYWHERE = {("version",)}
"""Keys that each file may repeat."""

MOST_DEEP = 32
"""Mappings and lists inside of each other; ours need ten."""

MOST_VALUES = 50_000
"""Of all files together. An alias counts as often as it is used: a few lines can name billions."""

ODD = (yaml.YAMLError, ValueError, LookupError, AttributeError)
"""What PyYAML's constructors raise for a tag that its value does not fit."""


TOO_DEEP = "nested too deeply"
CONTROLS = "a control character, or another one that cannot be shown"


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []
        self._left = MOST_VALUES

    def file(self, source: Source) -> None:
        root = self._compose(source)
        if root is None:
            return
        self.document.values.setdefault((), _place(source.name, root))
        if not isinstance(root, yaml.MappingNode):
            self._problem(_place(source.name, root), (), "expected keys and values (`version: 1`)")
            return
        self._mapping(source.name, root, (), self.document.data)

    def _compose(self, source: Source) -> yaml.Node | None:
        start = Place(source.name, 1, 1)
        self.document.values.setdefault((), start)
        try:
            return yaml.compose(source.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(source.name, mark.line + 1, mark.column + 1) if mark else start
            said = " ".join(filter(None, [error.context, error.problem]))
            self._problem(place, (), f"this is not YAML: {said}")
        except yaml.reader.ReaderError as error:
            place = _position(source, error.position)
            self._problem(place, (), f"this is not YAML: {error}".splitlines()[0])
        except RecursionError:
            self._problem(start, (), TOO_DEEP)
        return None

    def _problem(self, place: Place, key: Key, text: str) -> None:
        self.problems.append(Problem(place, dotted(key), text))

    def _value(self, file: str, node: yaml.Node, key: Key) -> Data:
        self.document.values[key] = _place(file, node)
        if fault := self._fault(node):
            self._problem(_place(file, node), key, fault)
            return None
        if not self._left:
            return None
        self._open.append(node)
        try:
            return self._build(file, node, key)
        finally:
            self._open.pop()

    def _fault(self, node: yaml.Node) -> str:
        """Why it is not read any further; of what is too much, only the first is named."""
        if any(node is above for above in self._open):
            return "an alias that contains itself"
        if len(self._open) >= MOST_DEEP:
            return TOO_DEEP
        self._left = max(0, self._left - 1)
        return f"more than {MOST_VALUES} values" if self._left == 1 else ""

    def _build(self, file: str, node: yaml.Node, key: Key) -> Data:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(file, node, key, {})
        if isinstance(node, yaml.SequenceNode):
            return [self._value(file, item, (*key, i)) for i, item in enumerate(node.value)]
        return self._scalar(file, node, key)

    def _scalar(self, file: str, node: yaml.Node, key: Key) -> Data:
        if _has_controls(str(node.value), but="\n\t"):
            self._problem(_place(file, node), key, CONTROLS)
            return None
        try:
            value = yaml.constructor.SafeConstructor().construct_object(node)
        except ODD:  # its words repeat the value, which may be a secret
            self._problem(_place(file, node), key, f"not a value of {_tag(node)}")
            return None
        # A date or a binary is text here: no key of ours wants one.
        return value if isinstance(value, str | int | float | bool | None) else str(node.value)

    def _mapping(
        self, file: str, node: yaml.MappingNode, at: Key, into: dict[str, Data]
    ) -> dict[str, Data]:
        for key_node, value_node in node.value:
            place = _place(file, key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(place, at, "a key must be a plain word")
                continue
            if _has_controls(key_node.value):
                self._problem(place, at, f"a key with {CONTROLS}")
                continue
            key = (*at, str(key_node.value))
            self._pair(file, place, value_node, key, into)
        return into

    def _pair(
        self, file: str, place: Place, node: yaml.Node, key: Key, into: dict[str, Data]
    ) -> None:
        name = str(key[-1])
        before = self.document.keys.get(key)
        spread = before is not None and before.file != file
        if name in into and before and not (spread and self._may_repeat(node, key, into[name])):
            self._problem(place, key, f"duplicate key, set before at {before}")
            return
        self.document.keys.setdefault(key, place)
        old = into.get(name)
        if isinstance(node, yaml.MappingNode) and key in MERGED and isinstance(old, dict):
            self._mapping(file, node, key, old)
        else:
            into[name] = self._value(file, node, key)

    def _may_repeat(self, node: yaml.Node, key: Key, old: Data) -> bool:
        if key in MERGED:
            return isinstance(node, yaml.MappingNode) and isinstance(old, dict)
        return key in SAME_EVERYWHERE and str(old) == str(node.value)


def _place(file: str, node: yaml.Node) -> Place:
    mark = node.start_mark
    return Place(file, mark.line + 1, mark.column + 1)


def _position(source: Source, index: int) -> Place:
    before = source.text[:index]
    return Place(source.name, before.count("\n") + 1, index - before.rfind("\n"))


def _has_controls(text: str, but: str = "") -> bool:
    """It would speak to a terminal, or be no UTF-8."""
    return not all(c.isprintable() or c in but for c in text)


def _tag(node: yaml.Node) -> str:
    return f"`{str(node.tag).replace('tag:yaml.org,2002:', '!!')}`"
