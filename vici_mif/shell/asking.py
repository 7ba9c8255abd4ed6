# SPDX-License-Identifier: Apache-2.0
"""How commands put a question to a running controller, and how they complain."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentTypeError
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from vici_mif import __version__
from vici_mif.core.status import Status
from vici_mif.edges import control
from vici_mif.edges.control import Answer, ControlError, NoController, Question
from vici_mif.shell import terminal
from vici_mif.shell.exits import USAGE
from vici_mif.shell.places import Places

LOOK_DELAY = 0.1

Model = TypeVar("Model", bound=BaseModel)


class Refused(Exception):  # noqa: N818 - named for what happened
    """The controller does not do it; the text says why, `code` is the exit status."""

    def __init__(self, text: str, code: int = USAGE) -> None:
        super().__init__(text)
        self.code = code


def ask(where: Places, question: Question) -> Answer:
    """The answer. Raises Refused, NoController and the other errors of the socket.

    Where nobody is found and the file that says where to look is broken: ConfigError.
    """
    try:
        answer = control.ask(where.run_dir, question)
    except NoController as nobody:
        raise where.broken or nobody from nobody
    if not answer.get("ok"):
        error = str(answer.get("error", "the controller refused"))
        raise Refused(error, int(answer.get("exit", USAGE)))
    return answer


def status(where: Places, peer: str | None = None) -> Status:
    """How it stands, of one peer or of all."""
    found = read(Status, ask(where, {"ask": "status", "peer": peer or ""}).get("status"))
    if not peer:
        return found
    only = {"peers": tuple(p for p in found.peers if p.name == peer), "gateway": None}
    return found.model_copy(update=only)


def read(kind: type[Model], data: object) -> Model:
    """A part of an answer. Raises ControlError for what another version may have meant."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ControlError(
            f"this is version {__version__}, and the controller that runs is another one: its "
            f"answer is not understood ({error.error_count()} differences). Restart it"
        ) from error


def given(text: str) -> str:
    """A name on the command line. Raises ArgumentTypeError where it is empty: who wrote a variable
    that is not set does not mean everybody."""
    if not text:
        raise ArgumentTypeError("it is empty")
    return text


def wait(delay: float) -> None:
    """Seconds between two looks of a command that waits."""
    time.sleep(delay)


def complain(text: str, code: int) -> int:
    """Say it on stderr; the exit status comes back."""
    print(f"vici-mif: {terminal.plain(text)}", file=sys.stderr)
    return code
