"""Poisson MaxSPRT: exact critical values, power and time to signal by recursion over the counts still below the boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from streams.signals.tables import Floats

# A ratio exceeds the critical value only by more than this, so that rounding in one that equals it does not
# decide.
SLACK = 1e-10


def poisson_llr(observed: ArrayLike, expected: ArrayLike) -> Floats:
    """Return the log-likelihood ratios of counts against expected counts, 0 where no more than expected were seen.

    Kulldorff et al. 2011, Sequential Analysis 30:58-78.
    """
    n, mu = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if not (mu > 0).all():
        raise ValueError("expected counts must be positive")
    return np.asarray(np.where(n > mu, mu - n + special.xlogy(n, n / mu), 0.0))


@dataclass(frozen=True, slots=True)
class Surveillance:
    """Continuous monitoring until ``horizon`` expected events.

    The earliest signal is at ``minimum`` events and after ``delay`` expected events. Raises ValueError for a plan that cannot
    be.
    """

    horizon: float
    minimum: int = 1
    delay: float = 0.0

    def __post_init__(self) -> None:
        if not (self.horizon > 0 and self.minimum >= 1 and 0 <= self.delay < self.horizon):
            raise ValueError(
                "need a positive horizon, a minimum of at least 1 event and a delay before the horizon"
            )

    def boundary(self, critical: float) -> Floats:
        """Return for events ``minimum``, ``minimum`` + 1, ... the expected count by which each of them signals.

        The n-th event signals when the expected count is at most the n-th value; the last value is the horizon.
        """
        last = int(
            self.horizon + 10 * np.sqrt(self.horizon * (critical + 1)) + 10 * critical + self.minimum + 10
        )
        n = np.arange(self.minimum, last + 1, dtype=np.float64)
        times = -n * np.real(special.lambertw(-np.exp(-1 - critical / n)))
        kept = int(np.searchsorted(times, self.horizon)) + 1
        return np.asarray(np.clip(times[:kept], self.delay, self.horizon), np.float64)


@dataclass(frozen=True, slots=True)
class Performance:
    """Power at a relative risk, mean time to signal given one, and mean length of surveillance, in expected counts."""

    power: float
    time_to_signal: float
    length: float


def performance(plan: Surveillance, critical: float, relative_risk: float = 1.0) -> Performance:
    """Follow the counts that have not signalled along the boundary; exact but for rounding."""
    now, power, signal_time = 0.0, 0.0, 0.0
    alive = np.zeros(plan.minimum)
    alive[0] = 1.0
    for at in plan.boundary(critical).tolist():
        mean = relative_risk * (at - now)
        missing = len(alive) - np.arange(len(alive))
        reach = special.gammainc(missing, mean) if mean > 0 else np.zeros(len(alive))
        signalled = float(alive @ reach)
        power += signalled
        if at <= plan.delay:
            signal_time += at * signalled
        elif mean > 0:
            later = special.gammainc(missing + 1.0, mean)
            signal_time += now * signalled + float(alive @ (missing * later)) / relative_risk
        alive = np.append(_arrived(alive, mean), 0.0)
        now = at
    return Performance(
        power, signal_time / power if power else np.nan, signal_time + (1 - power) * plan.horizon
    )


def _arrived(alive: Floats, mean: float) -> Floats:
    """Add Poisson arrivals to the distribution of a count, keeping counts below its length."""
    if mean == 0:
        return alive
    k = np.arange(len(alive))
    steps = np.exp(special.xlogy(k, mean) - mean - special.gammaln(k + 1))
    return np.convolve(alive, steps)[: len(alive)]


def critical_value(plan: Surveillance, alpha: float = 0.05) -> float:
    """Return the critical log-likelihood ratio at which the probability of a false signal is ``alpha``.

    Raises ValueError where no boundary spends as much, because even ``minimum`` events by the horizon are rarer.
    """
    spent = special.gammainc(plan.minimum, plan.horizon)
    if not 0 < alpha < spent:
        raise ValueError(
            f"alpha {alpha:g} cannot be spent: {plan.minimum} events by then have probability {spent:.3g}"
        )
    return _solved(lambda critical: performance(plan, critical).power - alpha)


def _solved(excess: Callable[[float], float]) -> float:
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(optimize.brentq(excess, 1e-9, high, xtol=1e-11, rtol=1e-13))


def horizon_for_power(
    relative_risk: float, power: float = 0.8, alpha: float = 0.05, minimum: int = 1, tolerance: float = 1e-6
) -> tuple[float, float]:
    """Return the shortest horizon, in expected counts, that reaches a power, and its critical value."""

    def shortfall(horizon: float) -> float:
        plan = Surveillance(horizon, minimum)
        return performance(plan, critical_value(plan, alpha), relative_risk).power - power

    low = float(special.gammaincinv(minimum, alpha)) * (1 + 1e-9) + 1e-9
    high = max(1.0, 2 * low)
    while shortfall(high) < 0:
        high *= 2
    horizon = float(optimize.brentq(shortfall, low, high, xtol=tolerance))
    return horizon, critical_value(Surveillance(horizon, minimum), alpha)


@dataclass(frozen=True, slots=True)
class Looks:
    """Group-sequential monitoring: the expected counts that fall due between looks, and the minimum of events."""

    groups: tuple[float, ...]
    minimum: int = 1

    def false_alarm(self, critical: float, log_bias: float = 0.0) -> float:
        """Return the probability of a signal, a ratio above ``critical``, at the true log relative risk given."""
        alive, bias = np.ones(1), float(np.exp(log_bias))
        for group, total in zip(self.groups, np.cumsum(self.groups).tolist(), strict=True):
            reached = max(self.minimum, self._first(total, critical))
            alive = _arrived(np.append(alive, np.zeros(max(reached - len(alive), 0))), group * bias)[:reached]
        return 1 - float(alive.sum())

    def _first(self, total: float, critical: float) -> int:
        """Return the smallest count whose ratio against ``total`` expected exceeds the critical value."""
        n = int(total)
        while poisson_llr(n, total) <= critical + SLACK:
            n += 1
        return n

    def critical_value(self, alpha: float = 0.05) -> float:
        """Return the smallest attainable ratio that a signal may have to exceed to spend at most ``alpha``.

        Counts are whole, so the probability has steps and is usually a little under ``alpha``.
        """
        return smallest_ratio(self.ratios(), self.false_alarm, alpha)

    def ratios(self) -> Floats:
        """Return the attainable log-likelihood ratios, rising, up to far beyond any that alpha of 1e-6 needs."""
        totals = np.cumsum(self.groups)
        n = np.arange(self.minimum, int(totals[-1] + 20 * np.sqrt(totals[-1])) + self.minimum + 60)
        return np.unique(np.round(poisson_llr(n[:, None], totals[None, :]), 12))


def smallest_ratio(ratios: Floats, false_alarm: Callable[[float], float], alpha: float) -> float:
    """Return the smallest of the rising ``ratios`` at which a falling function is at most ``alpha``.

    Raises ValueError where even the largest is not enough.
    """
    low, high = 0, len(ratios) - 1
    if false_alarm(float(ratios[high])) > alpha:
        raise ValueError(f"alpha {alpha:g} is below that of the strictest boundary")
    while low < high:
        middle = (low + high) // 2
        if false_alarm(float(ratios[middle])) <= alpha:
            high = middle
        else:
            low = middle + 1
    return float(ratios[low])
