"""The information component: shrunk observed-to-expected ratios on a log2 scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from streams.signals.disproportionality import Estimate
from streams.signals.tables import Floats, Tables, by_distinct

SHRINKAGE = 0.5


def information_component(observed: ArrayLike, expected: ArrayLike, level: float = 0.95) -> Estimate:
    """Return log2((O + 1/2) / (E + 1/2)) with the limits of its gamma posterior (Norén et al. 2013).

    Always defined, also for O = 0 and E = 0.
    """
    shape = np.atleast_1d(np.asarray(observed, dtype=np.float64)) + SHRINKAGE
    log_rate = np.log2(np.atleast_1d(np.asarray(expected, dtype=np.float64)) + SHRINKAGE)
    shape, log_rate = np.broadcast_arrays(shape, log_rate)
    tail = (1 - level) / 2
    value, lower, upper = (
        by_distinct(function, shape) - log_rate
        for function in (
            np.log2,
            lambda x: np.log2(special.gammaincinv(x, tail)),
            lambda x: np.log2(special.gammainccinv(x, tail)),
        )
    )
    return Estimate(value, lower, upper)


def approximate_limits(observed: ArrayLike, expected: ArrayLike) -> tuple[Floats, Floats]:
    """Return the 95% limits of the information component by the closed approximation of Norén et al. 2013."""
    shape = np.asarray(observed, dtype=np.float64) + SHRINKAGE
    ic = np.log2(shape / (np.asarray(expected, dtype=np.float64) + SHRINKAGE))
    return ic - 3.3 * shape**-0.5 - 2 * shape**-1.5, ic + 2.4 * shape**-0.5 - 0.5 * shape**-1.5


def bcpnn(tables: Tables, level: float = 0.95) -> Estimate:
    """Return the information component of the Bayesian confidence propagation neural network.

    Beta priors as in Bate et al. 1998 with the variance of Gould 2003; limits are of the normal
    approximation.
    """
    mean, variance = bcpnn_moments(tables)
    reach = special.ndtri(0.5 + level / 2) * np.sqrt(variance)
    return Estimate(mean, mean - reach, mean + reach)


def bcpnn_moments(tables: Tables) -> tuple[Floats, Floats]:
    """Return posterior mean and variance of the information component, on the log2 scale."""
    n, drug, event = tables.n, tables.a + tables.b, tables.a + tables.c
    both = tables.a + 1
    whole = n + (n + 2) ** 2 / ((drug + 1) * (event + 1))
    terms = [(both, whole, 1), (drug + 1, n + 2, -1), (event + 1, n + 2, -1)]
    mean = sum(sign * (special.digamma(part) - special.digamma(total)) for part, total, sign in terms)
    variance = sum(special.polygamma(1, part) - special.polygamma(1, total) for part, total, _ in terms)
    return np.asarray(mean) / np.log(2), np.asarray(variance) / np.log(2) ** 2


def bcpnn_null_probability(tables: Tables) -> Floats:
    """Return the posterior probability that the relative reporting rate is at most 1."""
    mean, variance = bcpnn_moments(tables)
    return np.asarray(special.ndtr(-mean / np.sqrt(variance)), dtype=np.float64)
