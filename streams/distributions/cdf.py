"""Distances between CDFs, Kolmogorov-Smirnov and energy, with brackets for the data behind quantile functions."""

from __future__ import annotations

import numpy as np

from streams.distributions.certified import Certified
from streams.distributions.grid import Floats
from streams.distributions.quantile_function import EPS, QuantileFunction


def kolmogorov_smirnov(f: QuantileFunction, g: QuantileFunction) -> Certified:
    """Return the largest difference of the CDFs, sup |F - G|.

    The exact CDFs are bracketed by steps at the bounds of the pieces; for samples the bracket closes.
    """
    x = _knots(f, g)
    at = np.abs(_cdf(f, x, "right") - _cdf(g, x, "right")).max()
    before = np.abs(_cdf(f, x, "left") - _cdf(g, x, "left")).max()
    least, most = _gaps(f, g)
    rounding = 8 * EPS
    return _between(float(max(at, before)), float(least.max()) - rounding, float(most.max()) + rounding)


def energy(f: QuantileFunction, g: QuantileFunction) -> Certified:
    """Return the energy distance (2 * integral of (F - G)^2)^(1/2), as scipy defines it; its unit is the root of the data's."""
    x = _knots(f, g)
    left = _cdf(f, x[:-1], "right") - _cdf(g, x[:-1], "right")
    right = _cdf(f, x[1:], "left") - _cdf(g, x[1:], "left")
    widths = np.diff(x)
    value = float((left * left + left * right + right * right) / 3 @ widths)
    least, most = _gaps(f, g)
    rounding = 16 * EPS * len(x) * float(x[-1] - x[0])
    low = max(float(least[:-1] ** 2 @ widths) - rounding, 0.0)
    high = float(most[:-1] ** 2 @ widths) + rounding
    return _between(*(float(np.sqrt(2 * max(total, 0.0))) for total in (value, low, high)))


def _knots(f: QuantileFunction, g: QuantileFunction) -> Floats:
    """All points at which an estimate or a bound bends or steps."""
    return np.unique(np.concatenate([f.start, f.end, f.low, f.high, g.start, g.end, g.low, g.high]))


def _cdf(f: QuantileFunction, x: Floats, side: str) -> Floats:
    """Return the estimated CDF at x, with (right) or without (left) the mass at x."""
    points = np.stack([f.start, f.end], axis=1).ravel()
    levels = np.stack([f.breaks[:-1], f.breaks[1:]], axis=1).ravel()
    after = np.searchsorted(points, x, side="right" if side == "right" else "left")
    i, j = np.clip(after - 1, 0, None), np.clip(after, None, len(points) - 1)
    span = points[j] - points[i]
    share = np.where(span > 0, (x - points[i]) / np.where(span > 0, span, 1.0), 0.0)
    inside = levels[i] + (levels[j] - levels[i]) * np.clip(share, 0.0, 1.0)
    return np.asarray(np.where(after == 0, 0.0, np.where(after == len(points), 1.0, inside)))


def _gaps(f: QuantileFunction, g: QuantileFunction) -> tuple[Floats, Floats]:
    """Return the least and the most that |F - G| may be from each knot up to the next."""
    x = _knots(f, g)
    (f_low, f_high), (g_low, g_high) = _steps(f, x), _steps(g, x)
    least = np.maximum(np.maximum(f_low - g_high, g_low - f_high), 0.0)
    return least, np.maximum(f_high - g_low, g_high - f_low)


def _steps(f: QuantileFunction, x: Floats) -> tuple[Floats, Floats]:
    """Bound the exact CDF at x: mass surely at most x, and mass possibly so."""
    surely = f.breaks[np.searchsorted(f.high, x, side="right")]
    return surely, f.breaks[np.searchsorted(f.low, x, side="right")]


def _between(value: float, low: float, high: float) -> Certified:
    return Certified(value, max(min(low, value), 0.0), max(high, value))
