# SPDX-License-Identifier: Apache-2.0
"""orders.json: what operators asked for by hand, the only thing kept over restarts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vici_mif.core.model import Order, OrderKind
from vici_mif.edges import files

SCHEMA = "vici-mif/orders/1"
NAME = "orders.json"


class OrdersError(Exception):
    """The kept orders cannot be understood; the text says where and what to do."""


def read(state_dir: Path) -> tuple[Order, ...]:
    """The kept orders; none where there is no file."""
    path = state_dir / NAME
    try:
        content = files.read_document(path, SCHEMA)
        return tuple(_order(entry) for entry in content["orders"]) if content else ()
    except (ValueError, KeyError, TypeError) as error:
        raise OrdersError(
            f"{path}: not a list of orders ({error}); correct it, or remove it to have no orders"
        ) from error


def write(state_dir: Path, orders: Iterable[Order]) -> None:
    """Replace the kept orders."""
    content = {"schema": SCHEMA, "orders": [_entry(order) for order in orders]}
    files.replace(state_dir / NAME, json.dumps(content, indent=2) + "\n", mode=0o600)


def _order(entry: dict[str, Any]) -> Order:
    return Order(
        id=int(entry["id"]),
        kind=OrderKind(entry["kind"]),
        peer=str(entry["peer"]),
        given=str(entry["given"]),
        by=str(entry.get("by", "operator")),
        path=str(entry.get("path", "")),
        spis=tuple(map(str, entry.get("spis", ()))),
        identity=str(entry.get("identity", "")),
        loaded=tuple(map(str, entry.get("loaded", ()))),
    )


def _entry(order: Order) -> dict[str, object]:
    entry: dict[str, object] = {
        "id": order.id,
        "kind": str(order.kind),
        "peer": order.peer,
        "given": order.given,
        "by": order.by,
    }
    if order.path:
        entry["path"] = order.path
    if order.identity:
        entry["identity"] = order.identity
    if order.spis:
        entry["spis"] = list(order.spis)
    if order.loaded:
        entry["loaded"] = list(order.loaded)
    return entry
