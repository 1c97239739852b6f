"""Binomial MaxSPRT: exact critical values for cases among matched or self-controlled events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from streams.signals.maxsprt import SLACK, smallest_ratio
from streams.signals.tables import Floats


def binomial_llr(cases: ArrayLike, events: ArrayLike, ratio: float) -> Floats:
    """Return log-likelihood ratios of ``cases`` exposed among ``events``, 0 where no more than expected.

    ``ratio`` is that of unexposed to exposed time (or matched controls a case), so that the null probability of
    exposure is 1 / (1 + ratio).
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

    ``ratio`` as in ``binomial_llr``; no signal before ``minimum`` cases.
    """

    groups: tuple[int, ...]
    ratio: float
    minimum: int = 1

    @classmethod
    def continuous(cls, events: int, ratio: float, minimum: int = 1) -> BinomialLooks:
        """Return looks after each of ``events`` events."""
        return cls((1,) * events, ratio, minimum)

    def false_alarm(self, critical: float, log_bias: float = 0.0) -> float:
        """Return the probability of a signal, a ratio above ``critical``, at the true log relative risk given."""
        alive, total = np.ones(1), 0
        exposed = special.expit(log_bias - np.log(self.ratio))
        for group in self.groups:
            total += group
            alive = np.convolve(alive, stats.binom.pmf(np.arange(group + 1), group, exposed))
            cases = np.arange(len(alive))
            reached = (binomial_llr(cases, total, self.ratio) > critical + SLACK) & (cases >= self.minimum)
            alive = alive[: int(np.argmax(reached))] if reached.any() else alive
        return 1 - float(alive.sum())

    def critical_value(self, alpha: float = 0.05) -> float:
        """Return the smallest attainable ratio that a signal may have to exceed to spend at most ``alpha``."""
        return smallest_ratio(self.ratios(), self.false_alarm, alpha)

    def ratios(self) -> Floats:
        """Return the attainable log-likelihood ratios, rising."""
        totals = np.cumsum(self.groups)
        cases = np.arange(self.minimum, int(totals[-1]) + 1)[:, None]
        ratios = binomial_llr(np.minimum(cases, totals), totals, self.ratio)
        return np.unique(np.round(ratios[cases <= totals], 12))
