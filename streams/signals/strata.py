"""Pooling over strata: expected counts, the Mantel-Haenszel odds ratio and the Cochran-Mantel-Haenszel test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from streams.signals.disproportionality import Estimate
from streams.signals.tables import Floats, Tables


def pooled(pair: NDArray[np.intp], values: Floats, pairs: int) -> Floats:
    """Return sums of stratum values by pair, for pairs numbered from 0, shape (pairs,).

    Observed and stratified expected counts (DuMouchel 1999) are such sums of ``tables.a`` and ``tables.expected``.
    """
    return np.bincount(pair, weights=values, minlength=pairs).astype(np.float64)


def mantel_haenszel(pair: NDArray[np.intp], tables: Tables, pairs: int, level: float = 0.95) -> Estimate:
    """Return common odds ratios of strata with the limits of Robins, Breslow and Greenland 1986.

    ``tables`` holds one table a pair and stratum, ``pair`` the pair of each. NaN where no stratum informs.
    """
    weight = np.divide(1.0, tables.n, out=np.zeros(len(tables)), where=tables.n > 0)
    with_, against = tables.a * tables.d * weight, tables.b * tables.c * weight
    same, cross = (tables.a + tables.d) * weight, (tables.b + tables.c) * weight
    r, s, pr, qs, mixed = (
        pooled(pair, column, pairs)
        for column in (with_, against, same * with_, cross * against, same * against + cross * with_)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = r / s
        variance = pr / (2 * r**2) + mixed / (2 * r * s) + qs / (2 * s**2)
    variance = np.where((r > 0) & (s > 0), variance, np.nan)
    factor = np.exp(special.ndtri(0.5 + level / 2) * np.sqrt(variance))
    return Estimate(ratio, ratio / factor, ratio * factor)


def cochran_mantel_haenszel(
    pair: NDArray[np.intp], tables: Tables, pairs: int, *, correct: bool = True
) -> tuple[Floats, Floats]:
    """Return the chi-square (one degree of freedom) of no association in any stratum, and its p-value."""
    n, drug, event = tables.n, tables.a + tables.b, tables.a + tables.c
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(n > 1, drug * event / n * (n - drug) / n * (n - event) / (n - 1), 0.0)
    departure = np.abs(pooled(pair, tables.a - tables.expected, pairs))
    if correct:
        departure = departure - np.minimum(0.5, departure)
    with np.errstate(divide="ignore", invalid="ignore"):
        chi2 = departure**2 / pooled(pair, variance, pairs)
    return chi2, np.asarray(special.chdtrc(1, chi2))
