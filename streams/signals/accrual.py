"""Expected counts of a surveillance not yet complete: risk windows that are still running, and reports that come late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from streams.signals.tables import Floats


@dataclass(frozen=True, slots=True)
class ReportingDelay:
    """The share of events that have arrived by each whole day after they happened.

    Raises ValueError unless the shares rise from at least 0 to at most 1.
    """

    arrived: tuple[float, ...]

    def __post_init__(self) -> None:
        shares = np.array(self.arrived)
        if not len(shares) or shares[0] < 0 or shares[-1] > 1 or (np.diff(shares) < 0).any():
            raise ValueError("shares of arrived events must rise within [0, 1]")

    @classmethod
    def of_delays(cls, days: ArrayLike, longest: int) -> ReportingDelay:
        """Return the empirical shares of observed delays in whole days, complete by ``longest``."""
        delays = np.clip(np.asarray(days, dtype=np.int64), 0, longest)
        counts = np.bincount(delays, minlength=longest + 1)
        return cls(tuple((np.cumsum(counts) / counts.sum()).tolist()))

    @property
    def complete_after(self) -> int:
        """Return the days after which as many events have arrived as ever will."""
        return int(np.searchsorted(self.arrived, self.arrived[-1]))

    def by(self, age: ArrayLike) -> Floats:
        """Return the shares that have arrived of events of the given ages in days; none before they happen."""
        days = np.asarray(age, dtype=np.int64)
        shares = np.asarray(self.arrived)[np.clip(days, 0, len(self.arrived) - 1)]
        return np.asarray(np.where(days < 0, 0.0, shares))


NO_DELAY = ReportingDelay((1.0,))


@dataclass(frozen=True, slots=True)
class RiskWindow:
    """The days after an exposure, both included, in which an event counts; day 0 is that of the exposure."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise ValueError("a risk window needs a first day of at least 0 and a last day not before it")

    @property
    def days(self) -> int:
        """Return how many days it has."""
        return self.last - self.first + 1


def expected_by(
    exposed_on: ArrayLike,
    daily_rate: ArrayLike,
    window: RiskWindow,
    today: int,
    delay: ReportingDelay = NO_DELAY,
) -> Floats:
    """Return the events expected to be known by the end of day ``today`` for each exposure, shape (n,).

    ``daily_rate`` is the background rate of the exposed a day. Each day of the window that has passed counts with the share
    of its events that has arrived: a window half elapsed expects half, and less where reports are slow.
    """
    start = np.asarray(exposed_on, dtype=np.int64) + window.first
    elapsed = np.minimum(today - start + 1, window.days)
    # Days of age 0 .. a have arrived cumulatively: sums of the delay curve over the ages of the elapsed days.
    longest = int(max(today - start.min() + 1, 1)) if start.size else 1
    cumulative = np.concatenate([[0.0], np.cumsum(delay.by(np.arange(longest)))])
    oldest = np.clip(today - start + 1, 0, longest)
    newest = np.clip(oldest - np.maximum(elapsed, 0), 0, longest)
    return np.asarray(np.asarray(daily_rate, dtype=np.float64) * (cumulative[oldest] - cumulative[newest]))


def settled(
    exposed_on: ArrayLike, window: RiskWindow, today: int, delay: ReportingDelay
) -> np.typing.NDArray[np.bool_]:
    """Return which exposures are old enough to be complete: window over and reports in; alpha is to be spent on these alone."""
    end = np.asarray(exposed_on, dtype=np.int64) + window.last + delay.complete_after
    return np.asarray(end <= today)
