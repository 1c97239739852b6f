"""E-values: evidence against no raised risk that may be looked at, and stopped on, at any time.

An e-value is the likelihood under a mixture of raised risks over that of no effect, so its expectation is 1 at any stopping
time; by Ville's inequality it ever reaches 1/alpha with probability at most alpha (Ramdas et al. 2023, Stat Sci 38:576-601).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from streams.signals.tables import Floats


def poisson_log_e(observed: ArrayLike, expected: ArrayLike, shape: float = 1.0, rate: float = 1.0) -> Floats:
    """Return log e-values of cumulative counts against their expected counts.

    The risks above 1 are weighted by a gamma distribution cut off below 1, by default an exponential one of mean 2.
    """
    n, mu = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if not ((n >= 0).all() and (mu >= 0).all()):
        raise ValueError("counts and expected counts must not be negative")
    prior = shape * np.log(rate) - special.gammaln(shape) - np.log(special.gammaincc(shape, rate))
    return np.asarray(
        mu
        + prior
        + special.gammaln(shape + n)
        - (shape + n) * np.log(rate + mu)
        + _log_upper_gamma(shape + n, rate + mu)
    )


def binomial_log_e(
    cases: ArrayLike, events: ArrayLike, ratio: float, a: float = 1.0, b: float = 1.0
) -> Floats:
    """Return log e-values of cases exposed among events; ``ratio`` as in ``binomial_llr``.

    Probabilities of exposure above the null's are weighted by a beta distribution cut off there.
    """
    k, n = np.asarray(cases, dtype=np.float64), np.asarray(events, dtype=np.float64)
    if not ((k >= 0).all() and (k <= n).all()):
        raise ValueError("cases must be between none and all of the events")
    null = 1 / (1 + ratio)
    log_null = k * np.log(null) + (n - k) * np.log1p(-null)
    mass = special.betaln(a + k, b + n - k) - special.betaln(a, b)
    with np.errstate(divide="ignore"):
        kept = np.log(special.betaincc(a + k, b + n - k, null)) - np.log(special.betaincc(a, b, null))
    return np.asarray(mass + kept - log_null)


def anytime_p(log_e: ArrayLike) -> Floats:
    """Return p-values valid at any time, 1 over the largest e-value so far along the last axis, at most 1."""
    return np.asarray(np.exp(-np.maximum(np.maximum.accumulate(np.asarray(log_e), axis=-1), 0.0)))


def _log_upper_gamma(shape: Floats, at: Floats) -> Floats:
    """Return the log of the regularised upper incomplete gamma function, by its leading term where it underflows."""
    upper = special.gammaincc(shape, at)
    with np.errstate(divide="ignore"):
        direct = np.log(upper)
    # For x far above s, Q(s, x) is about x^(s-1) e^-x / Gamma(s) * x / (x - s + 1).
    gap = np.maximum(at - shape + 1, 1.0)
    leading = shape * np.log(at) - at - special.gammaln(shape) - np.log(gap)
    return np.asarray(np.where(upper > 1e-290, direct, leading))
