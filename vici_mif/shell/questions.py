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
    "revoke-identity": OrderKind.REVOKE_IDENTITY,
}
TAKES_BACK = {
    "up": OrderKind.DOWN,
    "undrain": OrderKind.DRAIN,
    "unprefer": OrderKind.PREFER,
    "unrevoke-identity": OrderKind.REVOKE_IDENTITY,
}
IDENTITIES = ("revoke-identity", "unrevoke-identity")


def order(question: Question, given: str) -> OrderGiven | OrderCleared:
    """`given`: now. Raises ValueError, for people, where it is none."""
    word, peer = question["ask"], question.get("peer", "")
    path, identity = (_text(question, key) for key in ("path", "identity"))
    if (word in IDENTITIES) != bool(identity):
        raise ValueError("'identity' goes with revoke-identity and unrevoke-identity")
    if word in GIVES:
        return OrderGiven(GIVES[word], peer, given, path, identity=identity)
    if word in TAKES_BACK:
        return OrderCleared(kind=TAKES_BACK[word], peer=peer, path=path, identity=identity)
    number = question.get("id")
    if word != "clear":
        raise ValueError(f"unknown question '{word}'")
    if not isinstance(number, int):
        raise ValueError("'id' is not a number")
    return OrderCleared(id=number)


def _text(question: Question, key: str) -> str:
    value = question.get(key, "")
    if not isinstance(value, str) or not _is_utf8(value):
        raise ValueError(f"'{key}' is not a name")
    return value


def _is_utf8(text: str) -> bool:
    """JSON can also name halves of characters, which nothing else can write."""
    return not any("\ud800" <= c <= "\udfff" for c in text)
