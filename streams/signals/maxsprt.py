"""Poisson MaxSPRT: exact critical values, power and time to signal by recursion over the counts still below the boundary."""

from __future__ import annotations

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
    with np.errstate(over="ignore"):  # an infinite ratio where next to nothing was expected is right
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

    def boundary(self, critical: float) -> tuple[int, Floats]:
        """Return the fewest events that can signal, and by which expected count they and each further one must come.

        With k the first number, the (k + i)-th event signals when it comes before the i-th value; the last value is the
        horizon. Events whose ratio falls to the critical value before the delay is over can never signal.
        """
        last = int(
            self.horizon + 10 * np.sqrt(self.horizon * (critical + 1)) + 10 * critical + self.minimum + 10
        )
        n = np.arange(self.minimum, last + 1, dtype=np.float64)
        times = -n * np.real(special.lambertw(-np.exp(-1 - critical / n)))
        skipped = 0
        if self.delay:
            skipped = int(np.count_nonzero(poisson_llr(n, self.delay) <= critical + SLACK))
        stop = int(np.searchsorted(times, self.horizon)) + 1
        return self.minimum + skipped, np.clip(times[skipped:stop], self.delay, self.horizon)


@dataclass(frozen=True, slots=True)
class Performance:
    """Power at a relative risk, mean time to signal given one, and mean length of surveillance, in expected counts."""

    power: float
    time_to_signal: float
    length: float


def performance(plan: Surveillance, critical: float, relative_risk: float = 1.0) -> Performance:
    """Follow the counts that have not signalled along the boundary; exact but for rounding."""
    now, power, signal_time = 0.0, 0.0, 0.0
    fewest, times = plan.boundary(critical)
    alive = np.zeros(fewest)
    alive[0] = 1.0
    if plan.delay:
        # The first look finds what came before it; whoever has not signalled by then starts from there.
        alive, now = arrived(alive, relative_risk * plan.delay), plan.delay
        power = 1 - float(alive.sum())
        signal_time = now * power
    for at in times.tolist():
        mean = relative_risk * (at - now)
        missing = len(alive) - np.arange(len(alive))
        reach = special.gammainc(missing, mean) if mean > 0 else np.zeros(len(alive))
        signalled = float(alive @ reach)
        power += signalled
        if mean > 0:
            later = special.gammainc(missing + 1.0, mean)
            signal_time += now * signalled + float(alive @ (missing * later)) / relative_risk
        alive = np.append(arrived(alive, mean), 0.0)
        now = at
    return Performance(
        power, signal_time / power if power else np.nan, signal_time + (1 - power) * plan.horizon
    )


def arrived(alive: Floats, mean: float) -> Floats:
    """Return the distribution of a count after Poisson arrivals, for counts below the length of the one given."""
    if mean == 0:
        return alive
    k = np.arange(min(len(alive), int(mean + 12 * np.sqrt(mean) + 40)))  # beyond, probabilities vanish
    steps = np.exp(special.xlogy(k, mean) - mean - special.gammaln(k + 1))
    return np.convolve(alive, steps)[: len(alive)]


def signal_probability(plan: Surveillance, critical: float, relative_risk: float = 1.0) -> float:
    """Return the probability of a signal, which is ``performance(...).power`` at a fraction of its cost."""
    fewest, times = plan.boundary(critical)
    alive, now = np.zeros(fewest), 0.0
    alive[0] = 1.0
    if plan.delay:
        alive, now = arrived(alive, relative_risk * plan.delay), plan.delay
    for at in times.tolist():
        alive = np.append(arrived(alive, relative_risk * (at - now)), 0.0)
        now = at
    return 1 - float(alive.sum())


def critical_value(plan: Surveillance, alpha: float = 0.05) -> float:
    """Return the smallest critical log-likelihood ratio, to exceed, at which false signals have at most probability ``alpha``.

    They have that very probability, unless the look after a delay makes it jump across ``alpha``. Raises ValueError where no
    boundary spends as much, because even ``minimum`` events by the horizon are rarer.
    """
    spent = special.gammainc(plan.minimum, plan.horizon)
    if not 0 < alpha < spent:
        raise ValueError(
            f"alpha {alpha:g} cannot be spent: {plan.minimum} events by then have probability {spent:.3g}"
        )
    high = 1.0
    while signal_probability(plan, high) > alpha:
        high *= 2
    if plan.delay:
        low, high = _between_jumps(plan, alpha, high)
        if signal_probability(plan, low) <= alpha:
            return low
    else:
        low = 1e-9
    return float(
        optimize.brentq(lambda c: signal_probability(plan, c) - alpha, low, high, xtol=1e-11, rtol=1e-13)
    )


def _between_jumps(plan: Surveillance, alpha: float, high: float) -> tuple[float, float]:
    """Return an interval that holds the solution and no jump but at its lower end, from which the probability is continuous.

    It jumps at the ratios of whole counts at the first look.
    """
    counts = np.arange(
        plan.minimum, plan.minimum + 10 + int(plan.delay + 10 * np.sqrt(plan.delay * (high + 1)) + 10 * high)
    )
    jumps = np.unique(poisson_llr(counts, plan.delay))
    jumps = jumps[jumps < high]
    # Ratios count as exceeded only beyond SLACK, so just below a jump its count still signals.
    below = int(
        np.count_nonzero([signal_probability(plan, max(jump - 3 * SLACK, 1e-9)) > alpha for jump in jumps])
    )
    low = float(jumps[below - 1]) if below else 1e-9
    return low, float(jumps[below]) - 3 * SLACK if below < len(jumps) else high


def horizon_for_power(
    relative_risk: float, power: float = 0.8, alpha: float = 0.05, minimum: int = 1, tolerance: float = 1e-6
) -> tuple[float, float]:
    """Return the shortest horizon, in expected counts, that reaches a power, and its critical value."""

    def shortfall(horizon: float) -> float:
        plan = Surveillance(horizon, minimum)
        return signal_probability(plan, critical_value(plan, alpha), relative_risk) - power

    low = float(special.gammaincinv(minimum, alpha)) * (1 + 1e-9) + 1e-9
    high = max(1.0, 2 * low)
    while shortfall(high) < 0:
        high *= 2
    horizon = float(optimize.brentq(shortfall, low, high, xtol=tolerance))
    return horizon, critical_value(Surveillance(horizon, minimum), alpha)
