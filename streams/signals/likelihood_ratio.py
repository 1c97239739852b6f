"""Likelihood-ratio tests over whole tables of events by drugs: Poisson and zero-inflated Poisson."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from streams.signals.tables import Floats


def expected_table(observed: ArrayLike) -> Floats:
    """Return expected counts of a table of events (rows) by drugs (columns) under independence."""
    x = np.asarray(observed, dtype=np.float64)
    return np.asarray(x.sum(1, keepdims=True) * x.sum(0) / x.sum())


def poisson_log_lr(observed: ArrayLike, expected: ArrayLike) -> Floats:
    """Return log-likelihood ratios of raised Poisson rates, 0 where no more than expected (Huang et al. 2011).

    In a zero-inflated Poisson model the ratio is the same: a cell with a count is no structural zero, and one without is not
    raised (Chakraborty et al. 2022). The models differ in the null distribution.
    """
    n, e = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(n > e, special.xlogy(n, n / e) - (n - e), 0.0))


def structural_zeros(observed: ArrayLike, steps: int = 500) -> Floats:
    """Return the share of structural zeros of each drug by expectation-maximisation, shape (drugs,)."""
    n, e = np.asarray(observed, dtype=np.float64), expected_table(observed)
    share = (n == 0).mean(axis=0)
    for _ in range(steps):
        with np.errstate(divide="ignore", invalid="ignore"):
            belief = np.where(n == 0, share / (share + (1 - share) * np.exp(-e)), 0.0)
        share = np.nan_to_num(belief).mean(axis=0)
    return np.asarray(share)


def monte_carlo_p(
    observed: ArrayLike, rng: np.random.Generator, draws: int = 1999, zeros: Floats | None = None
) -> Floats:
    """Return p-values of all cells against the largest ratio of a table under the null, corrected for many looks.

    Counts are drawn as Poisson about the expected ones, with ``zeros`` of each drug struck out for the zero-inflated
    model; p = (1 + draws at least as large) / (1 + draws).
    """
    e = expected_table(observed)
    lr = poisson_log_lr(observed, e)
    largest = np.empty(draws)
    for i in range(draws):
        drawn = rng.poisson(e).astype(np.float64)
        if zeros is not None:
            drawn[rng.random(e.shape) < zeros] = 0
        largest[i] = poisson_log_lr(drawn, expected_table(drawn)).max()
    below = np.searchsorted(np.sort(largest), lr - 1e-12)
    return np.asarray((1 + draws - below) / (1 + draws))
