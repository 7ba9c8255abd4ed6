# SPDX-License-Identifier: Apache-2.0
"""`events`: what happened last, and what happens from now on."""

from __future__ import annotations

import argparse
import sys

from vici_mif.core.notice import Notice
from vici_mif.edges.control import Answer, ControlError, NotPermitted, Question
from vici_mif.shell import asking, places, terminal
from vici_mif.shell.asking import Refused, complain
from vici_mif.shell.exits import OK
from vici_mif.shell.places import Places

LAST = 20
AGAIN_DELAY = 1.0


def arguments(sub: argparse.ArgumentParser) -> None:
    places.arguments(sub)
    sub.add_argument("peer", nargs="?", help="only this peer, and what is about none")
    sub.add_argument("-n", "--last", type=int, default=LAST, metavar="N", help="of before (20)")
    sub.add_argument("-f", "--follow", action="store_true", help="go on until it is interrupted")
    sub.add_argument("--json", action="store_true", help="a line of JSON each")


def events(args: argparse.Namespace) -> int:
    """The last N; with `--follow` all that come, also of the next controller."""
    where = places.to_ask(args)
    question: Question = {"ask": "events", "peer": args.peer or "", "last": args.last}
    try:
        answer = asking.ask(where, question)
        _print(answer, as_json=args.json)
        while args.follow:
            answer = _next(where, question, answer)
            _print(answer, as_json=args.json)
    except Refused as error:
        return complain(str(error), error.code)
    return OK


def _next(where: Places, question: Question, before: Answer) -> Answer:
    """A controller that is gone is waited for; its successor tells from its beginning."""
    place = {"run": before["run"], "after": before["next"], "last": sys.maxsize}
    gone = False
    while True:
        try:
            return asking.ask(where, question | place)
        except NotPermitted:
            raise
        except ControlError as error:
            if not gone:
                complain(f"{error}; waiting for the next", OK)
            gone = True
            asking.wait(AGAIN_DELAY)


def _print(answer: Answer, *, as_json: bool) -> None:
    if missed := answer.get("missed"):
        complain(f"{missed} events were too many to be kept", OK)
    for event in answer.get("events", ()):
        notice = asking.read(Notice, event)
        print(terminal.escaped(notice.to_json()) if as_json else line(notice), flush=True)


def line(notice: Notice) -> str:
    """`2026-11-21T03:04:05Z hq move: IKE SA #3 moved from eth0/... to wlan0/...`."""
    mark = {"warning": "! ", "error": "!! "}.get(notice.level, "")
    peer = f"{notice.peer} " if notice.peer else ""
    text = "; ".join(notice.text.splitlines())
    return terminal.plain(f"{notice.at} {peer}{notice.kind}: {mark}{text}")
