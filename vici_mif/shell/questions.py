# SPDX-License-Identifier: Apache-2.0
"""What comes over the control socket, as facts: the words of the commands that order something."""

from __future__ import annotations

from vici_mif.core.events import OrderCleared, OrderGiven
from vici_mif.core.model import OrderKind
from vici_mif.edges.control import Question

GIVES = {
    "down": OrderKind.DOWN,
    "drain": OrderKind.DRAIN,
    "prefer": OrderKind.PREFER,
    "revoke": OrderKind.REVOKE,
}
TAKES_BACK = {"up": OrderKind.DOWN, "undrain": OrderKind.DRAIN, "unprefer": OrderKind.PREFER}


def order(question: Question, given: str) -> OrderGiven | OrderCleared:
    """`given`: now. Raises ValueError, for people, where it is none."""
    word, peer, path = question["ask"], question.get("peer", ""), question.get("path", "")
    if not isinstance(path, str):
        raise ValueError("'path' is not a name")
    if word in GIVES:
        return OrderGiven(GIVES[word], peer, given, path)
    if word in TAKES_BACK:
        return OrderCleared(kind=TAKES_BACK[word], peer=peer, path=path)
    number = question.get("id")
    if word != "clear":
        raise ValueError(f"unknown question '{word}'")
    if not isinstance(number, int):
        raise ValueError("'id' is not a number")
    return OrderCleared(id=number)
