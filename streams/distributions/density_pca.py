"""Functional principal components of densities through the log-quantile-density transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from streams.distributions.errors import GridMismatchError
from streams.distributions.estimator import Estimator
from streams.distributions.fpca import FunctionalPCA
from streams.distributions.lqd import (
    density_of_lqd,
    log_quantile_density,
    normalised,
    quantile_of_density,
    quantile_of_lqd,
    regularised,
)
from streams.distributions.moments import checked_rows

Floats = NDArray[np.float64]


class DensityPCA(Estimator):
    """Decompose densities on a grid ``x`` of shape (g,), whose ends are their common support.

    Each is scaled to integrate to one, mixed with the uniform density until its least value is ``alpha``, and mapped to its
    log quantile density on ``levels`` of shape (m,) from 0 to 1; functional PCA follows (Petersen and Müller 2016; the numbers
    agree with R's fdadensity). Scores and modes map back to densities.
    """

    def __init__(
        self,
        x: Floats,
        levels: Floats | None = None,
        n_components: int = 3,
        *,
        alpha: float = 0.01,
        resolution: float | None = None,
    ) -> None:
        self.x, self.levels, self.n_components = x, levels, n_components
        self.alpha, self.resolution = alpha, resolution

    def fit(self, X: Any, y: object = None) -> DensityPCA:  # noqa: ARG002
        """Learn from densities of shape (n, g) alone.

        Raises:
            DistributionError: a negative or infinite value, a density that is zero everywhere, or fewer than two densities.
        """
        self.curves_ = self._empty().fit(self._lqds(X))
        return self

    def partial_fit(self, X: Any, y: object = None) -> DensityPCA:  # noqa: ARG002
        """Learn from further densities of shape (n, g)."""
        if not hasattr(self, "curves_"):
            self.curves_ = self._empty()
        self.curves_.partial_fit(self._lqds(X))
        return self

    def merge(self, other: DensityPCA) -> DensityPCA:
        """Learn what another estimator with the same grids has seen."""
        if not (np.array_equal(self.x, other.x) and self.alpha == other.alpha):
            raise GridMismatchError(
                "densities on different supports or regularised differently cannot be merged"
            )
        other._require("curves_")
        if not hasattr(self, "curves_"):
            self.curves_ = self._empty()
        self.curves_.merge(other.curves_)
        return self

    def transform(self, X: Any) -> Floats:
        """Return the scores of densities, shape (n, k)."""
        self._require("curves_")
        return self.curves_.transform(self._lqds(X))

    def inverse_transform(self, scores: Any) -> Floats:
        """Return the densities, shape (n, g), that scores of shape (n, j) stand for."""
        self._require("curves_")
        return self._densities(self.curves_.inverse_transform(scores))

    def modes_of_variation(self, k: int, multiples: Sequence[float] = (-2, -1, 0, 1, 2)) -> Floats:
        """Return the densities at the given standard deviations along mode ``k`` from 0, shape (len(multiples), g)."""
        self._require("curves_")
        return self._densities(self.curves_.modes_of_variation(k, multiples))

    def score(self, X: Any, y: object = None) -> float:  # noqa: ARG002
        """Return the share of the W2 variance of densities that all modes together explain."""
        return float(self.explained(X, "wasserstein")[-1])

    def explained(self, X: Any, metric: Literal["l2", "wasserstein"] = "wasserstein") -> Floats:
        """Return the share of variance, in a metric of densities, that the first 1, 2, ... k modes explain, shape (k,)."""
        self._require("curves_")
        densities = self._regular(X)
        grid = self.x if metric == "l2" else self._levels()
        original = densities if metric == "l2" else self._quantiles(densities)
        total = _spread(original - original.mean(axis=0), grid)
        scores = self.curves_.transform(self._lqds(X))
        shares = []
        for k in range(1, scores.shape[1] + 1):
            curves = self.curves_.inverse_transform(scores[:, :k])
            fitted = self._densities(curves) if metric == "l2" else self._quantiles_of(curves)
            shares.append(1 - _spread(original - fitted, grid) / total)
        return np.array(shares)

    def _levels(self) -> Floats:
        return np.linspace(0, 1, len(self.x)) if self.levels is None else self.levels

    def _empty(self) -> FunctionalPCA:
        return FunctionalPCA(self._levels(), self.n_components, metric="step", resolution=self.resolution)

    def _regular(self, X: Any) -> Floats:
        rows = checked_rows(X, len(self.x))
        return np.array([regularised(normalised(row, self.x), self.x, self.alpha) for row in rows])

    def _lqds(self, X: Any) -> Floats:
        return np.array([log_quantile_density(row, self.x, self._levels()) for row in self._regular(X)])

    def _densities(self, curves: Floats) -> Floats:
        return np.array([density_of_lqd(curve, self._levels(), self.x) for curve in curves])

    def _quantiles(self, densities: Floats) -> Floats:
        return np.array([quantile_of_density(density, self.x, self._levels()) for density in densities])

    def _quantiles_of(self, curves: Floats) -> Floats:
        return np.array([quantile_of_lqd(curve, self._levels(), float(self.x[0])) for curve in curves])


def _spread(rows: Floats, grid: Floats) -> float:
    return float(np.trapezoid(rows**2, grid, axis=1).mean())
