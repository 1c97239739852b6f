"""Weights of distributions, checked and scaled to sum to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.errors import GridMismatchError, NotFiniteError, TooFewDistributionsError
from streams.distributions.grid import Floats


def normalised(weights: ArrayLike | None, n: int) -> Floats:
    """Return n weights that sum to 1: equal ones, or those given.

    Raises:
        TooFewDistributionsError: there is nothing to weight, or all weights are 0.
        GridMismatchError: there are not n weights.
        NotFiniteError: a weight is negative or not finite.
    """
    if n < 1:
        raise TooFewDistributionsError("at least one distribution is needed")
    if weights is None:
        return np.full(n, 1.0 / n)
    w = np.asarray(weights, np.float64)
    if w.shape != (n,):
        raise GridMismatchError(f"{n} distributions need {n} weights, in one dimension")
    if not (np.isfinite(w).all() and (w >= 0).all()):
        raise NotFiniteError("weights must be finite and not negative")
    if not w.sum() > 0:
        raise TooFewDistributionsError("all weights are 0; at least one distribution must count")
    return np.asarray(w / w.sum())
