# SPDX-License-Identifier: Apache-2.0
"""Journals of worlds in memory: what was asked and answered, as lines and decided again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vici_mif import __version__
from vici_mif.core.actions import Action
from vici_mif.core.events import Event
from vici_mif.core.journal import codec, lines, replay, state
from vici_mif.core.journal.lines import Began, Moment, Start
from vici_mif.core.journal.replay import Line, Outcome, Replay, Replayed
from vici_mif.core.rooms import Rooms
from vici_mif.core.wish.config import Config
from vici_mif.shell import journal

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BASE = "/etc/vici-mif"


@dataclass(frozen=True)
class Started:
    """Rooms that know nothing."""

    config: Config


@dataclass(frozen=True)
class Asked:
    """One step."""

    event: Event
    now: float
    actions: Sequence[Action]


Kept = Started | Asked


def moment(now: float) -> Moment:
    wall = EPOCH + timedelta(seconds=now)
    return Moment(monotonic=now, boot=now, wall=wall.isoformat(timespec="microseconds"))


def start(config: Config, now: float, began: Began = "started", of: Rooms | None = None) -> str:
    """The line where one may begin to read."""
    return Start(
        journal=lines.SCHEMA,
        version=__version__,
        began=began,
        time=moment(now),
        base=BASE,
        config=codec.model_dump(config),
        state=state.dump(of) if of else None,
    ).text()


def written(kept: Iterable[Kept]) -> list[str]:
    """As the controller writes it."""
    found, number, now = [], 0, 0.0
    for each in kept:
        if isinstance(each, Started):
            number = 0
            found.append(start(each.config, now))
            continue
        number, now = number + 1, each.now
        step = journal.Step(number, moment(now), each.event, tuple(each.actions))
        found.append(step.text())
    return found


def replayed(text: Iterable[str], file: str = "journal.jsonl") -> list[Outcome]:
    """Every line decided again, to the end."""
    return list(Replay().run(Line(file, n, line) for n, line in enumerate(text, 1)))


def differing(text: Iterable[str]) -> list[Replayed]:
    """Steps that are not the same."""
    return [x for x in replayed(text) if isinstance(x, replay.Replayed) and not x.same]
