"""What a test martingale bets on: tilts of the uniform density of ranks, on bins."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial import hermite_e, legendre
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]

BINS = 128
STRENGTHS = (0.2, 0.5)


@lru_cache(maxsize=1)
def tilts() -> Floats:
    """Return densities of a rank on ``BINS`` bins, each of mean one, shape (32, BINS).

    Each is an exponential tilt along a direction that a change of distribution takes: Legendre polynomials of degree 1 to 4
    (Neyman's smooth tests: location, spread, skewness, kurtosis), Hermite polynomials of degree 2 to 4 of the normal score,
    which weigh the tails more, and the score's size apart from its square: a peak and tails against shoulders at the same variance
    (Geary's 1935 test by the mean deviation). A change along one of them costs no learning of as many unknowns as there are bins.
    """
    rank = (np.arange(BINS) + 0.5) / BINS
    score = norm.ppf(rank)
    directions = [legendre.legval(2 * rank - 1, np.eye(5)[degree]) for degree in (1, 2, 3, 4)]
    directions += [hermite_e.hermeval(score, np.eye(5)[degree]) for degree in (2, 3, 4)]
    directions.append(np.abs(score) - np.polyval(np.polyfit(score**2, np.abs(score), 1), score**2))
    rows = []
    for direction in directions:
        standard = (direction - direction.mean()) / direction.std()
        for strength in STRENGTHS:
            for sign in (1, -1):
                density = np.exp(sign * strength * standard)
                rows.append(density / density.mean())
    return np.array(rows)


def variation(densities: Floats) -> Floats:
    """Return the total variation over the bins of each row, shape (n,)."""
    return np.asarray(np.abs(np.diff(densities, axis=1)).sum(axis=1))
