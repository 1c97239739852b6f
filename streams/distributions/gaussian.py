"""W2 of Gaussians in any dimension (Bures): distance, optimal map and barycenter."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.certified import Certified
from streams.distributions.errors import (
    GridMismatchError,
    NotFiniteError,
    SingularCovarianceError,
    TooFewDistributionsError,
)
from streams.distributions.grid import Floats
from streams.distributions.quantile_function import EPS
from streams.distributions.weights import normalised


def bures_w2(mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike) -> Certified:
    """Return W2 of N(mean1, cov1) and N(mean2, cov2); covariances of shape (d, d) may be singular.

    W2^2 = |mean1 - mean2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2); Dowson and Landau 1982. The bound covers rounding.

    Raises:
        SingularCovarianceError: a covariance is not symmetric or has a negative eigenvalue.
    """
    m1, m2 = np.atleast_1d(np.asarray(mean1, np.float64)), np.atleast_1d(np.asarray(mean2, np.float64))
    c1, c2 = covariance(cov1), covariance(cov2)
    if not (m1.shape == m2.shape == c1.shape[:1] == c2.shape[:1]):
        raise GridMismatchError("means and covariances must be of one dimension")
    root = _root(c1)
    # The nuclear norm of C2^1/2 C1^1/2 is the trace of that root without squaring, which would halve the digits.
    cross = float(np.linalg.svd(_root(c2) @ root, compute_uv=False).sum())
    spread = float(np.trace(c1) + np.trace(c2))
    total = float((m1 - m2) @ (m1 - m2)) + max(spread - 2 * cross, 0.0)
    value = float(np.sqrt(total))
    slack = 32 * EPS * len(m1) * (spread + float(m1 @ m1 + m2 @ m2))
    return Certified(value, float(np.sqrt(max(total - slack, 0.0))), float(np.sqrt(total + slack)))


def gaussian_map(
    mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike
) -> tuple[Floats, Floats]:
    """Return (A, b) of the optimal map x -> A x + b from the first Gaussian, which must have full rank, to the second."""
    c1, c2 = covariance(cov1), covariance(cov2)
    values, vectors = np.linalg.eigh(c1)
    if values[0] <= EPS * len(values) * values[-1]:
        raise SingularCovarianceError(
            "the map needs a first covariance of full rank; drop collinear coordinates"
        )
    root = (vectors * np.sqrt(values)) @ vectors.T
    inverse = (vectors / np.sqrt(values)) @ vectors.T
    a = inverse @ _root(root @ c2 @ root) @ inverse
    return a, np.asarray(mean2, np.float64) - a @ np.asarray(mean1, np.float64)


def gaussian_barycenter(
    means: ArrayLike, covs: ArrayLike, weights: ArrayLike | None = None, tolerance: float = 1e-13
) -> tuple[Floats, Floats]:
    """Return mean and covariance of the W2 barycenter of Gaussians: means of shape (n, d), covariances (n, d, d).

    The covariance is the fixed point S = sum of w_i (S^1/2 C_i S^1/2)^1/2, found by the iteration of Álvarez-Esteban et al. 2016.
    """
    m = np.asarray(means, np.float64)
    c = np.stack([covariance(cov) for cov in np.asarray(covs, np.float64)]) if len(m) else np.empty((0, 1, 1))
    if not len(m):
        raise TooFewDistributionsError("a barycenter needs at least one distribution")
    w = normalised(weights, len(m))
    s = np.tensordot(w, c, 1)
    for _ in range(500):
        values, vectors = np.linalg.eigh(s)
        if values[0] <= EPS * len(values) * values[-1]:
            raise SingularCovarianceError("the barycenter needs at least one covariance of full rank")
        root, inverse = (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T
        mean_root = np.tensordot(w, np.stack([_root(root @ each @ root) for each in c]), 1)
        new = inverse @ mean_root @ mean_root @ inverse
        moved = np.abs(new - s).max()
        s = (new + new.T) / 2
        if moved <= tolerance * np.abs(s).max():
            break
    return w @ m, s


def covariance(matrix: ArrayLike) -> Floats:
    """Return a covariance of shape (d, d), checked to be symmetric and without negative eigenvalues; a number is (1, 1)."""
    c = np.atleast_2d(np.asarray(matrix, np.float64))
    if c.ndim != 2 or c.shape[0] != c.shape[1]:
        raise GridMismatchError("a covariance must be a square matrix")
    if not np.isfinite(c).all():
        raise NotFiniteError("a covariance must be finite")
    size = float(np.abs(c).max())
    if np.abs(c - c.T).max() > 1e-9 * size:
        raise SingularCovarianceError("a covariance must be symmetric")
    if np.linalg.eigvalsh(c)[0] < -1e-9 * size:
        raise SingularCovarianceError(
            "a covariance may not have negative eigenvalues; estimate it from more data or shrink it"
        )
    return (c + c.T) / 2


def _root(c: Floats) -> Floats:
    values, vectors = np.linalg.eigh((c + c.T) / 2)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
