# SPDX-License-Identifier: Apache-2.0
"""Feeds what a journal tells into today's controller, and compares what it wants. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vici_mif import __version__
from vici_mif.core.actions import Action
from vici_mif.core.events import Event
from vici_mif.core.journal import codec, lines, state
from vici_mif.core.journal.codec import CodecError
from vici_mif.core.journal.lines import Start, Step
from vici_mif.core.rooms import Rooms
from vici_mif.core.wish.config import Config


class ReplayError(Exception):
    """The journal cannot be replayed from here on; the text names the line and says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, for errors."""

    file: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One step, as it was and as it is."""

    line: Line
    step: Step
    event: Event
    recorded: tuple[Action, ...]
    found: tuple[Action, ...]
    raised: str = ""
    """The mistake that today's planner makes here."""

    @property
    def same(self) -> bool:
        return self.recorded == self.found and self.step.raised == self.raised


@dataclass(frozen=True, slots=True)
class Skipped:
    """Lines that could not be used, and why."""

    line: Line
    why: str


Outcome = Replayed | Start | Skipped


class Replay:
    """One run over the lines of a journal, oldest file first."""

    def __init__(self) -> None:
        self.steps = 0
        self._rooms: Rooms | None = None
        self._next = 0

    def run(self, text: Iterable[Line]) -> Iterator[Outcome]:
        """What becomes of each line. Raises ReplayError."""
        broken: tuple[Line, CodecError] | None = None
        for line in text:
            try:
                read = lines.parse(line.text)
            except CodecError as error:
                if broken:
                    raise _error(*broken) from None
                broken = (line, error)
                continue
            if broken:
                yield self._torn(*broken, read)
                broken = None
            yield self._take(line, read)
        if broken:
            yield Skipped(broken[0], "cut in the middle")

    def _torn(self, line: Line, error: CodecError, after: Start | Step) -> Skipped:
        """Who was killed while writing leaves half a line; the next one to write is a start."""
        if isinstance(after, Step):
            raise _error(line, error)
        return Skipped(line, "cut in the middle")

    def _take(self, line: Line, read: Start | Step) -> Outcome:
        try:
            if isinstance(read, Start):
                self._begin(read)
                return read
            if self._rooms is None:
                return Skipped(line, "before the first line where a replay may begin")
            if self._next not in {0, read.step}:
                raise CodecError(f"steps {self._next} to {read.step - 1} are missing")
            return self._step(self._rooms, line, read)
        except CodecError as error:
            raise _error(line, error) from None

    def _begin(self, start: Start) -> None:
        if start.began == "started":
            self._rooms = Rooms(codec.model_load(Config, start.config), start.base)
            self._next = 1
            return
        if start.version != __version__ and self._rooms and start.began == "rotated":
            return  # what is known goes on; another version's inside says nothing
        before, self._rooms = self._rooms, self._restored(start)
        if start.began == "rotated" and before and state.dump(before) != start.state:
            raise CodecError("the controller's state is another one than it was here")
        if start.began == "resumed":
            self._next = 0

    def _restored(self, start: Start) -> Rooms:
        if start.version != __version__:
            raise CodecError(f"a state of version {start.version}; this is {__version__}")
        found = state.load(start.state)
        if not isinstance(found, Rooms):
            raise CodecError("not a controller's state")
        return found

    def _step(self, rooms: Rooms, line: Line, step: Step) -> Replayed:
        event = codec.event(step.event)
        recorded = tuple(codec.action(each) for each in step.actions)
        self._next = step.step + 1
        self.steps += 1
        try:
            found = tuple(rooms.handle(event, step.time.monotonic))
        except Exception as mistake:  # the planner's own: that is what is looked for
            return Replayed(line, step, event, recorded, (), named(mistake))
        return Replayed(line, step, event, recorded, found)


def named(mistake: Exception) -> str:
    """As it stands in the journal."""
    return f"{type(mistake).__name__}: {mistake}"


def _error(line: Line, error: CodecError) -> ReplayError:
    return ReplayError(f"{line}: {error}")
