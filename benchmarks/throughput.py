"""``tidewatch bench throughput``: every system drains the same topic in turn, round after round."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.drain import Bench, Drain, DrainError, Say
from benchmarks.families import Family, families
from benchmarks.figures import figures, ratios
from benchmarks.processes import cores, pin
from benchmarks.scenario import Answer, Scenario
from benchmarks.system import System


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


def chosen(names: Sequence[str], family: Family) -> list[System]:
    """Return a scenario's systems of these names, all of them for none.

    Raises UnknownSystemError.
    """
    known = family.systems()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UnknownSystemError(f"no system {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names] or list(known.values())


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Measure and return one object with machine, workload, systems, ratios and those skipped.

    Raises UnknownSystemError, and BrokerError where no local Kafka starts.
    """
    skipped, able = {}, []
    for system in chosen(plan.names, plan.family):
        reason = system.missing(say)
        if reason is None:
            able.append(system)
        else:
            skipped[system.name] = reason
            say(f"{system.name} is skipped: {reason}")
    with bench() as place:
        drains = _rounds(place, able, plan, skipped, say)
    found = {s.name: figures(s.name, s.version(), drains[s.name]) for s in able if drains.get(s.name)}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "scenario": plan.scenario,
        "workload": {"keys": plan.keys, "per_window": plan.per_window, "partitions": 4, "window_ms": 10_000},
        "systems": [msgspec.to_builtins(each) for each in found.values()],
        "ratios": ratios(found),
        "skipped": skipped,
    }


@contextmanager
def bench(**overrides: str | int) -> Iterator[Bench]:
    """Give a broker on a core of its own, and take it all away afterwards."""
    from tidewatch.broker import start_brokers

    ours, brokers = cores()
    directory = Path(tempfile.mkdtemp(prefix="tidewatch-bench-"))
    try:
        with start_brokers(1, heap_mb=768, overrides=overrides or None) as kafka:
            pin(kafka.nodes[0].pid, brokers)
            pin(os.getpid(), brokers)
            yield Bench(kafka.bootstrap, ours, brokers, directory)
    finally:
        pin(os.getpid(), sorted({*ours, *brokers}))
        shutil.rmtree(directory, ignore_errors=True)


def _rounds(
    place: Bench, able: Sequence[System], plan: Plan, skipped: dict[str, str], say: Say
) -> dict[str, list[tuple[Drain, Drain]]]:
    counted: dict[int, tuple[Scenario, Answer]] = {}
    family = plan.family
    for system in able:
        for size in (system.small, system.large):
            events = max(int(size * plan.scale), 1_000)
            if events not in counted:
                say(f"loading {events:,} events")
                scenario = family.make(events)
                place.fill(scenario)
                counted[events] = (scenario, scenario.answer())
    drains: dict[str, list[tuple[Drain, Drain]]] = {system.name: [] for system in able}
    for number in range(plan.rounds):
        for system in able:
            if system.name in skipped:
                continue
            try:
                pair = [_drain(place, system, counted, size, number, plan, say) for size in (0, 1)]
                drains[system.name].append((pair[0], pair[1]))
            except DrainError as error:
                skipped[system.name] = str(error)
                say(f"{system.name} failed: {error}")
    return drains


def _drain(
    place: Bench, system: System, counted: dict[int, tuple[Scenario, Answer]], size: int, number: int, plan: Plan, say: Say
) -> Drain:  # fmt: skip
    events = max(int((system.small, system.large)[size] * plan.scale), 1_000)
    scenario, answer = counted[events]
    label = f"{system.name}-{events}-{number}-{time.time_ns() % 1_000_000_007}"
    drain = place.drain(system, scenario, answer, label, plan.limit)
    right = "right" if not drain.faults else f"WRONG: {drain.faults[0]}"
    say(
        f"round {number + 1} of {plan.rounds}: {system.name} {events:,} events in {drain.seconds:.2f} s, "
        f"{drain.cpu_seconds:.2f} s of processor, {drain.peak_mb:.0f} MB, {right}"
    )
    return drain


def machine() -> dict[str, Any]:
    """Say what this machine is."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
    }
