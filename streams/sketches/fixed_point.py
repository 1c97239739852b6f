"""Exact sums: values in steps of a declared resolution, summed as integers, so that no order of adding matters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.sketches.errors import InfiniteValueError, SketchError
from streams.sketches.mapping import Floats

Ints = NDArray[np.int64]

LARGEST_STEPS = float(1 << 52)
_SMALL = float(1 << 24)


class Resolution:
    """Turns values into whole steps, half to even, the same for every value wherever it comes.

    A resolution that is the inverse of a whole number multiplies by that number instead of dividing, so that decimal
    values become the steps they were written as.
    """

    def __init__(self, resolution: float) -> None:
        if not (np.isfinite(resolution) and resolution > 0):
            raise SketchError("a resolution must be positive and finite")
        inverse = round(1 / resolution)
        self._factor = float(inverse) if inverse and 1 / inverse == resolution else 0.0
        self.resolution = resolution

    def steps(self, values: Floats, out: Floats | None = None) -> Floats:
        """Return values in steps, as whole float64 numbers; NaN stays NaN."""
        operation, operand = (np.multiply, self._factor) if self._factor else (np.divide, self.resolution)
        steps = operation(values, operand, out=out)
        return np.rint(steps, out=steps)

    def largest(self, least: float, most: float) -> float:
        """Return the largest number of steps of values between two, as steps rise with values.

        Raises:
            InfiniteValueError: it is beyond what sums exactly.
        """
        with np.errstate(over="ignore"):
            largest = float(np.abs(self.steps(np.array([least, most]))).max())
        if not largest <= LARGEST_STEPS:
            raise InfiniteValueError(
                "a value is infinite or has more than 2^52 steps of the resolution; leave it out or declare a coarser resolution"
            )
        return largest

    def value(self, steps: int) -> float:
        """Return a whole number of steps as a value, rounded once."""
        return steps / int(self._factor) if self._factor else float(steps) * self.resolution

    def square(self, steps: int) -> float:
        """Return a whole number of squared steps as a value."""
        return steps / int(self._factor) ** 2 if self._factor else float(steps) * self.resolution**2


def exact_sums(steps: Floats, largest: float, whole: Ints) -> tuple[int, int]:
    """Return the exact sum and sum of squares of at most 2^13 whole numbers up to ``largest``; ``whole`` is room for as many."""
    np.copyto(whole, steps, casting="unsafe")
    # At most 2^52 each: 2^11 of them could pass 2^63, but not the approximate sum's distance from it.
    total = int(whole.sum()) if largest < LARGEST_STEPS / 16 else sum(whole.tolist())
    if largest < _SMALL:
        return total, int(whole.dot(whole))
    # The integer product is exact modulo 2^64, the float one to far less than 2^63, together they are exact.
    near = float(steps.dot(steps))
    if near * 2.0**-38 > 2.0**61:
        return total, sum(step * step for step in whole.tolist())
    with np.errstate(over="ignore"):
        residue = int(whole.view(np.uint64).dot(whole.view(np.uint64)))
    approximate = int(near)
    distance = (residue - approximate) & ((1 << 64) - 1)
    return total, approximate + (distance - (1 << 64) if distance >= 1 << 63 else distance)
