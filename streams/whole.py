"""Sums of closed windows as whole numbers of steps of a resolution, which come to the same in whatever order they are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.sketches.fixed_point import Resolution
from streams.sketches.mapping import Floats

Integers = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Whole:
    """Sum and sum of squares of each group, in steps and squared steps: Python integers in arrays of shape (k,)."""

    resolution: Resolution
    total: Integers
    squares: Integers

    @classmethod
    def of(cls, resolution: Resolution, total: Sequence[int], squares: Sequence[int]) -> Whole:
        """Return the sums of k groups."""
        return cls(resolution, np.array(total, object), np.array(squares, object))

    def selected(self, rows: NDArray[np.intp]) -> Whole:
        """Return the sums of some groups, in the order given."""
        return Whole(self.resolution, self.total[rows], self.squares[rows])

    def added(self, at: NDArray[np.intp], size: int) -> Whole:
        """Return the sums of ``size`` groups, given which of them each row belongs to."""
        total, squares = np.full(size, 0, object), np.full(size, 0, object)
        np.add.at(total, at, self.total)
        np.add.at(squares, at, self.squares)
        return Whole(self.resolution, total, squares)

    def together(self, other: Whole) -> Whole:
        """Return the rows of both, one after the other."""
        total = np.concatenate([self.total, other.total])
        return Whole(self.resolution, total, np.concatenate([self.squares, other.squares]))

    def floats(self, count: NDArray[np.int64]) -> dict[str, Floats]:
        """Return sum, mean as ``shift``, and squares about it, as ``streams.windows.Closed`` has them, each rounded once."""
        value, square = self.resolution.value, self.resolution.square
        sums, means, squares = [], [], []
        for total, of_squares, n in zip(
            self.total.tolist(), self.squares.tolist(), count.tolist(), strict=True
        ):
            sums.append(value(total))
            means.append(sums[-1] / n)
            squares.append(square(n * of_squares - total * total) / n)
        return {
            "sum": np.array(sums, np.float64),
            "shift": np.array(means, np.float64),
            "from_shift": np.zeros(len(sums)),
            "squares": np.array(squares, np.float64),
        }
