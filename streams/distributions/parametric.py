"""Distances of the Fisher information metric within parametric families, in closed form.

Convention: these are geodesic distances of the Fisher information itself (Rao 1945). For the categorical family that is 2 arccos
of the Bhattacharyya coefficient, twice what ``divergences.fisher_rao`` returns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.divergences import fisher_rao
from streams.distributions.errors import NotFiniteError


def normal_fisher_rao(mean1: float, sd1: float, mean2: float, sd2: float) -> float:
    """Return the Fisher-Rao distance of two normal distributions: sqrt(2) times a hyperbolic distance of (mean / sqrt(2), sd)."""
    _positive(sd1, sd2)
    apart = (mean1 - mean2) ** 2 / 2 + (sd1 - sd2) ** 2
    return float(2 * np.sqrt(2) * np.arcsinh(np.sqrt(apart / (4 * sd1 * sd2))))


def normal_bhattacharyya(mean1: float, sd1: float, mean2: float, sd2: float) -> float:
    """Return the Bhattacharyya coefficient of two normal distributions; its arccos is the nonparametric Fisher-Rao distance."""
    _positive(sd1, sd2)
    both = sd1 * sd1 + sd2 * sd2
    return float(np.sqrt(2 * sd1 * sd2 / both) * np.exp(-((mean1 - mean2) ** 2) / (4 * both)))


def categorical_fisher_rao(p: ArrayLike, q: ArrayLike) -> float:
    """Return 2 arccos(sum of sqrt(p q)) of two probability vectors."""
    return 2 * fisher_rao(p, q).value


def bernoulli_fisher_rao(p: float, q: float) -> float:
    """Return the distance of two success probabilities, 2 |arcsin sqrt(p) - arcsin sqrt(q)|."""
    if not (0 <= p <= 1 and 0 <= q <= 1):
        raise NotFiniteError("probabilities must be in [0, 1]")
    return float(2 * abs(np.arcsin(np.sqrt(p)) - np.arcsin(np.sqrt(q))))


def poisson_fisher_rao(mean1: float, mean2: float) -> float:
    """Return the distance of two Poisson means, 2 |sqrt(a) - sqrt(b)|."""
    if not (0 <= mean1 < np.inf and 0 <= mean2 < np.inf):
        raise NotFiniteError("Poisson means must be finite and not negative")
    return float(2 * abs(np.sqrt(mean1) - np.sqrt(mean2)))


def exponential_fisher_rao(rate1: float, rate2: float) -> float:
    """Return the distance of two exponential rates, |log(a / b)|."""
    _positive(rate1, rate2)
    return float(abs(np.log(rate1 / rate2)))


def _positive(*values: float) -> None:
    if not all(0 < value < np.inf for value in values):
        raise NotFiniteError("rates and standard deviations must be positive and finite")
