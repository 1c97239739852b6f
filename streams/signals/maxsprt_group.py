"""Group-sequential Poisson MaxSPRT: exact critical values, power and bias, by recursion from look to look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from streams.signals.maxsprt import SLACK, Performance, poisson_llr
from streams.signals.tables import Counts, Floats


@dataclass(frozen=True, slots=True)
class Looks:
    """The expected counts that fall due between looks, and the fewest events that may signal.

    Raises ValueError unless all are positive.
    """

    groups: tuple[float, ...]
    minimum: int = 1

    def __post_init__(self) -> None:
        if not self.groups or min(self.groups) <= 0 or self.minimum < 1:
            raise ValueError("looks need positive expected counts between them and a minimum of at least 1")

    @property
    def totals(self) -> Floats:
        """Return the expected counts by each look."""
        return np.cumsum(self.groups)

    def boundary(self, critical: float) -> Counts:
        """Return the smallest count that signals at each look: a ratio above ``critical``, and at least ``minimum``."""
        n = np.maximum(_root(self.totals, critical) - 1, 0)
        while (short := poisson_llr(n, self.totals) <= critical + SLACK).any():
            n = n + short
        return np.maximum(n, self.minimum).astype(np.int64)

    def attained(self, critical: float) -> float:
        """Return the largest ratio that a look can show without exceeding ``critical``, 0 if none is positive."""
        below = np.maximum(self.boundary(critical) - 1, 0)
        return float(np.where(below >= self.minimum, poisson_llr(below, self.totals), 0.0).max())

    def signals_by_look(self, boundary: Counts, relative_risk: Floats) -> Floats:
        """Return the probability of a first signal at each look for each relative risk, shape (risks, looks)."""
        alive = [np.ones(1) for _ in relative_risk]
        found = np.empty((len(relative_risk), len(self.groups)))
        for look, (group, first) in enumerate(zip(self.groups, boundary.tolist(), strict=True)):
            for i, risk in enumerate(relative_risk.tolist()):
                before = alive[i].sum()
                alive[i] = _kept(alive[i], group * risk, first)
                found[i, look] = max(before - alive[i].sum(), 0.0)
        return found

    def signal_probability(self, critical: float, log_risk: Floats) -> Floats:
        """Return the probability of a signal at each true log relative risk."""
        return np.asarray(self.signals_by_look(self.boundary(critical), np.exp(log_risk)).sum(axis=1))

    def critical_value(self, alpha: float = 0.05) -> float:
        """Return the smallest ratio to exceed at which false signals have at most probability ``alpha``.

        Counts are whole, so the probability has steps and is usually a little under ``alpha``.
        """
        no_effect = np.zeros(1)
        return smallest_critical(
            lambda c: float(self.signal_probability(c, no_effect)[0]), self.attained, alpha
        )

    def performance(self, critical: float, relative_risk: float = 1.0) -> Performance:
        """Return power, mean time to signal given one, and mean length, in expected counts."""
        found = self.signals_by_look(self.boundary(critical), np.array([relative_risk]))[0]
        power, time = float(found.sum()), float(found @ self.totals)
        length = time + (1 - power) * float(self.totals[-1])
        return Performance(power, time / power if power else np.nan, length)


def _root(mu: Floats, critical: float) -> Floats:
    """Return about the count above ``mu`` whose ratio is ``critical``, rounded down, by Lambert's W."""
    if critical <= 0:
        return np.floor(mu)
    w = np.real(special.lambertw((critical / mu - 1) / np.e))
    # Near its branch point W is lost to rounding, and the ratio is near 1.
    return np.asarray(np.floor(np.exp(1 + np.where(np.isfinite(w), w, -1.0)) * mu))


def _kept(alive: Floats, mean: float, first: int) -> Floats:
    """Return the distribution of counts below ``first`` after Poisson arrivals."""
    k = np.arange(min(first, int(mean + 12 * np.sqrt(mean) + 40)))
    steps = np.exp(special.xlogy(k, mean) - mean - special.gammaln(k + 1))
    return np.convolve(alive, steps)[:first]


def smallest_critical(
    spent: Callable[[float], float], attained: Callable[[float], float], alpha: float, limit: float = 1e4
) -> float:
    """Return the smallest attainable ratio to exceed at which the falling function ``spent`` is at most ``alpha``.

    ``attained(c)`` is the largest attainable ratio up to c. Raises ValueError where nothing below ``limit`` is strict enough.
    """
    low, high = 0.0, 1.0
    if spent(low) <= alpha:
        return low
    while spent(high) > alpha:
        low, high = high, 2 * high
        if high > limit:
            raise ValueError(f"no critical ratio below {limit:g} spends at most {alpha:g}")
    high = attained(high)
    while high - low > 4 * SLACK:  # nearer, the middle would count as the ratio itself
        middle = (low + high) / 2
        if spent(middle) <= alpha:
            high = attained(middle)
        else:
            low = middle
    return high
