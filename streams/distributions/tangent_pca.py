"""Principal components in the tangent space at the W2 barycenter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.distributions.fpca import FunctionalPCA
from streams.distributions.moments import checked_rows
from streams.distributions.monotone import Support, checked_quantiles, projected

Floats = NDArray[np.float64]


class TangentPCA(FunctionalPCA):
    """Decompose distributions, given as quantile vectors on levels of shape (m,), into barycenter, modes and scores.

    On the line the W2 log map at the barycenter is the difference of quantile functions, so this is functional PCA of
    quantile functions (Bigot, Gouet, Klein and López 2017, log-PCA); what scores map back to is projected onto the nearest
    quantile function within ``support``.
    """

    def __init__(
        self,
        levels: Floats,
        n_components: int = 3,
        *,
        support: Support | None = None,
        resolution: float | None = None,
    ) -> None:
        super().__init__(levels, n_components, resolution=resolution)
        self.levels, self.support = levels, support

    @property
    def barycenter_(self) -> Floats:
        """The W2 Fréchet mean, shape (m,)."""
        return self.mean_

    def inverse_transform(self, scores: Any) -> Floats:
        """Return the quantile vectors, shape (n, m), nearest to what scores of shape (n, j) stand for."""
        return projected(super().inverse_transform(scores), self.support)

    def projection_gap(self, scores: Any) -> Floats:
        """Return how far, in W2, each row of scores is from any distribution, shape (n,); 0 where the projection does not bind."""
        unprojected = super().inverse_transform(checked_rows(scores))
        return self.norms(unprojected - projected(unprojected, self.support))

    def norms(self, tangents: Floats) -> Floats:
        """Return the L2 norm over the levels of each row, shape (n,)."""
        return np.sqrt(np.trapezoid(tangents**2, self.levels, axis=1))

    def _checked(self, X: Any) -> Floats:
        return checked_quantiles(X, self.levels)
