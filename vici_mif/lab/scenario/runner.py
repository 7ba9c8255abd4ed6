# SPDX-License-Identifier: Apache-2.0
"""Plays a scenario on a stage, step by step, and stops at the first that does not hold."""

from __future__ import annotations

from collections.abc import Callable

from vici_mif.core.wish.document import Key, Place
from vici_mif.lab.errors import LabError
from vici_mif.lab.scenario import checks, stage
from vici_mif.lab.scenario.checks import Memory
from vici_mif.lab.scenario.model import Repeat, Scenario, Step
from vici_mif.lab.scenario.stage import Stage
from vici_mif.lab.scenario.words import Command

Say = Callable[[str], object]


class ExpectationError(LabError):
    """Something expected is not so."""


class StageError(LabError):
    """The stage lacks a word or a thing that the scenario needs."""


def play(scenario: Scenario, on: Stage, say: Say = lambda _: None) -> None:
    """The whole scenario. Raises StageError, ExpectationError or LabError, which name the line."""
    missing = [*stage.unknown(scenario, on), *stage.lacking(scenario, on)]
    if missing:
        raise StageError(f"{scenario.name} needs what {on.name} has not: {', '.join(missing)}")
    try:
        on.open(scenario)
        _Runner(scenario, on, say).play()
        if found := on.verdict():
            raise ExpectationError("\n  ".join([f"{scenario.name} on {on.name}:", *found]))
    finally:
        on.close()


class _Runner:
    def __init__(self, scenario: Scenario, on: Stage, say: Say) -> None:
        self._scenario, self._stage, self._say = scenario, on, say
        self._memory: Memory | None = None
        self._began = on.now()

    def play(self) -> None:
        for at, step in enumerate(self._scenario.story.steps):
            self._step(step, ("steps", at))

    def _step(self, step: Step, key: Key) -> None:
        for command in step.do or ():
            self._do(command, self._scenario.places[key])
        if step.wait is not None:
            self._say(f"{self._time()} wait {step.wait:g} s")
            self._rest_until(self._stage.now() + step.wait)
        if step.repeat is not None:
            self._repeat(step.repeat, (*key, "repeat", "steps"))
        if step.expect is not None:
            self._expect(step, self._scenario.places[key])

    def _do(self, command: Command, place: Place) -> None:
        self._say(f"{self._time()} {command}")
        if command.word.name == "remember":
            self._memory = checks.remember(self._stage)
            return
        try:
            getattr(self._stage, f"do_{command.word.name}")(*command.arguments)
        except LabError as error:
            raise LabError(f"{place}: `{command}`: {error}") from error

    def _repeat(self, repeat: Repeat, key: Key) -> None:
        began = self._stage.now()
        for turn in range(repeat.times):
            self._rest_until(began + turn * repeat.every)
            for at, step in enumerate(repeat.steps):
                self._step(step, (*key, at))

    def _rest_until(self, at: float) -> None:
        while (left := at - self._stage.now()) > 0:
            self._stage.rest(left)

    def _expect(self, step: Step, place: Place) -> None:
        limit = step.within * self._stage.patience
        began = looked = self._stage.now()
        while found := self._complaints(step):
            # a look takes time: what it saw was so when it began
            if looked >= began + limit:
                self._fail(place, f"not within {limit:g} s", found)
            self._stage.rest(max(0.0, began + limit - self._stage.now()))
            looked = self._stage.now()
        self._say(f"{self._time()} as expected after {self._stage.now() - began:.2f} s")
        self._hold(step, place)

    def _hold(self, step: Step, place: Place) -> None:
        until = self._stage.now() + (step.throughout or 0.0)
        while (left := until - self._stage.now()) > 0:
            self._stage.rest(left)
            if found := self._complaints(step):
                self._fail(place, f"held no longer than {self._time()}", found)

    def _complaints(self, step: Step) -> list[str]:
        assert step.expect is not None
        return checks.complaints(step.expect, self._stage, self._memory)

    def _fail(self, place: Place, when: str, found: list[str]) -> None:
        head = f"{place}: on {self._stage.name}, {when}:"
        raise ExpectationError("\n  ".join([head, *found]))

    def _time(self) -> str:
        return f"{self._stage.now() - self._began:8.2f} s"
