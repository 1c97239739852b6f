"""Frequentist measures of disproportionate reporting: PRR, ROR, chi-square and Fisher's exact test.

Rule for undefined cells: an estimate is what its formula gives in the extended reals (infinite where only
the denominator is zero, NaN for zero over zero); its limits are NaN wherever the variance needs the
reciprocal of an empty cell; NaN never signals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from streams.signals.tables import Floats, Tables


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimates with their two-sided confidence or credible limits, arrays of shape (k,)."""

    value: Floats
    lower: Floats
    upper: Floats


def prr(tables: Tables, level: float = 0.95) -> Estimate:
    """Return proportional reporting ratios with log-normal limits (Evans, Waller and Davis 2001)."""
    a, c = tables.a, tables.c
    drug, other = a + tables.b, c + tables.d
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (a / drug) / (c / other)
        variance = 1 / a - 1 / drug + 1 / c - 1 / other
    return _log_normal(ratio, variance, level)


def ror(tables: Tables, level: float = 0.95) -> Estimate:
    """Return reporting odds ratios with Woolf's limits (van Puijenbroek et al. 2002)."""
    a, b, c, d = tables.a, tables.b, tables.c, tables.d
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (a * d) / (b * c)
        variance = 1 / a + 1 / b + 1 / c + 1 / d
    return _log_normal(ratio, variance, level)


def _log_normal(ratio: Floats, variance: Floats, level: float) -> Estimate:
    variance = np.where(np.isfinite(variance) & np.isfinite(ratio) & (ratio > 0), variance, np.nan)
    factor = np.exp(special.ndtri(0.5 + level / 2) * np.sqrt(np.maximum(variance, 0.0)))
    return Estimate(ratio, ratio / factor, ratio * factor)


def chi_square(tables: Tables, *, yates: bool = True) -> Floats:
    """Return Pearson's chi-square with one degree of freedom, NaN where a margin is empty.

    With ``yates`` the continuity correction takes at most the whole difference between observed and expected,
    as R and scipy do.
    """
    drug, event, n = tables.a + tables.b, tables.a + tables.c, tables.n
    with np.errstate(divide="ignore", invalid="ignore"):
        # One pair of margins at a time: the product of all four exceeds what a double holds exactly.
        departure = np.abs(tables.a - tables.expected)
        if yates:
            departure = departure - np.minimum(0.5, departure)
        chi2 = departure * (n / drug) * (n / event) * departure * (n / (n - drug)) / (n - event)
    return np.where(np.isfinite(chi2), chi2, np.nan)


def fisher_greater(tables: Tables, *, mid_p: bool = False) -> Floats:
    """Return the one-sided p-values of Fisher's exact test, or Lancaster's mid-p."""
    law = stats.hypergeom(tables.n, tables.a + tables.b, tables.a + tables.c)
    if mid_p:
        return np.asarray(law.sf(tables.a) + 0.5 * law.pmf(tables.a), dtype=np.float64)
    return np.asarray(law.sf(tables.a - 1), dtype=np.float64)
