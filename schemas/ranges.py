"""Range partitioning: which partition a key belongs to by a table of bounds, and the table that shares a load out evenly."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.columns import Int32s


class RangeTable(msgspec.Struct, frozen=True):
    """The ranges of a topic's partitions: partition ``i`` has the keys from ``bounds[i - 1]`` up to but without ``bounds[i]``.

    Keys are compared by their UTF-8 bytes. From ``begins`` on, in milliseconds of event time, the topic has taken over from
    ``source``.

    Raises:
        ValueError: the bounds do not ascend.
    """

    topic: str
    source: str
    begins: int
    bounds: tuple[str, ...]

    def __post_init__(self) -> None:
        encoded = [bound.encode() for bound in self.bounds]
        if any(a >= b for a, b in itertools.pairwise(encoded)):
            raise ValueError("the bounds of a range table must ascend")

    @property
    def partitions(self) -> int:
        """How many partitions the table is for."""
        return len(self.bounds) + 1

    def partition(self, key: bytes) -> int:
        """Return the partition of a key."""
        return bisect_right(self.bounds, key.decode("utf-8", "replace"))

    def partition_of(self, keys: Sequence[bytes]) -> Int32s:
        """Return the partition of each key, shape (n,)."""
        return np.fromiter(map(self.partition, keys), np.int32, len(keys))


def even_bounds(weights: NDArray[np.int64], partitions: int) -> list[int]:
    """Return where to cut a row of weights so that the heaviest of the parts is as light as can be.

    ``weights``, shape (n,), are those of keys in order; part ``i`` begins at the ``i``-th index returned, for i from 1. There are
    ``partitions - 1`` cuts or, where keys are fewer than partitions, n - 1.
    """
    total = np.concatenate([[0], np.cumsum(weights)])
    n = len(weights)
    parts = min(partitions, n)
    low, high = max(int(weights.max(initial=0)), -(-int(total[-1]) // max(parts, 1))), int(total[-1])
    while low < high:
        middle = (low + high) // 2
        if len(_cuts(total, middle)) < parts:
            high = middle
        else:
            low = middle + 1
    cuts = _cuts(total, high)
    # A cut more makes no part heavier: the heaviest that can be cut is, in the middle of its weight.
    while len(cuts) < parts - 1:
        edges = [0, *cuts, n]
        sizes = [(int(total[b] - total[a]), a, b) for a, b in itertools.pairwise(edges) if b - a > 1]
        _, a, b = max(sizes)
        middle = int(np.searchsorted(total, (total[a] + total[b]) / 2))
        cuts = sorted([*cuts, min(max(middle, a + 1), b - 1)])
    return cuts


def _cuts(total: NDArray[np.int64], most: int) -> list[int]:
    """Return the fewest cuts that keep every part at or below ``most``, each part as long as can be."""
    cuts: list[int] = []
    begin, n = 0, len(total) - 1
    while True:
        begin = max(int(np.searchsorted(total, total[begin] + most, side="right")) - 1, begin + 1)
        if begin >= n:
            return cuts
        cuts.append(begin)
