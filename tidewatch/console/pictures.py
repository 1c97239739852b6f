"""Distributions as the page draws them: densities of all sites of a quantity on one grid, now and before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.distributions.quantile_function import QuantileFunction
from streams.distributions.sources import of_bins
from streams.distributions.wasserstein import wasserstein
from tidewatch.live.blocks import density
from tidewatch.live.shapes import LEVELS, Shape

CELLS = 64
MAX_SITES = 24
_SCALE = 1000


Pair = tuple[Shape, Shape | None]
"""A site's distribution now and before."""


class SitePicture(msgspec.Struct, frozen=True, kw_only=True):
    """One site: densities now and before in thousandths of the highest cell, quantiles at ``LEVELS``.

    ``distance`` is the Wasserstein-1 distance between now and before in the quantity's unit, within ``bound`` of that between
    the readings themselves; both are None while there is nothing before.
    """

    site: str
    count: int
    now: tuple[int, ...]
    before: tuple[int, ...] | None
    quantiles: tuple[float, ...]
    distance: float | None
    bound: float | None


class QuantityPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A quantity of a pipeline at all sites; the grid's cells are equally wide from ``low`` to ``high``. Times are ms."""

    pipeline: str
    quantity: str
    unit: str
    start: int
    end: int
    low: float
    high: float
    levels: tuple[float, ...]
    sites: tuple[SitePicture, ...]
    more_sites: int


class Pictures:
    """Draws quantities, each again only when a shape of it is another one than before: windows close more seldom than pages ask."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[str, str], tuple[list[Pair], QuantityPicture]] = {}

    def of(self, shapes: Iterable[Pair]) -> tuple[QuantityPicture, ...]:
        """Return the pictures of all quantities, in order of (pipeline, quantity)."""
        grouped: dict[tuple[str, str], list[Pair]] = {}
        for pair in shapes:
            grouped.setdefault((pair[0].pipeline, pair[0].quantity), []).append(pair)
        for key, pairs in grouped.items():
            drawn = self._drawn.get(key)
            if drawn is None or not _same(drawn[0], pairs):
                self._drawn[key] = pairs, _quantity(pairs)
        return tuple(self._drawn[key][1] for key in sorted(grouped))


def _same(some: Sequence[Pair], others: Sequence[Pair]) -> bool:
    """Whether the very same shapes are in both; comparing their bins would cost as much as drawing them."""
    return len(some) == len(others) and all(
        a[0] is b[0] and a[1] is b[1] for a, b in zip(some, others, strict=True)
    )


def _quantity(pairs: Sequence[Pair]) -> QuantityPicture:
    shown, first = pairs[:MAX_SITES], pairs[0][0]
    everything = [shape for pair in shown for shape in pair if shape is not None]
    low = min(shape.quantiles[0] for shape in everything)
    high = max(shape.quantiles[-1] for shape in everything)
    margin = 0.06 * (high - low) or 1.0
    grid = np.linspace(low - margin, high + margin, CELLS + 1)
    return QuantityPicture(
        pipeline=first.pipeline,
        quantity=first.quantity,
        unit=first.unit,
        start=min(now.start for now, _ in shown),
        end=max(now.end for now, _ in shown),
        low=float(grid[0]),
        high=float(grid[-1]),
        levels=LEVELS,
        sites=tuple(_site(now, before, grid) for now, before in shown),
        more_sites=len(pairs) - len(shown),
    )


def _site(now: Shape, before: Shape | None, grid: NDArray[np.float64]) -> SitePicture:
    distance = None if before is None else wasserstein(_function(now), _function(before), 1.0)
    top = max(density(now, grid).max(), 0.0 if before is None else density(before, grid).max())
    return SitePicture(
        site=now.site,
        count=now.count,
        now=_heights(now, grid, top),
        before=None if before is None else _heights(before, grid, top),
        quantiles=now.quantiles,
        distance=None if distance is None else distance.value,
        bound=None if distance is None else distance.bound,
    )


def _function(shape: Shape) -> QuantileFunction:
    edges = np.array(shape.edges)
    return of_bins(edges[:, 0], edges[:, 1], shape.counts, edges[0, 0], edges[-1, 1])


def _heights(shape: Shape, grid: NDArray[np.float64], top: float) -> tuple[int, ...]:
    return tuple(np.rint(density(shape, grid) / (top or 1.0) * _SCALE).astype(int).tolist())
