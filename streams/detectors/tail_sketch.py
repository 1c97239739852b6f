"""Counts in log-spaced bins with quick tail quantiles: a history of which nothing raw is kept."""

from __future__ import annotations

from bisect import insort
from typing import Any

import numpy as np

from streams.sketches.mapping import LogMapping

MAPPING = LogMapping(0.002)


class TailSketch:
    """Counts by bin of ``MAPPING``, exact extremes, and quantiles near either end in the number of bins out there."""

    def __init__(self) -> None:
        self.count = 0
        self.low, self.high = np.inf, -np.inf
        self._bins: list[int] = []
        self._counts: dict[int, int] = {}

    def add(self, code: int, value: float) -> None:
        """Count a value whose bin is known."""
        if code not in self._counts:
            insort(self._bins, code)
            self._counts[code] = 0
        self._counts[code] += 1
        self.count += 1
        self.low, self.high = min(self.low, value), max(self.high, value)

    def merge(self, other: TailSketch) -> None:
        """Add the counts of another sketch; the order of merging does not matter."""
        for code, count in other._counts.items():
            self._counts[code] = self._counts.get(code, 0) + count
        self._bins = sorted(self._counts)
        self.count += other.count
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def tails(self, share: float) -> tuple[float, float]:
        """Return the quantiles at ``share`` and 1 - share, to the relative accuracy of the mapping.

        The bin of the value with ``floor(share * (count - 1))`` values beyond it decides, so the extremes themselves for
        few values; a quantile is the edge of its bin away from the middle, and never beyond the extremes.
        """
        beyond = int(share * (self.count - 1))
        lower, upper = MAPPING.bounds
        bottom = lower[self._at(beyond, reverse=False)]
        top = upper[self._at(beyond, reverse=True)]
        return max(float(bottom), self.low), min(float(top), self.high)

    def _at(self, beyond: int, *, reverse: bool) -> int:
        passed = 0
        for code in reversed(self._bins) if reverse else self._bins:
            passed += self._counts[code]
            if passed > beyond:
                return code
        raise ValueError("an empty sketch has no quantiles")

    def state(self) -> list[Any]:
        """Return the content, the same for the same values in any order."""
        return [self.count, self.low, self.high, self._bins, [self._counts[code] for code in self._bins]]

    @classmethod
    def of(cls, state: list[Any]) -> TailSketch:
        """Return the sketch of a state."""
        sketch = cls()
        sketch.count, sketch.low, sketch.high, sketch._bins, counts = state
        sketch._counts = dict(zip(sketch._bins, counts, strict=True))
        return sketch
