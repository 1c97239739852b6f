"""Time to onset: does a drug's distribution of days to the event differ from others, and does its hazard fall or rise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from streams.signals.tables import Floats


def kolmogorov_smirnov(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Return the two-sample statistic and its asymptotic p-value. Raises ValueError for an empty sample."""
    x, y = (np.sort(np.asarray(sample, dtype=np.float64)) for sample in (first, second))
    if not len(x) or not len(y):
        raise ValueError("both samples need at least one time")
    points = np.concatenate((x, y))
    at_x = np.searchsorted(x, points, side="right") / len(x)
    at_y = np.searchsorted(y, points, side="right") / len(y)
    d = float(np.abs(at_x - at_y).max())
    return d, float(special.kolmogorov(d * np.sqrt(len(x) * len(y) / (len(x) + len(y)))))


@dataclass(frozen=True, slots=True)
class Weibull:
    """A Weibull distribution of times with 95% limits of the shape; a shape below 1 is a hazard that falls."""

    shape: float
    scale: float
    shape_lower: float
    shape_upper: float

    @property
    def signals(self) -> bool:
        """Return whether the limits exclude a constant hazard (Cornelius et al. 2012)."""
        return self.shape_upper < 1 or self.shape_lower > 1


def fit_weibull(days: ArrayLike, zero_as: float = 0.5) -> Weibull:
    """Fit by maximum likelihood; limits are Wald's on the log scale, from the observed information.

    Times of 0 become ``zero_as``. Raises ValueError for negative times and for fewer than two distinct ones.
    """
    t = np.asarray(days, dtype=np.float64)
    if not (t >= 0).all() or len(np.unique(t)) < 2:
        raise ValueError("a Weibull fit needs two distinct times, none of them negative")
    log_t = np.log(np.where(t == 0, zero_as, t))
    centred = log_t - log_t.mean()
    log_shape = optimize.brentq(lambda u: _score(np.exp(u), centred), -8, 12, xtol=1e-13)
    shape = float(np.exp(log_shape))
    scale = float(np.exp(special.logsumexp(shape * centred) / shape - np.log(len(t)) / shape + log_t.mean()))
    # Information about the log shape once the scale is profiled out.
    w = special.softmax(shape * centred)
    spread = float(w @ centred**2 - (w @ centred) ** 2)
    reach = special.ndtri(0.975) / np.sqrt(len(t) * (1 + shape**2 * spread))
    return Weibull(shape, scale, float(shape * np.exp(-reach)), float(shape * np.exp(reach)))


def _score(shape: float, centred: Floats) -> float:
    """Return the slope of the profile likelihood in the log shape, divided by the number of times."""
    return float(1 - shape * (special.softmax(shape * centred) @ centred))
