"""``tidewatch bench throughput``: every system drains the same topic in turn, round after round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from benchmarks.drain import Say
from benchmarks.families import Family, families
from benchmarks.figures import ratios, summary
from benchmarks.ledger import Ledger
from benchmarks.place import machine
from benchmarks.rounds import Rounds
from benchmarks.system import System

QUICK = ("tidewatch", "faust", "quix", "bytewax", "pathway", "kafka-streams", "flink")
"""What three rounds of can be measured in fifteen minutes."""


@dataclass(frozen=True)
class Plan:
    """What to measure; ``scale`` multiplies the sizes at which each system is measured."""

    names: Sequence[str] = ()
    rounds: int = 1
    keys: int = 1_000
    per_window: int = 100
    scale: float = 1.0
    limit: float = 240.0
    scenario: str = "plain"

    @property
    def family(self) -> Family:
        """The scenario, of any size, and its systems.

        Raises UnknownSystemError.
        """
        every = families(self.keys, self.per_window)
        if self.scenario not in every:
            raise UnknownSystemError(f"no scenario {self.scenario}; there are {', '.join(every)}")
        return every[self.scenario]


class UnknownSystemError(Exception):
    """A name that is no system's and no scenario's."""


def minutes(seconds: float) -> str:
    """Return a length of time in words, rounded up."""
    whole = math.ceil(seconds / 60)
    return f"{whole} minute{'s' if whole != 1 else ''}"


def chosen(names: Sequence[str], scenario: str, family: Family) -> list[System]:
    """Return a scenario's systems of these names; for none those that are quick enough, of other scenarios all.

    Raises UnknownSystemError.
    """
    known = family.systems()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UnknownSystemError(f"no system {', '.join(unknown)}; there are {', '.join(known)}")
    quick = QUICK if scenario == "plain" else known
    return [known[name] for name in names or quick]


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Measure and return one object with machine, workload, systems, ratios and those skipped.

    Raises UnknownSystemError, and BrokerError where no local Kafka starts.
    """
    ledger, family = Ledger(), plan.family
    rounds = Rounds(
        plan.scenario, family, chosen(plan.names, plan.scenario, family), ledger, say, plan.scale, plan.limit
    )
    every = range(1, plan.rounds + 1)
    say(f"about {minutes(rounds.seconds(every))} if nothing else is at work")
    rounds.run(every)
    found = summary(ledger.drains, plan.scenario)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "scenario": plan.scenario,
        "workload": {"keys": plan.keys, "per_window": plan.per_window, "partitions": 4, "window_ms": 10_000},
        "systems": [msgspec.to_builtins(each) for each in found.values()],
        "ratios": ratios(found),
        "skipped": rounds.skipped,
    }
