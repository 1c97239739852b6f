"""What the shape pipeline publishes: barycenters, sites beside them, and forecasts, as quantile vectors."""

from __future__ import annotations

import msgspec


class Barycenter(msgspec.Struct, frozen=True, kw_only=True):
    """The W2 barycenter over the sites of one family in one window ``[start, end)``, times in milliseconds.

    ``quantiles`` are at ``levels``; ``error`` bounds their W2 distance to the barycenter of the data behind the sketches.
    ``variance`` is the Fréchet variance. ``reference`` is the barycenter of earlier windows (of this hour or weekday where so
    declared), ``modes`` the leading modes of variation of the sites about it, of unit norm, with their ``eigenvalues``; both are
    empty while they are being learned. ``id`` is ``pipeline|family|start|end`` and the same after any crash.
    """

    id: str
    pipeline: str
    family: str
    labels: dict[str, str]
    start: int
    end: int
    sites: int
    count: int
    levels: list[float]
    quantiles: list[float]
    error: float
    variance: float
    reference: list[float]
    modes: list[list[float]]
    eigenvalues: list[float]


class SiteShape(msgspec.Struct, frozen=True, kw_only=True):
    """One site's distribution in one window, beside the barycenter of its family.

    ``distance`` is its W2 distance to the barycenter, known to within ``error``; ``unusual`` its distance from the sites' median
    quantile function, in standard deviations of the site's own history on a log scale (0 while it is learned); ``drift`` the score
    of its chart (an alarm at 1); ``scores`` its coordinates along the family's modes. ``id`` is ``pipeline|family|site|start|end``.
    """

    id: str
    pipeline: str
    family: str
    site: str
    labels: dict[str, str]
    start: int
    end: int
    count: int
    levels: list[float]
    quantiles: list[float]
    distance: float
    error: float
    unusual: float
    drift: float
    scores: list[float]


class ShapeForecast(msgspec.Struct, frozen=True, kw_only=True):
    """What the past of a site lets expect of its next window ``[start, end)``: a quantile vector and its band.

    Each quantile is in its band with probability ``coverage`` if the innovations are Gaussian. ``coefficients`` are those of the
    Wasserstein autoregression. ``id`` is ``pipeline|family|site|start|end``.
    """

    id: str
    pipeline: str
    family: str
    site: str
    labels: dict[str, str]
    start: int
    end: int
    levels: list[float]
    quantiles: list[float]
    lower: list[float]
    upper: list[float]
    coverage: float
    coefficients: list[float]
