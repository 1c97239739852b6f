"""Control charts of counts in time: CUSUM, Wald's Poisson SPRT and the Shewhart chart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from streams.signals.tables import Floats


@dataclass(frozen=True, slots=True)
class Baseline:
    """Mean and standard deviation of the usual counts."""

    mean: float
    sd: float

    @classmethod
    def of(cls, series: ArrayLike) -> Baseline:
        """Estimate from counts in order, the deviation from the mean moving range (Montgomery's sigma = MR / d2).

        Raises ValueError for fewer than two counts.
        """
        x = np.asarray(series, dtype=np.float64)
        if len(x) < 2:
            raise ValueError("a baseline needs at least two counts")
        # d2 of two normal values is 2 / sqrt(pi).
        return cls(float(x.mean()), float(np.abs(np.diff(x)).mean() * np.sqrt(np.pi) / 2))


def cusum(series: ArrayLike, baseline: Baseline, allowance: float = 0.5) -> Floats:
    """Return the upper CUSUM of Page 1954 in the unit of the counts; it signals above about 5 baseline deviations.

    ``allowance`` is the reference value k in deviations, half the shift that is looked for.
    """
    steps = np.asarray(series, dtype=np.float64) - baseline.mean - allowance * baseline.sd
    total = np.cumsum(steps)
    return total - np.minimum(np.minimum.accumulate(total), 0.0)


@dataclass(frozen=True, slots=True)
class Sprt:
    """Wald's sequential test of a Poisson rate against ``relative_risk`` times it, with error rates alpha and beta."""

    relative_risk: float
    alpha: float = 0.05
    beta: float = 0.2

    @property
    def upper(self) -> float:
        """Return the log-likelihood ratio that accepts the raised rate."""
        return float(np.log((1 - self.beta) / self.alpha))

    @property
    def lower(self) -> float:
        """Return the log-likelihood ratio that accepts the usual rate."""
        return float(np.log(self.beta / (1 - self.alpha)))

    def ratio(self, observed: ArrayLike, expected: ArrayLike) -> Floats:
        """Return the running log-likelihood ratios of counts with expected counts, in order along the last axis."""
        x, mu = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
        return np.cumsum(x * np.log(self.relative_risk) - mu * (self.relative_risk - 1), axis=-1)


def shewhart(series: ArrayLike, baseline: Baseline) -> Floats:
    """Return standardised departures; the first Western Electric rule signals beyond 3."""
    return (np.asarray(series, dtype=np.float64) - baseline.mean) / baseline.sd
