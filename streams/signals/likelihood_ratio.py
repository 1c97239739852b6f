"""Likelihood-ratio tests over whole tables of events by drugs: Poisson and zero-inflated Poisson."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
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


def zero_inflation(observed: ArrayLike, steps: int = 500) -> Floats:
    """Return the share of structural zeros of each drug by expectation-maximisation, shape (drugs,)."""
    n, e = np.asarray(observed, dtype=np.float64), expected_table(observed)
    share = (n == 0).mean(axis=0)
    for _ in range(steps):
        share = _belief(n, e, share).mean(axis=0)
    return np.asarray(share)


def structural_zeros(observed: ArrayLike) -> Floats:
    """Return the probability of each cell to be a structural zero given its count, shape (events, drugs)."""
    n = np.asarray(observed, dtype=np.float64)
    return _belief(n, expected_table(n), zero_inflation(n))


def _belief(n: Floats, e: Floats, share: Floats) -> Floats:
    chance = share + (1 - share) * np.exp(-e)
    return np.divide(
        np.broadcast_to(share, n.shape), chance, out=np.zeros_like(n), where=(n == 0) & (chance > 0)
    )


def monte_carlo_p(
    observed: ArrayLike,
    rng: np.random.Generator,
    draws: int = 1999,
    zeros: Floats | None = None,
    tested: NDArray[np.bool_] | None = None,
) -> Floats:
    """Return p-values of all cells against the largest ratio of a table under the null, corrected for many looks.

    Counts are drawn as Poisson about the expected ones. For the zero-inflated model give ``structural_zeros`` as ``zeros``:
    a cell is struck out with that probability, so that cells with counts never are. ``tested`` marks the drugs looked at, such
    as all but "other"; the rest is NaN. p = (1 + draws at least as large) / (1 + draws).
    """
    e = expected_table(observed)
    looked_at = np.ones(e.shape[1], np.bool_) if tested is None else tested
    lr = np.where(looked_at, poisson_log_lr(observed, e), np.nan)
    largest = np.empty(draws)
    for i in range(draws):
        drawn = rng.poisson(e).astype(np.float64)
        if zeros is not None:
            drawn[rng.random(e.shape) < zeros] = 0
        largest[i] = poisson_log_lr(drawn, expected_table(drawn))[:, looked_at].max()
    below = np.searchsorted(np.sort(largest), lr - 1e-12)
    return np.where(looked_at, (1 + draws - below) / (1 + draws), np.nan)
