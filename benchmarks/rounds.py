"""Rounds of drains on one broker: all systems in turn, each at both of its sizes; what the ledger has is not run again."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from benchmarks.drain import Bench, DrainError, Say
from benchmarks.families import Family
from benchmarks.ledger import Entry, Ledger
from benchmarks.place import bench, machine
from benchmarks.scenario import Answer, Scenario
from benchmarks.system import System

LEAST = 1_000
LOADED = 300_000
"""Records a second, about, that are made and written to a topic."""


class Step(NamedTuple):
    """One drain to be done."""

    round: int
    system: System
    events: int


@dataclass
class Rounds:
    """One scenario, its systems, and where results go; ``skipped`` says in a word what could not be measured."""

    name: str
    family: Family
    systems: Sequence[System]
    ledger: Ledger
    say: Say
    scale: float = 1.0
    limit: float = 240.0
    skipped: dict[str, str] = field(default_factory=dict)

    def steps(self, rounds: Sequence[int]) -> list[Step]:
        """Return what is still to be done in these rounds, in order."""
        wanted = [
            Step(number, system, max(int(size * self.scale), LEAST))
            for number in rounds
            for system in self.systems
            for size in (system.small, system.large)
        ]
        return [s for s in wanted if not self.ledger.has(self.name, s.system.name, s.round, s.events)]

    def seconds(self, rounds: Sequence[int]) -> float:
        """Return about how long what is still to be done in these rounds takes where nothing else is at work."""
        steps = self.steps(rounds)
        loads = {step.events for step in steps}
        return sum(step.system.seconds(step.events) for step in steps) + sum(loads) / LOADED

    def run(self, rounds: Sequence[int]) -> None:
        """Do what is still to be done; a broker is started only if there is something.

        Raises BrokerError.
        """
        systems = {step.system.name: step.system for step in self.steps(rounds)}
        for name, system in systems.items():
            reason = None if name in self.skipped else system.missing(self.say)
            if reason is not None:
                self._skip(name, "is skipped", reason)
        steps = [step for step in self.steps(rounds) if step.system.name not in self.skipped]
        if not steps:
            return
        with bench() as place:
            counted = self._loaded(place, steps)
            for step in steps:
                if step.system.name not in self.skipped:
                    self._drain(place, step, counted)

    def _loaded(self, place: Bench, steps: Sequence[Step]) -> dict[int, tuple[Scenario, Answer]]:
        counted = {}
        for events in dict.fromkeys(step.events for step in steps):
            self.say(f"loading {events:,} events of {self.name}")
            scenario = self.family.make(events)
            place.fill(scenario)
            counted[events] = (scenario, scenario.answer())
        return counted

    def _drain(self, place: Bench, step: Step, counted: dict[int, tuple[Scenario, Answer]]) -> None:
        system, (scenario, answer) = step.system, counted[step.events]
        label = f"{system.name}-{step.events}-{step.round}-{time.time_ns() % 1_000_000_007}"
        load, date = round(os.getloadavg()[0], 2), datetime.now(UTC).isoformat(timespec="seconds")
        try:
            drain = place.drain(system, scenario, answer, label, self.limit)
        except DrainError as error:
            self._skip(system.name, "failed", str(error))
            return
        self.ledger.append(
            Entry(
                self.name,
                system.name,
                system.version(),
                step.round,
                step.events,
                drain,
                load,
                date,
                machine(),
            )
        )
        right = "right" if not drain.faults else f"WRONG: {drain.faults[0]}"
        self.say(
            f"{self.name}, round {step.round}: {system.name} {scenario.events:,} events in {drain.seconds:.2f} s, "
            f"{drain.cpu_seconds:.2f} s of processor, {drain.peak_mb:.0f} MB, {right}"
        )

    def _skip(self, name: str, how: str, why: str) -> None:
        self.skipped[name] = why
        self.say(f"{name} {how}: {why}")
