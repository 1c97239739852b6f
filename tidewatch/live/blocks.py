"""Numbers as text: sparklines and densities drawn with block characters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidewatch.live.shapes import Shape

BLOCKS = " ▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """Return the last ``width`` values as blocks from nothing to the largest of them."""
    last = np.asarray(values[-width:], np.float64)
    top = float(last.max(initial=0.0))
    return _blocks(last / top if top > 0 else last)


def density(shape: Shape, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of readings in each cell of ``grid``, shape (k + 1,), spread evenly inside the sketch's bins."""
    ends = np.array(shape.edges).ravel()
    counts = np.array(shape.counts, np.float64)
    after = np.cumsum(counts)
    reached = np.column_stack([after - counts, after]).ravel() / after[-1]
    # A bin of no width is a step; the tiniest widening lets one formula serve.
    ends = np.maximum.accumulate(ends + np.arange(len(ends)) * 1e-12)
    share: NDArray[np.float64] = np.diff(np.interp(grid, ends, reached, left=0.0, right=1.0))
    return share


def ridge(shape: Shape, grid: NDArray[np.float64]) -> str:
    """Return a distribution as one row of blocks, its highest cell full."""
    share = density(shape, grid)
    top = float(share.max())
    return _blocks(share / top if top > 0 else share)


def _blocks(heights: NDArray[np.float64]) -> str:
    steps = np.ceil(np.clip(heights, 0.0, 1.0) * (len(BLOCKS) - 1)).astype(int)
    return "".join(BLOCKS[step] for step in steps.tolist())
