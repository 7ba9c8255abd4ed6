# SPDX-License-Identifier: Apache-2.0
"""Orders as VICI requests, and the events that end them as facts (docs/vici.md)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

from vici_mif.core import actions, events, swan
from vici_mif.core.model import Sa

Message: TypeAlias = Mapping[str, Any]
Fields: TypeAlias = dict[str, object]
Order: TypeAlias = (
    actions.CreateIke
    | actions.Clone
    | actions.Migrate
    | actions.Unpin
    | actions.Probe
    | actions.AskPeer
    | actions.CreateChild
    | actions.Initiate
    | actions.Terminate
    | actions.TerminateChild
    | actions.LoadConnection
    | actions.LoadSecret
    | actions.Unload
)

UNLOAD_KEYS = {"unload-conn": "name", "unload-shared": "id", "unload-key": "id"}
AT_ONCE = -1  # as timeout: the answer says that the request was taken, an event how it ended
SERIES = (
    actions.CreateIke,
    actions.Clone,
    actions.Migrate,
    actions.Probe,
    actions.AskPeer,
    actions.CreateChild,
)
"""Orders that end by an event; the others end with their answer."""


def request(order: Order, mark: str) -> tuple[str, Message]:
    """The command and its message; the tag goes out as `mark/tag`."""
    command, keys = _request(order)
    if isinstance(order, SERIES):
        keys = {**keys, "tag": f"{mark}/{order.tag}", "timeout": AT_ONCE}
    return command, keys


def _request(order: Order) -> tuple[str, Message]:
    match order:
        case actions.CreateIke():
            return "create-ike", _create_ike(order)
        case actions.Clone():
            return "clone", {"ike-id": order.ike_id}
        case actions.Migrate():
            return "migrate", _place(order) | {"pin": order.pin_delay or None}
        case actions.Unpin():
            return "unpin", {"ike-id": order.ike_id}
        case actions.Probe():
            return "probe", _place(order) | {"tries": order.tries}
        case actions.AskPeer():
            keys = {"ike-id": order.ike_id, "local": order.local}
            return "probe", keys | {"tries": order.tries}
        case actions.CreateChild():
            return "create-child", _create_child(order)
        case _:
            return _stock(order)


def _stock(
    order: actions.Initiate
    | actions.Terminate
    | actions.TerminateChild
    | actions.LoadConnection
    | actions.LoadSecret
    | actions.Unload,
) -> tuple[str, Message]:
    match order:
        case actions.Initiate():
            names = {"ike": order.connection, "child": order.child or None}
            return "initiate", names | {"timeout": AT_ONCE}
        case actions.Terminate():
            how = {"force": order.force or None, "replaced": order.replaced or None}
            return "terminate", {"ike-id": order.ike_id, **how, "timeout": AT_ONCE}
        case actions.TerminateChild():
            return "terminate", {"child-id": order.child_id, "timeout": AT_ONCE}
        case actions.LoadConnection():
            return "load-conn", {order.name: order.message}
        case actions.LoadSecret():
            return order.command, order.message
        case actions.Unload():
            return order.command, {UNLOAD_KEYS[order.command]: order.name}
        case _:
            assert_never(order)


def _place(order: actions.Migrate | actions.Probe) -> Fields:
    return {"ike-id": order.ike_id, "local": order.pair.local, "remote": order.pair.remote}


def _create_ike(order: actions.CreateIke) -> Fields:
    return {
        "ike": order.connection,
        "local": order.pair.local,
        "remote": order.pair.remote,
        "vips": order.vips or None,
        "childless": order.childless or None,
        "child": order.child,
    }


def _create_child(order: actions.CreateChild) -> Fields:
    return {
        "ike-id": order.ike_id,
        "child": order.template,
        "name": order.name,
        "local_ts": order.local_ts or None,
        "remote_ts": order.remote_ts or None,
        "if_id_in": order.if_id,
        "if_id_out": order.if_id,
    }


# --- what comes back -----------------------------------------------------------


def ended_well(message: Message) -> bool:
    """Of an answer or a final event; events of charon's own kind say it by `up`."""
    return bool(message.get("success", message.get("up", "yes")) == "yes")


def done(tag: str, name: str, message: Message) -> events.ActionDone:
    """The fact of a final event that tells of success."""
    inside = sas_inside(message)
    ike_id = number(message, "clone-id" if name == "ike-clone" else "ike-id")
    sa = next((sa for sa in inside if sa.unique_id == ike_id), None)
    microseconds = number(message, "rtt-us")
    return events.ActionDone(
        tag,
        ike_id=ike_id if ike_id is not None or not inside else inside[0].unique_id,
        family=number(message, "clone-family") or (sa.family if sa else None),
        child_id=_child_id(inside) if name == "child-updown" else None,
        rtt_delay=None if microseconds is None else microseconds / 1e6,
    )


def failed(tag: str, message: Message) -> events.ActionFailed:
    """The fact of an answer or a final event that tells of failure."""
    text = message.get("errmsg", "")
    return events.ActionFailed(tag, str(message.get("reason", "failed")), str(text))


def sas_inside(message: Message) -> tuple[Sa, ...]:
    """The SAs an event carries: in its section, or in `parent` and `clone` of it."""
    found = list(swan.sas(message))
    for name, section in message.items():
        if isinstance(section, Mapping) and "uniqueid" not in section:
            parts = (section.get(part) for part in ("parent", "clone"))
            found += [swan.sa(name, part) for part in parts if isinstance(part, Mapping)]
    return tuple(found)


def rekeyed(message: Message) -> events.SaRekeyed | None:
    """`ike-rekey`: { name = { old = {...}, new = {...} } }."""
    for name, section in message.items():
        if isinstance(section, Mapping) and {"old", "new"} <= section.keys():
            old, new = swan.sa(name, section["old"]), swan.sa(name, section["new"])
            return events.SaRekeyed(old.unique_id, new)
    return None


def refused(message: Message) -> events.CloneRefused | None:
    """`ike-clone` of a peer that asked in vain."""
    ike_id = number(message, "ike-id")
    if message.get("initiator") != "no" or ended_well(message) or ike_id is None:
        return None
    counts = [sa.clones_refused for sa in sas_inside(message)]
    return events.CloneRefused(ike_id, str(message.get("reason", "failed")), max(counts, default=1))


def number(message: Message, key: str) -> int | None:
    """A number of a message, where it is there and is one."""
    with suppress(KeyError, TypeError, ValueError):
        return int(message[key])
    return None


def _child_id(inside: tuple[Sa, ...]) -> int | None:
    """A child-updown event has just the one child in its section."""
    ids = [child.unique_id for sa in inside for child in sa.children]
    return ids[0] if len(ids) == 1 else None


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of charon's, taken apart once."""

    name: str
    message: Message
    inside: tuple[Sa, ...]
    """The IKE SAs that it carries."""
    to_read: tuple[int, ...]
    """Those that it tells to read anew."""

    @classmethod
    def of(cls, name: str, message: Message) -> Happening:
        """Raises SwanError."""
        inside = sas_inside(message)
        closed = name == "ike-updown" and message.get("up") != "yes"
        none = closed or name in {"ike-rekey", "ike-probe"} or refused(message) is not None
        return cls(name, message, inside, () if none else tuple(sa.unique_id for sa in inside))
