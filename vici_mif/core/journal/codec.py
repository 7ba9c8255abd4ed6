# SPDX-License-Identifier: Apache-2.0
"""Events and actions as JSON and back: `{"SaGone": {"unique_id": 7}}`.

The types of `events.py` and `actions.py` are the format: a field at its default is left out, a
name that is not known is refused. No secret is in it: messages hold FromFile and FromEnvironment
until the shell sends them, and of a hook's command only the first word is kept.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic_core import PydanticCustomError

from vici_mif.core import model
from vici_mif.core.actions import Action
from vici_mif.core.events import Event
from vici_mif.core.model import FromEnvironment, FromFile
from vici_mif.core.wish.config import Config
from vici_mif.core.wish.daemon import Hooks
from vici_mif.core.wish.values import PARSED

HIDDEN = "(hidden)"
EVENTS: Mapping[str, type] = {kind.__name__: kind for kind in get_args(Event)}
ACTIONS: Mapping[str, type] = {kind.__name__: kind for kind in get_args(Action)}

_Model = TypeVar("_Model", bound=BaseModel)


class CodecError(Exception):
    """What was read is none of ours; the text says what and where in it."""


# --- messages and configuration ---------------------------------------------------


def _value(value: object) -> object:
    match value:
        case FromFile(path):
            return {"file": path}
        case FromEnvironment(name):
            return {"env": name}
        case tuple() | list():
            return [_value(each) for each in value]
        case Mapping():
            return {"section": {key: _value(each) for key, each in value.items()}}
        case _:
            return str(value)


def _read(value: object) -> object:
    match value:
        case str():
            return value
        case list():
            return tuple(_read(each) for each in value)
        case {"file": str(path), **rest} if not rest:
            return FromFile(path)
        case {"env": str(name), **rest} if not rest:
            return FromEnvironment(name)
        case {"section": dict(entries), **rest} if not rest:
            return {key: _read(each) for key, each in entries.items()}
    raise PydanticCustomError("message", "expected text, a list, {file}, {env} or {section}")


def _section(value: object) -> object:
    return _read({"section": value})


def _message(value: Mapping[str, object]) -> object:
    return {key: _value(each) for key, each in value.items()}


def model_dump(thing: BaseModel) -> dict[str, Any]:
    """A pydantic model of the core without its defaults."""
    if isinstance(thing, Config):
        thing = _without_arguments(thing)
    return thing.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def model_load(kind: type[_Model], data: object) -> _Model:
    """The reverse. Raises CodecError."""
    try:
        return kind.model_validate_json(json.dumps(data), context=PARSED)
    except ValidationError as error:
        raise CodecError(_said(kind.__name__, error)) from None


def _without_arguments(config: Config) -> Config:
    """Arguments of a hook may be passwords; whether there is a hook is all that counts."""
    command = config.daemon.hooks.on_path_change
    if not command or len(command) == 1:
        return config
    hooks = Hooks.model_construct(on_path_change=(command[0], HIDDEN))
    daemon = config.daemon.model_copy(update={"hooks": hooks})
    return config.model_copy(update={"daemon": daemon})


_Message = Annotated[
    Any,
    PlainSerializer(_message),
    PlainValidator(_section),
    WithJsonSchema({"type": "object", "description": "A VICI message; a secret is only named."}),
]
_Configuration = Annotated[
    Config,
    PlainSerializer(model_dump),
    WithJsonSchema(
        {"type": "object", "description": "As vici-mif.schema.json, defaults left out."}
    ),
]
SPECIAL: Mapping[str, Any] = {"message": _Message, "config": _Configuration}
"""Fields whose type does not say how they are written."""


# --- events and actions ------------------------------------------------------------


@cache
def shape(kind: Hashable) -> type[BaseModel]:
    """One kind of event or action as pydantic sees it."""
    assert isinstance(kind, type)
    hints = get_type_hints(kind, localns=vars(model))
    entries: dict[str, Any] = {}
    for field in fields(kind):
        default = ... if field.default is MISSING else field.default
        entries[field.name] = (SPECIAL.get(field.name, hints[field.name]), default)
    config = ConfigDict(extra="forbid", frozen=True, strict=True)
    return create_model(kind.__name__, __config__=config, __doc__=kind.__doc__, **entries)


def dump(thing: Event | Action) -> dict[str, Any]:
    """An event or an action by the name of its type."""
    kind: type = type(thing)
    values = {field.name: getattr(thing, field.name) for field in fields(kind)}
    entries = shape(kind).model_construct(**values)
    return {kind.__name__: entries.model_dump(mode="json", by_alias=True, exclude_defaults=True)}


def event(data: object) -> Event:
    """Raises CodecError."""
    found: Event = _load(EVENTS, "event", data)
    return found


def action(data: object) -> Action:
    """Raises CodecError."""
    found: Action = _load(ACTIONS, "action", data)
    return found


def _load(kinds: Mapping[str, type], noun: str, data: object) -> Any:
    if not isinstance(data, dict) or len(data) != 1:
        raise CodecError(f"expected one {noun} by its name")
    ((name, entries),) = data.items()
    if name not in kinds:
        raise CodecError(f"unknown {noun} `{name}`")
    expected = shape(kinds[name])
    try:
        read = expected.model_validate_json(json.dumps(entries), context=PARSED)
    except ValidationError as error:
        raise CodecError(_said(name, error)) from None
    return kinds[name](**{field: getattr(read, field) for field in expected.model_fields})


def _said(name: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join([name, *map(str, first['loc'])])}: {first['msg']}"
