"""The cohort of one monitored pair: persons at risk and cases by day, which grow and shrink patient by patient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from streams.signals.accrual import NO_DELAY, ReportingDelay

Stretch = tuple[int, int]


def union(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return disjoint stretches of days, both ends included, that cover the same days, in order."""
    found: list[Stretch] = []
    for first, last in sorted(stretches):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


class Cohort(msgspec.Struct, array_like=True):
    """Sums over patients, linear, so that a patient's share can be taken back.

    ``entered`` holds by day how many more persons are at risk than the day before, ``cases`` how many cases began.
    """

    entered: dict[int, int] = {}
    cases: dict[int, int] = {}

    def add(self, at_risk: Sequence[Stretch], cases: Sequence[int], sign: int = 1) -> None:
        """Count one patient's disjoint stretches at risk and cases, or take them back with ``sign`` -1."""
        for first, last in at_risk:
            _count(self.entered, first, sign)
            _count(self.entered, last + 1, -sign)
        for day in cases:
            _count(self.cases, day, sign)

    def observed(self, until: int) -> int:
        """Return the cases up to a day, included."""
        return sum(n for day, n in self.cases.items() if day <= until)

    def person_days(self, until: int, today: int, delay: ReportingDelay = NO_DELAY) -> float:
        """Return the days at risk up to ``until``, each weighted with the share of its events that has arrived by ``today``.

        A window that has partly elapsed counts with the days that have; without delay the number is whole.
        """
        if not self.entered:
            return 0.0
        days = np.array(sorted(self.entered), dtype=np.int64)
        steps = np.array([self.entered[day] for day in days.tolist()], dtype=np.int64)
        if delay is NO_DELAY:
            return float((steps * np.maximum(until - days + 1, 0)).sum())
        every = np.arange(int(days[0]), until + 1)
        entered = np.zeros(max(len(every), 0), dtype=np.int64)
        inside = days <= until
        entered[days[inside] - days[0]] = steps[inside]
        return float(np.cumsum(entered) @ delay.by(today - every))


def _count(counts: dict[int, int], day: int, n: int) -> None:
    now = counts.get(day, 0) + n
    if now:
        counts[day] = now
    else:
        del counts[day]
