"""The mapping from values to log-spaced bins (DDSketch, Masson, Rim and Lee 2019), settled by a table of edges."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from streams.sketches.mapping_kernel import bins

# Cells of doubles with the same exponent and leading 6 bits of the mantissa: as wide as a bin or two at alpha = 0.01.
_SHIFT = 46

Codes = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LogMapping:
    """Bins whose edges grow by gamma = (1 + alpha) / (1 - alpha), for both signs, with a zero bin between.

    Codes are in ``[0, n_bins)`` and rise with the value: negative overflow, negative bins, the zero bin (|x| < min_value),
    positive bins, positive overflow. A number's leading bits only guess its bin; the edges, correctly rounded from exact decimal
    arithmetic and so the same on every platform, decide.
    """

    alpha: float = 0.01
    min_value: float = 1e-9
    max_value: float = 1e12

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 1 and 0 < self.min_value < self.max_value):
            raise ValueError("alpha must be in (0, 1) and min_value in (0, max_value)")

    @cached_property
    def edges(self) -> Floats:
        """The edges of the positive bins, ascending, shape (k + 1,)."""
        with localcontext() as context:
            context.prec = 40
            alpha = Decimal(repr(self.alpha))
            gamma = (1 + alpha) / (1 - alpha)
            edge = Decimal(repr(self.min_value))
            edges: list[float] = []
            while not edges or edges[-1] < self.max_value:
                edges.append(float(edge))
                edge *= gamma
        return np.array(edges)

    @cached_property
    def n_side(self) -> int:
        """The number of bins of one sign."""
        return len(self.edges) - 1

    @property
    def n_bins(self) -> int:
        """The number of bins in all."""
        return 2 * self.n_side + 3

    def index(self, values: Floats) -> Codes:
        """Return the bin of each value.

        Raises:
            ValueError: a value is NaN.
        """
        flat = np.ascontiguousarray(values, np.float64).reshape(-1)
        codes = np.empty(len(flat), np.int32)
        guesses, base = self._guesses
        if not bins(flat, flat.view(np.int64), self.edges, guesses, base, _SHIFT, codes):
            raise ValueError("NaN has no bin; leave such values out")
        return codes.reshape(np.shape(values))

    @cached_property
    def _guesses(self) -> tuple[Codes, int]:
        """The bin of the smallest number of each cell of doubles with the same leading bits, and the first cell's number."""
        edges = self.edges
        first, last = np.array([edges[0], edges[-1]]).view(np.int64) >> _SHIFT
        smallest = (np.arange(first, last + 1, dtype=np.int64) << _SHIFT).view(np.float64)
        guesses = np.searchsorted(edges, smallest, side="right") - 1
        guesses[0] = -1  # stands for all numbers below
        return guesses.astype(np.int32), int(first)

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Lower and upper bound of every bin, by code."""
        edges = self.edges
        lower = np.concatenate([[-np.inf], -edges[:0:-1], [-edges[0]], edges[:-1], [edges[-1]]])
        upper = np.concatenate([[-edges[-1]], -edges[-2::-1], [edges[0]], edges[1:], [np.inf]])
        return lower, upper
