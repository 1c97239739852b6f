"""Bins by table: the leading bits of a float64 choose a cell, and one comparison with an edge settles the bin."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streams.sketches.errors import SketchError
from streams.sketches.mapping import Floats, LogMapping

Ints = NDArray[np.int64]

# Values at a time: they and all that is computed of them fit the processor's cache, and sums over them an int64.
BLOCK = 1 << 13
_LARGEST_BITS = 10


class Room:
    """Arrays for one block of values, kept from call to call by whoever updates; not to be shared between threads."""

    def __init__(self) -> None:
        self.cell, self.code = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.int64)
        self.edge, self.above = np.empty(BLOCK), np.empty(BLOCK, np.bool_)
        self.steps, self.whole = np.empty(BLOCK), np.empty(BLOCK, np.int64)


class BinTable:
    """Gives the same bins as ``LogMapping.index`` several times faster, without logarithms.

    A cell is all floats with the same sign, exponent and leading mantissa bits. Cells are narrower than bins, so each holds at most
    one edge, and a float's bin is its cell's first bin, or the next if it is not below that edge. NaN and infinite values
    get the codes ``n_bins`` and ``n_bins + 1``, so that counting codes counts them too.
    """

    def __init__(self, mapping: LogMapping) -> None:
        edges = mapping.edges
        narrowest = float((edges[1:] / edges[:-1]).min() - 1)
        bits = max(int(np.ceil(-np.log2(narrowest))) + 1, 1)
        if bits > _LARGEST_BITS:
            raise SketchError(
                f"an accuracy of {mapping.alpha} needs tables too large for a fast update; use LogMapping.index"
            )
        self.n_codes = mapping.n_bins + 2
        self._shift = np.uint64(52 - bits)
        first = (np.arange(1 << (11 + bits), dtype=np.uint64) << self._shift).view(np.float64)
        last = (first.view(np.uint64) | ((np.uint64(1) << self._shift) - np.uint64(1))).view(np.float64)
        k, k_last = (np.searchsorted(edges, x, side="right") - 1 for x in (first, last))
        split = np.where(k_last > k, edges[np.minimum(k + 1, len(edges) - 1)], np.inf)
        n = mapping.n_side
        rising = np.where(k_last > k, np.nextafter(-split, np.inf), np.inf)
        codes = np.concatenate([n + 2 + k, n - k_last])
        splits = np.concatenate([split, rising])
        # The cells of infinity hold NaNs too: infinity itself is what is not below the edge.
        special = np.tile(~np.isfinite(first), 2)
        codes[special], splits[special] = mapping.n_bins, np.inf
        splits[len(k) + np.flatnonzero(np.isinf(first))] = -np.inf
        self._codes, self._splits = codes.astype(np.int64), splits

    def codes(self, values: Floats, room: Room | None = None) -> Ints:
        """Return the codes of at most ``BLOCK`` contiguous float64 values, in room that the next call overwrites."""
        n = len(values)
        room = room or Room()
        cell, code, edge, above = room.cell[:n], room.code[:n], room.edge[:n], room.above[:n]
        np.right_shift(values.view(np.uint64), self._shift, out=cell)
        index = cell.view(np.int64)
        self._codes.take(index, out=code, mode="clip")
        self._splits.take(index, out=edge, mode="clip")
        np.greater_equal(values, edge, out=above)
        np.add(code, above, out=code)
        return code


@lru_cache(maxsize=16)
def table_of(mapping: LogMapping) -> BinTable:
    """Return the table of a mapping, made once a process."""
    return BinTable(mapping)
