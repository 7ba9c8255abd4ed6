# SPDX-License-Identifier: Apache-2.0
"""The whole state of who decides as JSON and back: later files begin in the middle.

Objects that change are written once and referred to by number afterwards; frozen data is
written where it stands. Only classes of the core can be named, and none of their code is run.
A state is good for the version that wrote it: it shows that version's inside.
"""

from __future__ import annotations

import importlib
import json
import math
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import MISSING, dataclass, is_dataclass
from dataclasses import fields as data_fields
from enum import Enum
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from types import MethodType
from typing import Any

from pydantic import BaseModel

from vici_mif.core.journal.codec import CodecError, model_dump, model_load

CORE = "vici_mif.core."
KIND = "is"
"""The key that tells what an object of JSON stands for."""

ADDRESSES: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        IPv4Address,
        IPv4Interface,
        IPv4Network,
        IPv6Address,
        IPv6Interface,
        IPv6Network,
    )
}
FROZEN: Mapping[str, type] = {"tuple": tuple, "frozenset": frozenset}
MUTABLE: Mapping[str, type] = {"list": list, "set": set, "deque": deque}
BY_KEY: Mapping[str, type] = {"dict": dict, "Counter": Counter}


@dataclass(frozen=True, slots=True)
class Taken:
    """A state as it was at one moment: frozen data stands in it as it is, to be written later."""

    tree: Any
    numbers: int

    def written(self) -> Any:
        """As JSON. Raises TypeError for what cannot be kept."""
        return self._finished(self.tree, _Writer(self.numbers))

    def _finished(self, tree: Any, writer: _Writer) -> Any:
        match tree:
            case _Later(thing):
                return writer.value(thing)
            case dict():
                found = {key: self._finished(each, writer) for key, each in tree.items()}
                return _in_order(found)
            case list():
                return [self._finished(each, writer) for each in tree]
            case _:
                return tree


@dataclass(frozen=True, slots=True)
class _Later:
    """What can be written later: it does not change, or it cannot be kept at all."""

    thing: object


def take(thing: object) -> Taken:
    """Quick: all that changes is looked at now, what is frozen can wait."""
    writer = _Writer(later=True)
    tree = writer.value(thing)
    return Taken(tree, writer.count)


def dump(thing: object) -> Any:
    """Rooms, or anything that they are made of. Raises TypeError for what cannot be kept."""
    return take(thing).written()


def load(data: Any) -> Any:
    """The reverse. Raises CodecError."""
    try:
        return _Reader().value(data)
    except (
        AttributeError,
        ImportError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise CodecError(f"not a state of this version ({error!r})") from None


class _Writer:
    def __init__(self, count: int = 0, *, later: bool = False) -> None:
        """`later`: leave frozen data as it is."""
        self.count = count
        self._later = later
        self._numbers: dict[int, int] = {}

    def value(self, thing: object) -> Any:
        if thing is None or type(thing) in (bool, int, str):
            return thing
        if self._later and not _changes(thing):
            return _Later(thing)
        match thing:
            case float():
                return thing if math.isfinite(thing) else {KIND: "float", "value": repr(thing)}
            case Enum():
                return {KIND: _name(type(thing)), "value": thing.value}
            case BaseModel():
                return {KIND: _name(type(thing)), "model": model_dump(thing)}
            case MethodType():
                return self._method(thing)
        return self._holding(type(thing).__name__, thing)

    def _holding(self, name: str, thing: object) -> Any:
        """What is made of other things."""
        if ADDRESSES.get(name) is type(thing):
            return {KIND: name, "value": str(thing)}
        if FROZEN.get(name) is type(thing):
            return _in_order({KIND: name, "items": self._items(thing)})  # type: ignore[arg-type]
        if isinstance(thing, tuple):
            return {KIND: _name(type(thing)), "items": self._items(thing)}
        if _is_frozen(thing):
            return {KIND: _name(type(thing)), "fields": self._values(_said(thing))}
        return self._mutable(name, thing)

    def _mutable(self, name: str, thing: object) -> Any:
        """Each one once: whoever else has it has the same."""
        if id(thing) in self._numbers:
            return {KIND: "same", "as": self._numbers[id(thing)]}
        self.count += 1
        number = self._numbers[id(thing)] = self.count
        if MUTABLE.get(name) is type(thing):
            items = self._items(thing)  # type: ignore[arg-type]
            most = {"most": thing.maxlen} if isinstance(thing, deque) else {}
            return _in_order({KIND: name, "number": number, "items": items} | most)
        if isinstance(thing, dict) and BY_KEY.get(name) is type(thing):
            pairs = [[self.value(key), self.value(value)] for key, value in thing.items()]
            return {KIND: name, "number": number, "items": pairs}
        return {KIND: _name(type(thing)), "number": number, "fields": self._fields(thing)}

    def _items(self, things: Iterable[object]) -> list[Any]:
        return [self.value(each) for each in things]

    def _fields(self, thing: object) -> dict[str, Any]:
        return self._values(fields(thing))

    def _values(self, held: dict[str, Any]) -> dict[str, Any]:
        return {name: self.value(value) for name, value in held.items()}

    def _method(self, thing: MethodType) -> Any:
        owner = self.value(thing.__self__)
        return {KIND: "method", "of": owner, "name": thing.__func__.__name__}


class _Reader:
    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        name = data[KIND]
        match name:
            case "float":
                return float(data["value"])
            case "same":
                return self._known[data["as"]]
            case "method":
                return self._method(data)
            case "dict" | "Counter":
                return self._by_key(BY_KEY[name], data)
        if name in ADDRESSES:
            return ADDRESSES[name](data["value"])
        if name in FROZEN:
            return FROZEN[name](map(self.value, data["items"]))
        if name in MUTABLE:
            return self._collection(MUTABLE[name], data)
        return self._object(_class(name), data)

    def _by_key(self, kind: type, data: Any) -> Any:
        made: Any = kind()
        self._known[data["number"]] = made
        for key, value in data["items"]:
            made[self.value(key)] = self.value(value)
        return made

    def _collection(self, kind: type, data: Any) -> Any:
        made: Any = kind() if kind is not deque else deque(maxlen=data["most"])
        self._known[data["number"]] = made
        add = made.add if kind is set else made.append
        for each in data["items"]:
            add(self.value(each))
        return made

    def _object(self, kind: type, data: Any) -> Any:
        if "model" in data:
            return model_load(kind, data["model"])
        if "value" in data:
            return kind(data["value"])
        if "items" in data:
            return kind(*map(self.value, data["items"]))
        made: Any = object.__new__(kind)
        if "number" in data:
            self._known[data["number"]] = made
        else:  # frozen: what is at its default was left out
            for name, value in _defaults(kind).items():
                object.__setattr__(made, name, value)
        for name, value in data["fields"].items():
            object.__setattr__(made, name, self.value(value))
        return made

    def _method(self, data: Any) -> Any:
        owner = self.value(data["of"])
        found = getattr(type(owner), data["name"])
        return MethodType(found, owner)


def fields(thing: object) -> dict[str, Any]:
    """All that an object of the core holds, in slots or in its dictionary."""
    held = dict(getattr(thing, "__dict__", {}))
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else slots
        held |= {name: getattr(thing, name) for name in names if hasattr(thing, name)}
    return held


def _said(thing: object) -> dict[str, Any]:
    """What frozen data holds beside its defaults: there may be thousands of SAs."""
    kind: type = type(thing)
    usual = _defaults(kind)
    return {
        name: value
        for name, value in fields(thing).items()
        if not _same(value, usual.get(name, MISSING))
    }


def _same(value: object, default: object) -> bool:
    return type(value) is type(default) and value == default


@cache
def _defaults(kind: Hashable) -> Mapping[str, Any]:
    """Of a dataclass, where they are plain."""
    if not isinstance(kind, type) or not is_dataclass(kind):
        return {}
    return {each.name: each.default for each in data_fields(kind) if each.default is not MISSING}


def _in_order(data: dict[str, Any]) -> dict[str, Any]:
    """A set in one order, so that equal states are written alike; what is not written yet waits."""
    if data.get(KIND) in {"set", "frozenset"}:
        return data | {"items": sorted(data["items"], key=_text)}
    return data


def _text(data: Any) -> str:
    return json.dumps(data, default=repr)


def _changes(thing: object) -> bool:
    """It is made of parts of which one may be another one at the next step."""
    kind = type(thing)
    if kind in {*FROZEN.values(), *MUTABLE.values(), *BY_KEY.values(), MethodType}:
        return True
    return (
        kind.__module__.startswith(CORE) and not isinstance(thing, Enum) and not _is_frozen(thing)
    )


def _is_frozen(thing: object) -> bool:
    if isinstance(thing, BaseModel):
        return True
    params = getattr(thing, "__dataclass_params__", None)
    return params is not None and bool(params.frozen)


def _name(kind: type) -> str:
    if not kind.__module__.startswith(CORE):
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot stand in a state")
    return f"{kind.__module__.removeprefix(CORE)}:{kind.__qualname__}"


def _class(name: str) -> type:
    """Only classes that the core itself defines."""
    module, _, words = name.partition(":")
    found: Any = importlib.import_module(CORE + module)
    for word in words.split("."):
        found = getattr(found, word)
    if not isinstance(found, type) or _name(found) != name:
        raise CodecError(f"{name} is no class of the core")
    return found
