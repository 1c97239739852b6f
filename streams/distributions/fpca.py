"""Functional principal components of curves on a common grid, from additive moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.distributions.errors import GridMismatchError, NoVariationError
from streams.distributions.estimator import Estimator
from streams.distributions.moments import Moments, checked_rows
from streams.distributions.quadrature import weights_of

Floats = NDArray[np.float64]
Self = TypeVar("Self", bound="FunctionalPCA")


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Mean (m,), all positive eigenvalues in falling order, and the leading modes (k, m), of unit norm in L2."""

    mean: Floats
    eigenvalues: Floats
    modes: Floats


class FunctionalPCA(Estimator):
    """Decompose curves on a grid of shape (m,) into mean, modes of variation and scores.

    Eigenpairs of the unbiased covariance operator; integrals by the trapezoid rule. ``metric="step"`` weighs all grid
    points by the mean step in the eigenproblem, as the R package fdapace does, and needs an even grid. A mode's sign is
    such that its integral is positive. ``partial_fit`` and ``merge`` take batches and shards in any order;
    ``resolution`` makes their result the same bits (see ``Moments``).
    """

    def __init__(
        self,
        grid: Floats,
        n_components: int = 3,
        *,
        metric: Literal["trapezoid", "step"] = "trapezoid",
        resolution: float | None = None,
    ) -> None:
        self.grid, self.n_components, self.metric, self.resolution = grid, n_components, metric, resolution

    def fit(self: Self, X: Any, y: object = None) -> Self:  # noqa: ARG002
        """Learn from curves of shape (n, m) alone, forgetting earlier ones.

        Raises:
            DistributionError: another shape, NaN or infinity, or fewer than two curves.
        """
        self.moments_ = Moments(len(self.grid), self.resolution)
        self.partial_fit(X)
        self._solved()
        return self

    def partial_fit(self: Self, X: Any, y: object = None) -> Self:  # noqa: ARG002
        """Learn from further curves of shape (n, m)."""
        if not hasattr(self, "moments_"):
            self.moments_ = Moments(len(self.grid), self.resolution)
        self.moments_.update(self._checked(X))
        self._decomposition: Decomposition | None = None
        return self

    def merge(self: Self, other: FunctionalPCA) -> Self:
        """Learn what another estimator on the same grid has seen."""
        other._require("moments_")
        if not hasattr(self, "moments_"):
            self.moments_ = Moments(len(self.grid), self.resolution)
        if not np.array_equal(self.grid, other.grid):
            raise GridMismatchError("estimators on different grids cannot be merged")
        self.moments_.merge(other.moments_)
        self._decomposition = None
        return self

    @property
    def mean_(self) -> Floats:
        """The mean curve, shape (m,)."""
        return self._solved().mean

    @property
    def eigenvalues_(self) -> Floats:
        """The variances along the leading modes, shape (k,)."""
        return self._solved().eigenvalues[: self.n_components]

    @property
    def modes_(self) -> Floats:
        """The leading modes, shape (k, m)."""
        return self._solved().modes

    @property
    def explained_(self) -> Floats:
        """The share of the variance that the first 1, 2, ... k modes explain together, shape (k,)."""
        every = self._solved().eigenvalues
        return np.asarray(np.cumsum(every)[: self.n_components] / every.sum())

    def transform(self, X: Any) -> Floats:
        """Return the scores of curves, shape (n, k)."""
        weighted = self.modes_ * weights_of(self.grid)
        return np.asarray((self._checked(X) - self.mean_) @ weighted.T)

    def inverse_transform(self, scores: Any) -> Floats:
        """Return the curves, shape (n, m), of scores of shape (n, j) along the first j modes."""
        scores = checked_rows(scores)
        return np.asarray(self.mean_ + scores @ self.modes_[: scores.shape[1]])

    def score(self, X: Any, y: object = None) -> float:  # noqa: ARG002
        """Return the share of the squared distance of curves from the mean that the modes explain."""
        X = self._checked(X)
        left = X - self.inverse_transform(self.transform(X))
        weights = weights_of(self.grid)
        return float(1 - ((left**2) @ weights).sum() / (((X - self.mean_) ** 2) @ weights).sum())

    def modes_of_variation(self, k: int, multiples: Sequence[float] = (-2, -1, 0, 1, 2)) -> Floats:
        """Return the curves at the given standard deviations along mode ``k`` from 0, shape (len(multiples), m)."""
        scores = np.zeros((len(multiples), k + 1))
        scores[:, k] = np.array(multiples) * np.sqrt(self.eigenvalues_[k])
        return self.inverse_transform(scores)

    def _checked(self, X: Any) -> Floats:
        return checked_rows(X, len(self.grid))

    def _solved(self) -> Decomposition:
        self._require("moments_")
        if self._decomposition is None:
            self._decomposition = self._decompose()
        return self._decomposition

    def _decompose(self) -> Decomposition:
        weights = weights_of(self.grid)
        metric = weights
        if self.metric == "step":
            metric = np.full(len(self.grid), float(self.grid[-1] - self.grid[0]) / (len(self.grid) - 1))
        root = np.sqrt(metric)
        values, vectors = np.linalg.eigh(self.moments_.covariance() * np.outer(root, root))
        values, vectors = values[::-1], vectors[:, ::-1]
        values = values[values > self._rounding(values[0], metric.sum())]
        if not len(values):
            raise NoVariationError("all curves are equal, so that there is no variation to decompose")
        modes = (vectors[:, : min(self.n_components, len(values))] / root[:, None]).T
        modes /= np.sqrt((modes**2) @ weights)[:, None]
        return Decomposition(self.moments_.mean, values, modes * _signs(modes @ weights, modes)[:, None])

    def _rounding(self, largest: float, width: float) -> float:
        """Return what rounding alone may make of an eigenvalue that is zero."""
        eps = float(np.finfo(float).eps)
        scale = float(np.abs(self.moments_.mean).max())
        return max(largest * len(self.grid) * eps, (8 * eps * scale) ** 2 * width)


def _signs(integrals: Floats, modes: Floats) -> Floats:
    """A mode that integrates to zero but for rounding has its sign from its largest value."""
    largest = modes[np.arange(len(modes)), np.abs(modes).argmax(axis=1)]
    return np.where(np.where(np.abs(integrals) > 1e-9, integrals, largest) < 0, -1.0, 1.0)
