"""Wasserstein F tests: weighted sums of chi-square variables and their tails (Petersen, Liu and Divani 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, stats

from streams.distributions.grid import Floats, Grid

HilbertSchmidt = Literal["grid", "right"]


@dataclass(frozen=True, slots=True)
class FTest:
    """A test that some predictors explain nothing.

    ``statistic`` is the sum of squared W2 distances that they add; under the null it is asymptotically a sum of eigenvalues times
    chi-square variables with as many degrees of freedom as predictors are tested. ``f`` and ``df`` are Satterthwaite's scaled
    statistic and its degrees of freedom; ``mixture_p`` is the tail of the sum itself by a saddlepoint approximation.
    """

    statistic: float
    f: float
    df: float
    p_value: float
    mixture_p: float
    eigenvalues: tuple[float, ...]


def wasserstein_f_test(
    statistic: float,
    tested: int,
    residual: Floats,
    grid: Grid,
    n: float,
    norm: HilbertSchmidt = "grid",
) -> FTest:
    """Test a sum of squares against the residual covariance (m, m) with denominator n, which is taken to n - 1.

    ``norm`` says how its Hilbert-Schmidt norm is integrated: by the grid's weights, or by the right-endpoint rule of WRI.
    """
    c = residual * (n / (n - 1))
    w = grid.weights
    trace = float(c.diagonal() @ w)
    if norm == "right":
        steps = np.diff(grid.levels)
        squared = float(steps @ (c[1:, 1:] ** 2) @ steps)
    else:
        squared = float(w @ (c * c) @ w)
    scale = squared / trace if trace > 0 else 0.0
    if not scale > 0:
        p = 1.0 if statistic <= 0 else 0.0
        return FTest(statistic, np.inf if statistic > 0 else 0.0, float(tested), p, p, ())
    df = tested * trace / scale
    root = np.sqrt(w)
    eigenvalues = np.linalg.eigvalsh(root[:, None] * c * root)[::-1]
    eigenvalues = eigenvalues[eigenvalues > 1e-12 * eigenvalues[0]]
    f = statistic / scale
    return FTest(
        statistic=statistic,
        f=f,
        df=df,
        p_value=float(stats.chi2.sf(f, df)),
        mixture_p=chi_square_mixture_tail(statistic, eigenvalues, tested),
        eigenvalues=tuple(eigenvalues.tolist()),
    )


def chi_square_mixture_tail(x: float, coefficients: Floats, df: int) -> float:
    """Return P(sum of c_j chi2_df > x) for positive c: Lugannani and Rice's saddlepoint approximation (Kuonen 1999).

    With one distinct coefficient the tail is exact.
    """
    c = np.asarray(coefficients, np.float64)
    if x <= 0:
        return 1.0
    if np.ptp(c) <= 1e-12 * c.max():
        return float(stats.chi2.sf(x / c.max(), df * len(c)))
    mean = df * float(c.sum())
    if abs(x - mean) < 1e-6 * mean:
        # The formula is 0/0 at the mean; it is smooth through it.
        return (
            chi_square_mixture_tail(x * (1 - 4e-6), c, df) + chi_square_mixture_tail(x * (1 + 4e-6), c, df)
        ) / 2

    def slope(t: float) -> float:
        return float(df * (c / (1 - 2 * t * c)).sum() - x)

    edge = 1 / (2 * float(c.max()))
    low = -df * len(c) / (2 * x)
    t = optimize.brentq(slope, low * (1 + 1e-9), edge * (1 - 1e-12), xtol=1e-14 * edge, rtol=8.9e-16)
    cumulant = -df / 2 * float(np.log1p(-2 * t * c).sum())
    curvature = 2 * df * float((c * c / (1 - 2 * t * c) ** 2).sum())
    w = np.sign(t) * np.sqrt(max(2 * (t * x - cumulant), 0.0))
    v = t * np.sqrt(curvature)
    return float(min(max(stats.norm.sf(w + np.log(v / w) / w), 0.0), 1.0))
