"""Weighted Fréchet means on the unit sphere, where square roots of densities live under the Fisher-Rao metric."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from streams.distributions.densities import density_on
from streams.distributions.errors import DistributionError, GridMismatchError, TooFewDistributionsError
from streams.distributions.grid import Floats, Grid

_STEPS = 200


def square_roots(x: ArrayLike, densities: ArrayLike) -> Floats:
    """Return densities (n, m) on points x (m,) as unit vectors: roots of the masses that the trapezoidal rule gives each point."""
    points = np.asarray(x, np.float64)
    rows = np.atleast_2d(np.asarray(densities, np.float64))
    if not len(rows):
        raise TooFewDistributionsError("at least one density is needed")
    unit = np.stack([density_on(points, row) for row in rows])
    return normalised_rows(np.sqrt(unit * _masses(points)))


def from_square_roots(x: ArrayLike, vectors: Floats) -> Floats:
    """Return unit vectors as densities on the points x."""
    points = np.asarray(x, np.float64)
    return np.asarray(vectors**2 / _masses(points))


def normalised_rows(vectors: ArrayLike) -> Floats:
    """Return vectors (n, m) scaled to length 1."""
    rows = np.atleast_2d(np.asarray(vectors, np.float64))
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    if rows.ndim != 2 or not (np.isfinite(length).all() and (length > 0).all()):
        raise GridMismatchError("points of the sphere are finite vectors other than 0, one in each row")
    return np.asarray(rows / length)


def angles(vectors: Floats, y: Floats) -> Floats:
    """Return the great-circle distances from unit vectors (n, m) to a point, accurate also where it is close."""
    return np.asarray(2 * np.arcsin(np.minimum(np.sqrt(((vectors - y) ** 2).sum(axis=-1)) / 2, 1.0)))


def weighted_mean(vectors: Floats, weights: Floats) -> Floats:
    """Return the point y on the sphere that minimises the sum of w_i d(y, v_i)^2.

    Weights may be negative but must sum to more than 0. A Newton iteration with damping, on the sphere, from the normalised
    weighted sum; with negative weights also from the best of the vectors, and the lowest minimum counts. With weights that are
    not negative, on vectors of one orthant, it is the Karcher mean, which is unique.

    Raises:
        DistributionError: weights sum to 0 or less, so that there is no minimum to speak of.
    """
    if not weights.sum() > 0:
        raise DistributionError("weights on the sphere must sum to more than 0")
    starts = []
    centre = weights @ vectors
    size = float(np.sqrt(centre @ centre))
    if size > 1e-8 * float(np.abs(weights).sum()):
        starts.append(centre / size)
    if (weights < 0).any() or not starts:
        losses = np.array([weights @ angles(vectors, v) ** 2 for v in vectors])
        starts += [vectors[i] for i in np.argsort(losses, kind="stable")[:3]]
    found = [_descend(vectors, weights, start) for start in starts]
    return min(found, key=lambda y: float(weights @ angles(vectors, y) ** 2))


def _descend(vectors: Floats, weights: Floats, y: Floats) -> Floats:
    loss, damping = float(weights @ angles(vectors, y) ** 2), 0.0
    scale = float(np.abs(weights).sum())
    for _ in range(_STEPS):
        gradient, hessian = _derivatives(vectors, weights, y)
        # Along y itself nothing moves: giving it the scale's curvature keeps the system regular.
        fixed = np.outer(y, y) * scale
        lowest = float(np.linalg.eigvalsh(hessian + fixed)[0]) if damping else 0.0
        curved = hessian + fixed + np.eye(len(y)) * (damping + max(-lowest, 0.0))
        step = np.linalg.solve(curved, -gradient)
        moved = _along(y, step - (step @ y) * y)
        if not damping and 0 <= -gradient @ step < 1e-13 * scale:
            # Newton's step squares the error: after one this small only rounding is left.
            y = moved
            break
        new = float(weights @ angles(vectors, moved) ** 2)
        if new <= loss + 1e-15 * scale and gradient @ step < 0:
            y, loss, damping = moved, new, damping / 10 if damping > 1e-4 * scale else 0.0
        elif damping > 1e12 * scale:
            break
        else:
            damping = max(damping * 10, 1e-3 * scale)
    return np.asarray(y)


def _derivatives(vectors: Floats, weights: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return gradient and Hessian of the sum of w d^2 in the tangent space at y."""
    theta = angles(vectors, y)
    cosine = np.cos(theta)
    sine = np.sin(theta)
    close = theta < 1e-6
    ratio = np.where(close, 1 + theta * theta / 6, theta / np.where(close, 1.0, np.maximum(sine, 1e-300)))
    towards = vectors - cosine[:, None] * y
    towards -= (towards @ y)[:, None] * y
    gradient = -2 * (weights * ratio) @ towards
    directions = towards / np.where(close, 1.0, np.maximum(sine, 1e-300))[:, None]
    bend = ratio * cosine
    radial = np.where(close, 0.0, weights * (1 - bend))
    tangent = np.eye(len(y)) - np.outer(y, y)
    return gradient, 2 * ((directions.T * radial) @ directions + float(weights @ bend) * tangent)


def _along(y: Floats, tangent: Floats) -> Floats:
    length = float(np.sqrt(tangent @ tangent))
    if length == 0.0:
        return y
    # No step goes further than a quarter of the way round.
    angle = min(length, np.pi / 2)
    moved = np.cos(angle) * y + np.sin(angle) / length * tangent
    return np.asarray(moved / np.sqrt(moved @ moved))


def _masses(points: Floats) -> Floats:
    span = points[-1] - points[0]
    return np.asarray(Grid.trapezoid((points - points[0]) / span).weights * span)
