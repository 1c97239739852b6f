"""Empirical calibration: what negative controls say about the systematic error of a whole analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from streams.signals.maxsprt_group import smallest_critical
from streams.signals.tables import Floats

_NODES = 96


@dataclass(frozen=True, slots=True)
class Null:
    """A normal distribution of log relative risks where there is truly no effect; none at all by default."""

    mean: float = 0.0
    sd: float = 0.0


def fit_null(log_rr: ArrayLike, se: ArrayLike) -> Null:
    """Fit the null to estimates of negative controls by maximum likelihood (Schuemie et al. 2014).

    Each estimate is normal about its own true log error, whose distribution is the null. Pairs that are not finite are
    left out. Raises ValueError for fewer than two.
    """
    x, s = np.asarray(log_rr, dtype=np.float64), np.asarray(se, dtype=np.float64)
    usable = np.isfinite(x) & np.isfinite(s) & (s > 0)
    if usable.sum() < 2:
        raise ValueError("the empirical null needs at least two negative controls")
    x, s2 = x[usable], s[usable] ** 2

    def profile(log_sd: float) -> tuple[float, float]:
        variance = s2 + np.exp(2 * log_sd)
        mean = float((x / variance).sum() / (1 / variance).sum())
        return mean, float(0.5 * (np.log(variance) + (x - mean) ** 2 / variance).sum())

    grid = np.linspace(-12, 4, 65)
    best = grid[int(np.argmin([profile(v)[1] for v in grid]))]
    found = optimize.minimize_scalar(
        lambda v: profile(v)[1], bounds=(best - 0.25, best + 0.25), method="bounded", options={"xatol": 1e-10}
    )
    return Null(profile(found.x)[0], float(np.exp(found.x)))


def calibrated_p(log_rr: ArrayLike, se: ArrayLike, null: Null | None = None) -> Floats:
    """Return two-sided p-values against the empirical null, or the traditional ones without it."""
    null = null or Null()
    z = (np.asarray(log_rr) - null.mean) / np.sqrt(np.asarray(se, dtype=np.float64) ** 2 + null.sd**2)
    return np.asarray(2 * special.ndtr(-np.abs(z)))


class SequentialPlan(Protocol):
    """Looks whose probability of a signal is known at any bias of the rate."""

    def signal_probability(self, critical: float, log_risk: Floats) -> Floats:
        """Return the probability of a signal, a ratio above ``critical``, at each true log relative risk."""

    def attained(self, critical: float) -> float:
        """Return the largest attainable ratio up to ``critical``."""


def calibrated_critical_value(plan: SequentialPlan, null: Null, alpha: float = 0.05) -> float:
    """Return the critical value that spends ``alpha`` when the log bias is drawn from the null, once for a whole surveillance.

    The probability is integrated over the null by Gauss-Hermite quadrature, so there is no Monte Carlo error. Follows
    Schuemie et al. 2022, Stat Med 41:3837-3858.
    """
    nodes, weights = np.zeros(1), np.ones(1)
    if null.sd > 0:
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        nodes, weights = nodes[np.abs(nodes) < 8], weights[np.abs(nodes) < 8] / weights.sum()
    biases = null.mean + null.sd * nodes
    return smallest_critical(
        lambda critical: float(weights @ plan.signal_probability(critical, biases)), plan.attained, alpha
    )
