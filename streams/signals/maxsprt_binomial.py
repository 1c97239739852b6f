"""Binomial MaxSPRT: exact critical values for cases among matched or self-controlled events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from streams.signals.maxsprt import SLACK
from streams.signals.maxsprt_group import smallest_critical
from streams.signals.tables import Counts, Floats


def binomial_llr(cases: ArrayLike, events: ArrayLike, ratio: float) -> Floats:
    """Return log-likelihood ratios of ``cases`` exposed among ``events``, 0 where no more than expected.

    ``ratio`` is that of unexposed to exposed time (or matched controls a case), so that the null probability of
    exposure is 1 / (1 + ratio). Kulldorff et al. 2011, Sequential Analysis 30:58-78.
    """
    k, n = np.asarray(cases, dtype=np.float64), np.asarray(events, dtype=np.float64)
    null = 1 / (1 + ratio)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(n > 0, k / n, 0.0)
        llr = special.xlogy(k, share / null) + special.xlogy(n - k, (1 - share) / (1 - null))
    return np.asarray(np.where(share > null, llr, 0.0))


@dataclass(frozen=True, slots=True)
class BinomialLooks:
    """Looks after groups of events; groups of one are continuous monitoring.

    ``ratio`` as in ``binomial_llr``; no signal before ``minimum`` cases. Raises ValueError unless all are positive.
    """

    groups: tuple[int, ...]
    ratio: float
    minimum: int = 1

    def __post_init__(self) -> None:
        if not self.groups or min(self.groups) < 1 or not self.ratio > 0 or self.minimum < 1:
            raise ValueError(
                "looks need whole groups of events, a positive ratio and a minimum of at least 1"
            )

    @classmethod
    def continuous(cls, events: int, ratio: float, minimum: int = 1) -> BinomialLooks:
        """Return looks after each of ``events`` events."""
        return cls((1,) * events, ratio, minimum)

    def boundary(self, critical: float) -> Counts:
        """Return the smallest number of cases that signals at each look, one more than the events where none does."""
        totals = np.cumsum(self.groups)
        low, high = np.zeros(len(totals), dtype=np.int64), totals + 1
        while (low < high).any():
            middle = (low + high) // 2
            reached = binomial_llr(middle, totals, self.ratio) > critical + SLACK
            high = np.where(reached & (low < high), middle, high)
            low = np.where(~reached & (low < high), middle + 1, low)
        return np.asarray(np.maximum(high, np.minimum(self.minimum, totals + 1)))

    def attained(self, critical: float) -> float:
        """Return the largest ratio that a look can show without exceeding ``critical``, 0 if none is positive."""
        below, totals = self.boundary(critical) - 1, np.cumsum(self.groups)
        ratios = binomial_llr(np.maximum(below, 0), totals, self.ratio)
        return float(np.where(below >= self.minimum, ratios, 0.0).max())

    def signal_probability(self, critical: float, log_risk: Floats) -> Floats:
        """Return the probability of a signal at each true log relative risk."""
        boundary = self.boundary(critical).tolist()
        exposed = special.expit(np.asarray(log_risk, dtype=np.float64) - np.log(self.ratio))
        return np.array([self._probability(boundary, share) for share in exposed.tolist()])

    def _probability(self, boundary: list[int], exposed: float) -> float:
        steps = {
            group: stats.binom.pmf(np.arange(group + 1), group, exposed) for group in sorted(set(self.groups))
        }
        alive = np.ones(1)
        for group, first in zip(self.groups, boundary, strict=True):
            alive = np.convolve(alive, steps[group])[:first]
        return 1 - float(alive.sum())

    def critical_value(self, alpha: float = 0.05) -> float:
        """Return the smallest attainable ratio to exceed at which false signals have at most probability ``alpha``.

        Raises ValueError where a signal could then never come, because even all events exposed are not rare enough.
        """
        no_effect = np.zeros(1)
        found = smallest_critical(
            lambda c: float(self.signal_probability(c, no_effect)[0]), self.attained, alpha
        )
        totals = np.cumsum(self.groups)
        if (self.boundary(found) > totals).all():
            raise ValueError(f"alpha {alpha:g} cannot be reached with {totals[-1]} events; plan for more")
        return found
