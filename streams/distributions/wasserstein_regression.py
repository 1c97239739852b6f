"""Regression with a distribution as predictor, by log maps at barycenters (Chen, Lin and Müller 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.errors import DistributionError, GridMismatchError, TooFewDistributionsError
from streams.distributions.estimator import Estimator
from streams.distributions.grid import Floats, Grid
from streams.distributions.monotone import Support, projected
from streams.distributions.predictors import inverse_covariance, predictors

Projection = Literal["isotonic", "boundary"]


@dataclass(frozen=True, eq=False)
class Tangent:
    """The barycenter, and principal directions (j, m) of the log maps there, orthonormal in L2 over the grid.

    On the line the log map at the barycenter is the difference of quantile functions.
    """

    grid: Grid
    mean: Floats
    directions: Floats
    variances: Floats

    @classmethod
    def of(cls, grid: Grid, q: Floats, components: int | None, fve: float) -> Tangent:
        """Take as many components as asked, or as explain the share ``fve`` of the Fréchet variance."""
        mean = q.mean(axis=0)
        root = np.sqrt(grid.weights)
        _, sizes, rows = np.linalg.svd((q - mean) * root, full_matrices=False)
        variances = sizes**2 / len(q)
        real = int((variances > 1e-18 * max(float(variances[0]), 1e-300)).sum())
        if components is None:
            share = np.cumsum(variances) / max(float(variances.sum()), 1e-300)
            components = int(np.searchsorted(share, fve - 1e-12)) + 1
        k = min(components, real, max(len(q) - 2, 1))
        if k < 1 or not sizes[0] > 1e-12 * float(np.abs(q * root).max()):
            raise TooFewDistributionsError(
                "all distributions are the same, so there is nothing to regress on"
            )
        return cls(grid, mean, rows[:k] / root, variances[:k])

    def scores(self, q: Floats) -> Floats:
        """Return the coordinates (n, j) of quantile vectors (n, m)."""
        return np.asarray(((q - self.mean) * self.grid.weights) @ self.directions.T)


class _OnDistributions(Estimator):
    """Linear regression on the scores of a distribution and on scalars in the columns after its quantile vector."""

    def __init__(self, grid: Grid, *, components: int | None = None, fve: float = 0.999) -> None:
        self.grid, self.components, self.fve = grid, components, fve

    def _learn(self, X: ArrayLike, response: Floats) -> None:
        q, scalars = self._split(X)
        if len(q) != len(response):
            raise GridMismatchError(
                f"{len(response)} responses need {len(response)} rows of predictors, not {len(q)}"
            )
        if len(q) < 3:
            raise TooFewDistributionsError("a regression on distributions needs at least three")
        if not 0 < self.fve <= 1:
            raise DistributionError("fve is a share of variance, in (0, 1]")
        self.tangent_ = Tangent.of(self.grid, q, self.components, self.fve)
        design = np.concatenate([self.tangent_.scores(q), scalars], axis=1)
        self.design_mean_, self.response_mean_ = design.mean(axis=0), response.mean(axis=0)
        off = design - self.design_mean_
        covariance = off.T @ off / len(q)
        scale = np.maximum(np.abs(self.design_mean_), np.sqrt(covariance.diagonal()))
        inverse = inverse_covariance(covariance, scale)
        self.coef_ = inverse @ (off.T @ (response - self.response_mean_) / len(q))
        self.n_features_in_ = len(self.grid) + scalars.shape[1]

    def _predicted(self, X: ArrayLike) -> Floats:
        self._require("coef_")
        q, scalars = self._split(X)
        design = np.concatenate([self.tangent_.scores(q), scalars], axis=1)
        if design.shape[1] != len(self.design_mean_):
            raise GridMismatchError(f"expected {self.n_features_in_} columns, a quantile vector and scalars")
        return np.asarray(self.response_mean_ + (design - self.design_mean_) @ self.coef_)

    def _split(self, X: ArrayLike) -> tuple[Floats, Floats]:
        table = np.atleast_2d(np.asarray(X, np.float64))
        m = len(self.grid)
        if table.ndim != 2 or table.shape[1] < m:
            raise GridMismatchError(f"each row needs a quantile vector of {m} values, then scalars if any")
        scalars = table[:, m:]
        return self.grid.check(table[:, :m]), predictors(scalars) if scalars.shape[1] else scalars


class ScalarOnDistribution(_OnDistributions):
    """Predict a number from a distribution and, in further columns of X, from scalars."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from X (n, m + s), quantile vectors then scalars, and numbers y (n,)."""
        response = np.asarray(y, np.float64)
        if response.ndim != 1 or not np.isfinite(response).all():
            raise GridMismatchError("responses must be one finite number for each row")
        self._learn(X, response)
        return self

    @property
    def slope_(self) -> Floats:
        """The coefficient function b over the levels: y rises by the integral of b times the change of the quantile function."""
        self._require("coef_")
        return np.asarray(self.coef_[: len(self.tangent_.directions)] @ self.tangent_.directions)

    def predict(self, X: ArrayLike) -> Floats:
        """Return the predicted numbers, shape (n,)."""
        return self._predicted(X)

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Return R2."""
        known = np.asarray(y, np.float64)
        off = known - self.predict(X)
        return 1 - float(off @ off / ((known - known.mean()) ** 2).sum())


class DistributionOnDistribution(_OnDistributions):
    """Predict a distribution from another and, in further columns of X, from scalars.

    Log maps of the response are regressed on scores of the predictor. A predicted log map may belong to no distribution;
    ``projection`` isotonic takes the nearest quantile vector, boundary shortens it until it does (Chen, Lin and Müller 2023).
    """

    def __init__(
        self,
        grid: Grid,
        response_grid: Grid | None = None,
        *,
        components: int | None = None,
        response_components: int | None = None,
        fve: float = 0.999,
        projection: Projection = "isotonic",
        support: Support | None = None,
    ) -> None:
        super().__init__(grid, components=components, fve=fve)
        self.response_grid, self.response_components = response_grid, response_components
        self.projection, self.support = projection, support

    def fit(self, X: ArrayLike, Q: ArrayLike) -> Self:
        """Learn from X (n, m + s), quantile vectors then scalars, and quantile vectors Q (n, k) of the response."""
        grid = self._grid()
        q = grid.check(Q)
        # Regressing scores of the leading components is regressing what the vectors have of them.
        if self.response_components is not None:
            tangent = Tangent.of(grid, q, self.response_components, self.fve)
            q = tangent.mean + tangent.scores(q) @ tangent.directions
        self._learn(X, q)
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Return the predicted quantile vectors, shape (n, k)."""
        lines = self._predicted(X)
        if self.projection == "boundary":
            lines = self._shortened(lines)
        return projected(lines, self.support)

    def score(self, X: ArrayLike, Q: ArrayLike) -> float:
        """Return the Fréchet R2 in W2."""
        grid = self._grid()
        q = grid.check(Q)
        off, centred = q - self.predict(X), q - q.mean(axis=0)
        return 1 - float(grid.inner(off, off).sum() / grid.inner(centred, centred).sum())

    def _grid(self) -> Grid:
        return self.grid if self.response_grid is None else self.response_grid

    def _shortened(self, lines: Floats) -> Floats:
        """Scale each log map by the largest number up to 1 that leaves the quantile vector nondecreasing."""
        steps = np.diff(self.response_mean_)
        falls = np.diff(lines - self.response_mean_, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            limits = np.where(falls < 0, steps / -falls, np.inf)
        share = np.minimum(limits.min(axis=1, initial=np.inf), 1.0)
        return np.asarray(self.response_mean_ + share[:, None] * (lines - self.response_mean_))
