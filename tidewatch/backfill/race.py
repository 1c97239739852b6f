"""Which straggling tasks are worth a duplicate: speculative execution after LATE (Zaharia et al., OSDI 2008)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

PAYS = 2.0
"""A duplicate must be expected to take at most this part of what the straggler still needs."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A task under way: which, where, since when, and how much of it is done; times are seconds, ``now`` its latest."""

    job: str
    worker: str
    started: float
    done: int
    total: int

    def rate(self, now: float) -> float:
        """Return the records a second so far."""
        return self.done / max(now - self.started, 1e-9)

    def left(self, now: float) -> float:
        """Return the seconds that it still needs at its rate so far, infinite where it has not begun to move."""
        rest = max(self.total - self.done, 0)
        rate = self.rate(now)
        return rest / rate if rate else float("inf") if rest else 0.0


def to_race(
    running: Sequence[Attempt],
    finished_rates: Sequence[float],
    free: Collection[str],
    now: float,
    patience: float,
) -> list[tuple[str, str]]:
    """Return (job, worker) of the duplicates to start, at most one a free worker.

    A task is raced if it has run for ``patience`` seconds and a copy, at the median rate of the other tasks, would take less than
    half of what it still needs; those with most left come first. One that has a duplicate is not raced again, and a copy never
    goes to the worker that straggles.
    """
    jobs = [attempt.job for attempt in running]
    gains: list[tuple[float, Attempt]] = []
    for attempt in running:
        if jobs.count(attempt.job) > 1 or now - attempt.started < patience:
            continue
        others = [
            other.rate(now) for other in running if other is not attempt and now - other.started >= patience
        ]
        typical = median([*finished_rates, *others]) if finished_rates or others else 0.0
        if typical > 0 and attempt.left(now) > PAYS * attempt.total / typical:
            gains.append((attempt.left(now), attempt))
    chosen: list[tuple[str, str]] = []
    left = list(free)
    for _, attempt in sorted(gains, key=lambda pair: (-pair[0], pair[1].job)):
        worker = next((name for name in left if name != attempt.worker), None)
        if worker is not None:
            left.remove(worker)
            chosen.append((attempt.job, worker))
    return chosen
