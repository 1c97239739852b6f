"""Closed forms of evidence that may be watched for ever: e-values, test martingales and time-uniform bounds.

An e-process exceeds 1/alpha with probability at most alpha, over the whole of an endless stream, if nothing changes (Ville).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammaln

Floats = NDArray[np.float64]


def log_e_dirichlet_multinomial(counts: ArrayLike, null: ArrayLike, prior: ArrayLike) -> Floats:
    """Return the log Bayes factor of counts, shape (..., K), with Dirichlet ``prior`` (K,) against ``null`` probabilities (K,).

    An e-process in the counts so far (Lindon and Malek 2022).
    """
    n, a = np.asarray(counts, np.float64), np.asarray(prior, np.float64)
    marginal = gammaln(a.sum()) - gammaln((a + n).sum(axis=-1)) + (gammaln(a + n) - gammaln(a)).sum(axis=-1)
    return np.asarray(marginal - n @ np.log(np.asarray(null, np.float64)))


def log_e_beta_binomial(trials: ArrayLike, successes: ArrayLike, null: float = 0.5) -> Floats:
    """Return the log Bayes factor of successes in trials, with a uniform prior, against a success probability."""
    n, s = np.asarray(trials, np.float64), np.asarray(successes, np.float64)
    return np.asarray(betaln(1 + s, 1 + n - s) - s * np.log(null) - (n - s) * np.log1p(-null))


def normal_mixture_boundary(variance: ArrayLike, rho: float, alpha: float) -> Floats:
    """Return the two-sided bound of a sub-Gaussian sum at an intrinsic variance, uniform over time (Howard et al. 2021)."""
    v = np.asarray(variance, np.float64)
    return np.asarray(np.sqrt((v + rho) * np.log((v + rho) / (rho * alpha**2))))


def power_martingale(p_values: ArrayLike, epsilon: float) -> Floats:
    """Return the running product of epsilon p^(epsilon-1), shape (n,), for conformal p-values in (0, 1] (Vovk et al. 2003)."""
    p = np.asarray(p_values, np.float64)
    return np.asarray(np.exp(np.cumsum(np.log(epsilon) + (epsilon - 1) * np.log(p))))


def simple_mixture_martingale(p_values: ArrayLike, nodes: int = 256) -> Floats:
    """Return the power martingale integrated over epsilon in (0, 1), shape (n,), by Gauss-Legendre with ``nodes`` nodes."""
    log_p = np.cumsum(np.log(np.asarray(p_values, np.float64)))
    n = np.arange(1, len(log_p) + 1)
    points, weights = np.polynomial.legendre.leggauss(nodes)
    epsilon, weights = (points + 1) / 2, weights / 2
    logs = n[:, None] * np.log(epsilon) + (epsilon - 1) * log_p[:, None]
    return np.asarray(np.exp(logs) @ weights)


def dkw_halfwidth(n: ArrayLike, alpha: float) -> Floats:
    """Return how far an empirical CDF of ``n`` values is from the true one at most, with probability 1 - alpha (Massart 1990)."""
    return np.asarray(np.sqrt(np.log(2 / alpha) / (2 * np.asarray(n, np.float64))))


def dkw_time_uniform_halfwidth(n: ArrayLike, alpha: float) -> Floats:
    """Return the like for all sample sizes at once: 0.85 sqrt((log log(e n) + 0.8 log(1612/alpha)) / n).

    Howard and Ramdas 2022, "Sequential estimation of quantiles", Corollary 2, as quoted by others; no detector here relies on it.
    """
    t = np.asarray(n, np.float64)
    return np.asarray(0.85 * np.sqrt((np.log(np.log(np.e * t)) + 0.8 * np.log(1612 / alpha)) / t))
