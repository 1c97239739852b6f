"""``tidewatch bench keys``: what very many keys cost, one open window each, and how soon they are back after kill -9."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.asked import Said, asked
from benchmarks.drain import Bench, Drain, DrainError, Reader, Say
from benchmarks.oracle import Plain
from benchmarks.place import bench, machine
from benchmarks.processes import started, usage
from benchmarks.scenario import Answer
from benchmarks.system import Run, System
from benchmarks.systems import systems

KILLED_AT = 0.8
"""The share of the events after which the worker is killed."""


@dataclass(frozen=True)
class Plan:
    """``keys`` with ``per_window`` events each in one window, against ``events`` of ``few`` keys.

    A drain of ``start_up`` events, nearly all of it start-up, is taken off the others.
    """

    keys: int = 1_000_000
    few: int = 1_000
    per_window: int = 10
    events: int = 2_000_000
    start_up: int = 20_000
    cost: bool = True
    restore: bool = True
    limit: float = 240.0


@dataclass(frozen=True, slots=True)
class Return:
    """How a killed worker came back, in seconds from the start of the next one.

    ``restored`` is when all partitions were ready (the group waits for the dead member's session first), ``went_on`` when all
    had committed beyond where the dead one was (or all there is), ``reading`` how long a partition took to read and build its
    state, on average.
    """

    answered: float
    restored: float
    went_on: float
    reading: float
    peak_mb: float
    faults: list[str]


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Measure and return one object.

    Raises BrokerError where no local Kafka starts, DrainError where the worker does not finish.
    """
    system = systems()["tidewatch"]
    system.missing(say)  # compiles its loops, lest the first drain do it
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "keys": plan.keys,
        "per_window": plan.per_window,
    }
    with bench() as place:
        many = Plain(plan.keys * plan.per_window, plan.keys, plan.per_window)
        say(f"loading {many.events:,} events of {many.keys:,} keys")
        place.fill(many)
        answer = many.answer()
        if plan.cost:
            report["cost"] = _cost(place, system, plan, many, answer, say)
        if plan.restore:
            report["restore"] = asdict(_killed(place, system, many, answer, plan.limit, say))
    return report


def _cost(place: Bench, system: System, plan: Plan, many: Plain, answer: Answer, say: Say) -> dict[str, Any]:
    def drained(workload: Plain, known: Answer | None = None) -> Drain:
        label = f"keys-{workload.events}-{workload.keys}"
        drain = place.drain(system, workload, known or workload.answer(), label, plan.limit)
        say(
            f"{workload.keys:,} keys, {workload.events:,} events: {drain.seconds:.1f} s, {drain.cpu_seconds:.1f} s of processor, "
            f"{drain.peak_mb:.0f} MB, {'right' if not drain.faults else drain.faults[0]}"
        )
        return drain

    all_keys = drained(many, answer)
    few = drained(Plain(plan.events, plan.few, plan.per_window))
    start_up = drained(Plain(plan.start_up, plan.few, plan.per_window))
    each = [
        (drain.cpu_seconds - start_up.cpu_seconds) / (drain.events - start_up.events)
        for drain in (few, all_keys)
    ]
    return {
        "few_keys": plan.few,
        "few": _figures(few, start_up),
        "many": _figures(all_keys, start_up),
        "ratio": round(each[1] / each[0], 2) if each[0] > 0 else None,
    }


def _figures(drain: Drain, start_up: Drain) -> dict[str, Any]:
    more, seconds = drain.events - start_up.events, drain.seconds - start_up.seconds
    return {
        "events": drain.events,
        "cpu_us_an_event": round((drain.cpu_seconds - start_up.cpu_seconds) / more * 1e6, 3),
        "events_per_s": round(more / seconds) if seconds > 0 else None,
        "peak_mb": round(drain.peak_mb, 1),
        "checkpoint_bytes_an_event": round((drain.checkpoint_bytes or 0.0) / drain.events, 2),
        "event_loop_blocked_at_most_s": drain.longest_block,
        "faults": drain.faults,
    }


def _killed(place: Bench, system: System, workload: Plain, answer: Answer, limit: float, say: Say) -> Return:
    """Kill a worker that holds nearly everything, start the next, and let it finish."""
    source, label = place.fill(workload), f"killed-{workload.keys}"
    results = f"{source}.{label}"
    place.make_topics([results], workload.partitions)
    scratch = place.directory / label
    scratch.mkdir(parents=True)
    run = Run(place.bootstrap, source, results, workload.records_count, label, scratch)
    first, second = scratch / "first", scratch / "second"
    with started(system.command(run), place.system_cores, first) as process:
        enough = KILLED_AT * workload.events
        dead = _until(first, process, limit, lambda said: said.processed >= enough)
        process.kill()
    ends = place.ends(source, workload.partitions)
    say(f"killed after {dead.processed:,.0f} events")
    with closing(Reader(place.bootstrap, results, workload.partitions)) as reader:
        began = time.monotonic()
        with started(system.command(run), place.system_cores, second) as process:
            _until(second, process, limit, lambda _: True)
            answered = time.monotonic() - began
            said = _until(second, process, limit, lambda s: s.restored >= workload.partitions)
            restored = time.monotonic() - began
            goals = {p: min(at + 1, ends[p]) for p, at in dead.positions.items()}
            _until(second, process, limit, lambda s: _reached(s.positions, goals))
            went_on = time.monotonic() - began
            say(f"restored after {restored:.1f} s, went on after {went_on:.1f} s")
            reader.until(answer, began + limit, process, second)
            peak = usage(process).peak_mb
        faults = answer.judge(system.read, reader.values, sketch=system.sketch)
    return Return(
        answered=round(answered, 2),
        restored=round(restored, 2),
        went_on=round(went_on, 2),
        reading=round(said.restore_seconds / workload.partitions, 2),
        peak_mb=round(peak, 1),
        faults=faults,
    )


def _reached(now: dict[int, int], goals: dict[int, int]) -> bool:
    return now.keys() == goals.keys() and all(now[partition] >= goal for partition, goal in goals.items())


def _until(log: Path, process: psutil.Process, limit: float, done: Callable[[Said], bool]) -> Said:
    """Ask the worker until it says what is wanted, and return what it said. Raises DrainError."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline and process.is_running():
        said = asked(log)
        if said is not None and done(said):
            return said
        time.sleep(0.1)
    raise DrainError(f"the worker ended or took too long:\n{log.read_text(errors='replace')[-2_000:]}")
