# SPDX-License-Identifier: Apache-2.0
"""Keeps the journal beside the loop: a thread encodes and writes, and nobody waits for it.

What cannot be written is counted and said once; the next line is then one where a replay may
begin. Nothing else depends on the journal.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from queue import SimpleQueue

from vici_mif import __version__
from vici_mif.core import events
from vici_mif.core.actions import Action
from vici_mif.core.journal import codec, lines, replay, state
from vici_mif.core.journal.lines import Began, Moment, Start
from vici_mif.core.rooms import Rooms
from vici_mif.edges.files import FileError
from vici_mif.edges.journal import JournalFile
from vici_mif.shell import clock
from vici_mif.shell.log import Log

MOST_WAITING = 20_000
"""IKE SAs and steps that wait for a slow disk; more are lost."""

RETRY_DELAY = 30.0
"""Seconds after which a disk that refused is tried again."""

CLOSE_DELAY = 2.0


@dataclass(frozen=True, slots=True)
class Head:
    """A line where a replay may begin, as the loop leaves it."""

    start: Start
    taken: state.Taken | None
    weight: int = 1

    def text(self, lost: int) -> str:
        """`lost`: steps that were taken from the queue and could not be written."""
        kept = self.taken.written() if self.taken else None
        return self.start.model_copy(update={"state": kept, "lost": self.start.lost + lost}).text()


@dataclass(frozen=True, slots=True)
class Step:
    """One step as the loop leaves it: frozen, to be encoded elsewhere."""

    number: int
    time: Moment
    event: events.Event
    actions: tuple[Action, ...]
    raised: str = ""

    @property
    def weight(self) -> int:
        match self.event:
            case events.SasSeen(sas) | events.MembersSeen(sas):
                return 1 + len(sas)
        return 1

    def text(self) -> str:
        return lines.Step(
            step=self.number,
            time=self.time,
            event=codec.dump(self.event),
            actions=tuple(map(codec.dump, self.actions)),
            raised=self.raised,
        ).text()


class Journal:
    """Between the loop and who decides. `file` None: nothing is kept."""

    def __init__(self, file: JournalFile | None, base: str, log: Log) -> None:
        """`base`: the directory of the configuration, as the planner has it."""
        self._base = base
        self._log = log
        self._steps = 0
        self._lost = 0
        self._due: Began | None = "started"
        self._put = 0
        self._starts = 0
        self._writer = _Writer(file) if file else None

    @property
    def idle(self) -> bool:
        """Nothing waits to be written."""
        return self._writer is None or self._put == self._writer.done

    def handle(self, rooms: Rooms, event: events.Event, now: float) -> list[Action]:
        """What is decided, noted with what it was decided upon."""
        if self._writer is None:
            return rooms.handle(event, now)
        self._hear(self._writer)
        self._begin(self._writer, rooms, now)
        self._steps += 1
        time = clock.moment(now)
        try:
            actions = rooms.handle(event, now)
        except Exception as mistake:
            self._keep(self._writer, Step(self._steps, time, event, (), replay.named(mistake)))
            raise
        self._keep(self._writer, Step(self._steps, time, event, tuple(actions)))
        return actions

    def close(self) -> None:
        """Wait a moment for what is still to be written."""
        if self._writer is not None:
            self._writer.close()
            self._hear(self._writer)

    def _hear(self, writer: _Writer) -> None:
        while writer.said:
            self._log.say(*writer.said.popleft())
        if self._due is None and writer.starts == self._starts:
            self._due = writer.wants(clock.monotonic())

    def _begin(self, writer: _Writer, rooms: Rooms, now: float) -> None:
        """A line where a replay may begin, before the next step. A crowd is waited for."""
        began, crowd = self._due, self._put - writer.done
        if began is None or crowd > MOST_WAITING // 2:
            return
        start = Start(
            journal=lines.SCHEMA,
            version=__version__,
            began=began,
            time=clock.moment(now),
            lost=self._lost,
            base=self._base,
            config=codec.model_dump(rooms.planner.config),
        )
        self._put += 1
        self._starts += 1
        writer.queue.put(Head(start, state.take(rooms) if self._steps else None))
        self._due, self._lost = None, 0

    def _keep(self, writer: _Writer, step: Step) -> None:
        if self._due is None and self._put - writer.done + step.weight > MOST_WAITING:
            self._due = "resumed"
            said = "journal: the disk is too slow; what does not fit is left out"
            self._log.say(said, "warning")
        if self._due is not None:
            self._lost += 1
            return
        self._put += step.weight
        writer.queue.put(step)


class _Writer:
    """The thread's side. Its attributes are written by the thread alone, and read by the loop."""

    def __init__(self, file: JournalFile) -> None:
        self.queue: SimpleQueue[Head | Step | None] = SimpleQueue()
        self.said: deque[tuple[str, str]] = deque()
        self.done = 0
        self.starts = 0
        self._file = file
        self._lost = 0
        self._retry_at: float | None = None
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def wants(self, now: float) -> Began | None:
        """Which line is wanted next, if another one than a step."""
        if self._retry_at is not None:
            return "resumed" if now >= self._retry_at else None
        return "rotated" if self._file.full else None

    def close(self) -> None:
        self.queue.put(None)
        self._thread.join(CLOSE_DELAY)

    def _work(self) -> None:
        while (line := self.queue.get()) is not None:
            if self._retry_at is not None and isinstance(line, Step):
                self._lost += 1
            else:
                self._write(line)
            self.done += line.weight
            self.starts += isinstance(line, Head)
        self._file.close()

    def _write(self, line: Head | Step) -> None:
        try:
            if isinstance(line, Head) and self._file.full:
                self._file.rotate()
            self._file.append(line.text(self._lost) if isinstance(line, Head) else line.text())
        except (FileError, TypeError, ValueError) as error:
            self._refused(line, error)
            return
        if isinstance(line, Head):
            self._goes_on(line.start.lost + self._lost)

    def _refused(self, line: Head | Step, error: Exception) -> None:
        self._lost += isinstance(line, Step)
        if self._retry_at is None:
            said = f"journal: {error}; nothing is noted until it can be written again"
            self.said.append((said, "warning"))
        self._retry_at = clock.monotonic() + RETRY_DELAY

    def _goes_on(self, lost: int) -> None:
        if lost:
            self.said.append((f"journal: noted again; {lost} steps were lost", "info"))
        self._lost, self._retry_at = 0, None
