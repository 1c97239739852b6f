"""Two-sample statistics that need the samples themselves: kernel MMD, and one call to compute the usual tests of scipy."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from streams.distributions.errors import EmptyDistributionError, NotFiniteError
from streams.distributions.grid import Floats


@dataclass(frozen=True, slots=True)
class Mmd:
    """Squared maximum mean discrepancies (Gretton et al. 2012) and the kernel's bandwidth."""

    unbiased: float
    biased: float
    bandwidth: float


def mmd(a: ArrayLike, b: ArrayLike, bandwidth: float | None = None) -> Mmd:
    """Compare samples by the Gaussian kernel exp(-d^2 / (2 h^2)); h is the median distance of the pooled sample unless given."""
    x, y = _sample(a), _sample(b)
    if len(x) < 2 or len(y) < 2:
        raise EmptyDistributionError("MMD needs at least two values on each side")
    h = float(np.median(pdist(np.concatenate([x, y])[:, None]))) if bandwidth is None else bandwidth
    if not h > 0:
        raise NotFiniteError(
            "the bandwidth must be positive; more than half of the distances are 0, so give one"
        )
    kxx, kyy, kxy = (
        np.exp(-cdist(u[:, None], v[:, None], "sqeuclidean") / (2 * h * h))
        for u, v in ((x, x), (y, y), (x, y))
    )
    n, m = len(x), len(y)
    cross = 2 * float(kxy.mean())
    unbiased = (kxx.sum() - n) / (n * (n - 1)) + (kyy.sum() - m) / (m * (m - 1)) - cross
    return Mmd(float(unbiased), float(kxx.mean() + kyy.mean() - cross), h)


@dataclass(frozen=True, slots=True)
class TwoSample:
    """Statistics and p-values of the usual two-sample tests; of Anderson-Darling and G the statistics only."""

    ks: tuple[float, float]
    cramer_von_mises: tuple[float, float]
    anderson_darling: float
    epps_singleton: tuple[float, float]
    mann_whitney: tuple[float, float]
    g_test: float


def two_sample_tests(a: ArrayLike, b: ArrayLike, edges: ArrayLike, pseudocount: float = 1.0) -> TwoSample:
    """Run the tests of Kolmogorov-Smirnov (asymptotic), Cramér-von Mises, Anderson-Darling, Epps-Singleton and Mann-Whitney.

    G is the log-likelihood ratio of the counts between ``edges`` after adding the pseudocount to each.
    """
    x, y = _sample(a), _sample(b)
    ks = stats.ks_2samp(x, y, method="asymp")
    cvm = stats.cramervonmises_2samp(x, y)
    es = stats.epps_singleton_2samp(x, y)
    mwu = stats.mannwhitneyu(x, y)
    table = np.stack([np.histogram(s, np.asarray(edges, np.float64))[0] + pseudocount for s in (x, y)])
    g = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    return TwoSample(
        ks=(float(ks.statistic), float(ks.pvalue)),
        cramer_von_mises=(float(cvm.statistic), float(cvm.pvalue)),
        anderson_darling=_anderson_darling(x, y),
        epps_singleton=(float(es.statistic), float(es.pvalue)),
        mann_whitney=(float(mwu.statistic), float(mwu.pvalue)),
        g_test=float(g.statistic),
    )


def _sample(values: ArrayLike) -> Floats:
    x = np.asarray(values, np.float64).ravel()
    if not len(x):
        raise EmptyDistributionError("an empty sample cannot be compared")
    if not np.isfinite(x).all():
        raise NotFiniteError("samples must be finite; leave NaN and infinite values out")
    return x


def _anderson_darling(x: Floats, y: Floats) -> float:
    with warnings.catch_warnings():
        # Only the statistic is asked for; scipy warns that its p-value is read from a table.
        warnings.simplefilter("ignore", UserWarning)
        return float(stats.anderson_ksamp([x, y], variant="midrank").statistic)
