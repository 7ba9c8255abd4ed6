# SPDX-License-Identifier: Apache-2.0
"""`replay`: reads a journal, tells what happened and why, and decides all of it again."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vici_mif.core.actions import Action
from vici_mif.core.events import Ticked
from vici_mif.core.journal import codec
from vici_mif.core.journal.lines import Start
from vici_mif.core.journal.replay import Line, Outcome, Replay, Replayed, ReplayError, Skipped
from vici_mif.core.teller import Teller
from vici_mif.edges import journal
from vici_mif.shell import following, places, terminal, words
from vici_mif.shell.asking import complain
from vici_mif.shell.exits import CONFIG, FAILED, OK

SCHEMA = "vici-mif/replay/1"


def arguments(sub: argparse.ArgumentParser) -> None:
    places.arguments(sub)
    about = "journal.jsonl, older ones before it; or their directory (default: daemon.journal)"
    sub.add_argument("file", nargs="*", type=Path, help=about)
    sub.add_argument("-e", "--events", action="store_true", help="tell it as `events` does")
    sub.add_argument("-q", "--quiet", action="store_true", help="only the verdict")
    sub.add_argument("--json", action="store_true", help="only the verdict, for programs")


@dataclass
class Verdict:
    """What came of it so far."""

    steps: int = 0
    lost: int = 0
    skipped: int = 0
    differs: Replayed | None = None

    def take(self, outcome: Outcome) -> bool:
        """False where it ends: at the first difference."""
        match outcome:
            case Start(lost=lost):
                self.lost += lost
            case Skipped():
                self.skipped += 1
            case Replayed():
                self.steps += 1
                self.differs = None if outcome.same else outcome
        return self.differs is None

    @property
    def sentence(self) -> str:
        if self.differs:
            return f"differs at step {self.differs.step.step} ({self.differs.line})"
        if not self.steps:
            return "no step that could be replayed"
        more = f"; {self.lost} steps were not noted" if self.lost else ""
        more += f"; {self.skipped} lines skipped" if self.skipped else ""
        return f"the same actions in {self.steps} steps{more}"

    def json(self) -> dict[str, Any]:
        """One object."""
        said = {"same": self.good, "steps": self.steps, "lost": self.lost, "skipped": self.skipped}
        return {"schema": SCHEMA, **said, "difference": _told(self.differs)}

    @property
    def good(self) -> bool:
        return self.differs is None and self.steps > 0

    @property
    def code(self) -> int:
        """The exit status: what holds no step is no journal."""
        if self.good:
            return OK
        return FAILED if self.differs else CONFIG


def replay(args: argparse.Namespace) -> int:
    """0 where all actions are the same, 1 where one differs, 78 for what is no journal."""
    verdict, teller = Verdict(), Retelling()
    silent = args.quiet or args.json
    try:
        for outcome in Replay().run(_lines(_files(args))):
            if not silent:
                said = teller.told(outcome) if args.events else told(outcome)
                print("".join(f"{terminal.plain(line)}\n" for line in said), end="")
            if not verdict.take(outcome):
                break
    except ReplayError as error:
        return complain(str(error), CONFIG)
    if args.json:
        print(json.dumps(verdict.json()))
        return verdict.code
    if verdict.differs:
        print(terminal.plain("\n".join(difference(verdict.differs))))
    print(verdict.sentence, file=sys.stdout if verdict.good else sys.stderr)
    return verdict.code


def _files(args: argparse.Namespace) -> list[Path]:
    """Those that were named, else the journal of the configured controller."""
    named: list[Path] = args.file
    if not named and (kept := places.config(args).daemon.journal) == "off":
        raise ReplayError(f"daemon.journal is {kept}: name the file")
    return named or [Path(kept)]


def _lines(files: Iterable[Path]) -> Iterator[Line]:
    for file in files:
        for one in journal.files_of(file):
            for number, text in journal.read(one):
                yield Line(str(one), number, text)


# --- for people ---------------------------------------------------------------------


class Retelling:
    """The events that were told then."""

    def __init__(self) -> None:
        self._teller: Teller | None = None

    def told(self, outcome: Outcome) -> list[str]:
        match outcome:
            case Start(config=config):
                if outcome.began == "started" or self._teller is None:
                    self._teller = Teller(config.get("connections", {}))
            case Replayed(_, step, event, recorded) if self._teller:
                notices = self._teller.step(event, recorded)
                return [
                    following.line(x.model_copy(update={"at": step.time.wall})) for x in notices
                ]
        return []


def told(outcome: Outcome) -> list[str]:
    """Nothing where nothing was to be done."""
    match outcome:
        case Start():
            lost = f", {outcome.lost} steps before it were not noted" if outcome.lost else ""
            return [f"{outcome.time.wall} = {outcome.began}, version {outcome.version}{lost}"]
        case Skipped(line, why):
            return [f"{line}: skipped, {why}"]
        case Replayed(_, step, event, recorded):
            said = [] if isinstance(event, Ticked) else [f"{step.time.wall} < {words.event(event)}"]
            begun = [f"{step.time.wall} > {line}" for a in recorded for line in words.action(a)]
            return [*said, *begun]


def difference(found: Replayed) -> list[str]:
    """The step, then what was begun (-) and what would be begun today (+)."""
    head = [f"{found.line}: step {found.step.step}, {found.step.time.wall}"]
    before, today = _shown(found.recorded), _shown(found.found)
    if found.step.raised != found.raised:
        before += [f"raised {found.step.raised}"] if found.step.raised else []
        today += [f"raised {found.raised}"] if found.raised else []
    return [*head, f"  < {words.event(found.event)}", *difflib.ndiff(before, today)]


def _shown(actions: Iterable[Action]) -> list[str]:
    return [json.dumps(codec.dump(each)) for each in actions]


def _told(found: Replayed | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "file": found.line.file,
        "line": found.line.number,
        "step": found.step.step,
        "time": found.step.time.wall,
        "event": codec.dump(found.event),
        "recorded": [codec.dump(each) for each in found.recorded],
        "recorded_raised": found.step.raised,
        "found": [codec.dump(each) for each in found.found],
        "found_raised": found.raised,
    }
