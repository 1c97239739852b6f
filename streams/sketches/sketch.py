"""The linear sketch of one key: integer counts over bins, with exact count, extremes and moments beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.sketches.collapse import collapsed_alpha, folded_bounds, folding, sides
from streams.sketches.errors import EmptySketchError, MappingMismatchError, NeverAddedError, SketchError
from streams.sketches.fixed_point import exact_sums
from streams.sketches.lookup import BLOCK, Room
from streams.sketches.mapping import Floats
from streams.sketches.scheme import Scheme

Ints = NDArray[np.int64]
Method = Literal["linear", "midpoint"]


@dataclass(frozen=True, eq=False)
class Quantiles:
    """Quantile estimates, between what the exact ones lie, and the worst relative error that the method allows."""

    values: Floats
    lower: Floats
    upper: Floats
    worst_case: float


class Sketch:
    """Counts of signed values in log-spaced bins with a zero bin; sketches of the same scheme add and subtract as integers.

    NaN is counted aside as missing. Sum and sum of squares are exact for values rounded to the scheme's resolution, so merging in
    any order gives the same bits. With a ``budget`` of bins, as long-lived sketches need, bins are joined in pairs when more than
    that many are in use; ``alpha`` says what accuracy is left.
    """

    def __init__(self, scheme: Scheme | None = None, budget: int | None = None) -> None:
        if budget is not None and budget < 8:
            raise SketchError("a budget needs at least 8 bins")
        self.scheme = scheme or Scheme()
        self.budget = budget
        self.level = 0
        self.counts = np.zeros(self.scheme.mapping.n_bins, np.int64)
        self.missing = 0
        self.minimum, self.maximum = np.inf, -np.inf
        self.exact_range = True
        self.sum_steps = self.square_steps = 0
        self._room: Room | None = None

    # --- what it knows

    @property
    def count(self) -> int:
        """The number of values, NaN apart."""
        return int(self.counts.sum())

    @property
    def alpha(self) -> float:
        """The relative accuracy, after collapses."""
        return collapsed_alpha(self.scheme.alpha, self.level)

    @property
    def sum(self) -> float:
        """The sum of all values, each rounded to the resolution."""
        return self.scheme.steps.value(self.sum_steps)

    @property
    def mean(self) -> float:
        """The mean of the rounded values."""
        return self.scheme.steps.value(self.sum_steps) / self._required()

    @property
    def variance(self) -> float:
        """The population variance of the rounded values, from exact sums and so without cancellation."""
        n = self._required()
        return self.scheme.steps.square(n * self.square_steps - self.sum_steps**2) / n / n

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """Lower and upper bound of every bin, by code."""
        return folded_bounds(self.scheme.mapping, self.level)

    @property
    def rows(self) -> tuple[Ints, Ints]:
        """The codes in use, ascending, and their counts."""
        codes = np.flatnonzero(self.counts)
        return codes, self.counts[codes]

    def quantiles(self, levels: ArrayLike, method: Method = "linear") -> Quantiles:
        """Return quantiles (the inverse CDF) at levels in [0, 1] with bounds that certainly hold.

        ``linear`` interpolates inside bins: nearer on average, but a single one may be off by gamma - 1 = 2 alpha / (1 - alpha)
        of its size. ``midpoint`` is DDSketch's point of each bin, off by at most alpha; ``worst_case`` says which holds. Both are
        cut to the minimum and maximum.

        Raises:
            EmptySketchError: there are no values.
        """
        p = np.asarray(levels, np.float64)
        if not ((p >= 0) & (p <= 1)).all():
            raise SketchError("levels must be in [0, 1]")
        n = self._required()
        codes, counts = self.rows
        total = np.cumsum(counts)
        # The smallest rank k with k / n >= p, as floats compare.
        rank = np.clip(np.ceil(p * n), 1, n).astype(np.int64)
        rank -= ((rank - 1) / n >= p) & (rank > 1)
        rank += (rank / n < p) & (rank < n)
        at = np.searchsorted(total, rank)
        lower, upper = (bound[codes[at]].clip(self.minimum, self.maximum) for bound in self.bounds)
        if method == "midpoint":
            with np.errstate(invalid="ignore", divide="ignore"):
                whole_low, whole_high = (bound[codes[at]] for bound in self.bounds)
                middle = 2 / (1 / whole_low + 1 / whole_high)
            inside = np.isfinite(middle) & (whole_low * whole_high > 0)
            values = np.where(inside, middle, (lower + upper) / 2).clip(lower, upper)
            return Quantiles(values, lower, upper, self.alpha)
        share = np.clip((p * n - (total[at] - counts[at])) / counts[at], 0, 1)
        return Quantiles(lower + (upper - lower) * share, lower, upper, 2 * self.alpha / (1 - self.alpha))

    # --- what changes it

    def update(self, values: ArrayLike) -> None:
        """Add values of any shape; NaN is counted as missing.

        Raises:
            InfiniteValueError: a value is infinite or beyond the resolution's range. Nothing is added then.
        """
        x = np.ascontiguousarray(values, np.float64).reshape(-1)
        table, room = self.scheme.table, self._room or Room()
        self._room = room
        counts = np.zeros(table.n_codes, np.int64)
        low, high, total, squares = self.minimum, self.maximum, 0, 0
        for begin in range(0, len(x), BLOCK):
            block = x[begin : begin + BLOCK]
            least, most = float(block.min()), float(block.max())
            if math.isnan(least):
                whole = block[~np.isnan(block)]
                counts[-2] += len(block) - len(whole)
                if not len(whole):
                    continue
                block, least, most = whole, float(whole.min()), float(whole.max())
            largest = self.scheme.steps.largest(least, most)
            steps = self.scheme.steps.steps(block, room.steps[: len(block)])
            part, part_squares = exact_sums(steps, largest, room.whole[: len(block)])
            total, squares = total + part, squares + part_squares
            counts += np.bincount(table.codes(block, room), minlength=table.n_codes)
            low, high = min(low, least), max(high, most)
        self._add(counts[:-2], low, high, total, squares, int(counts[-2]))

    def merge(self, other: Sketch) -> None:
        """Add all that another sketch of the same scheme has seen; the more collapsed of both decides the accuracy."""
        self.scheme.require(other.scheme)
        self._collapse_to(other.level)
        self.counts += other._counts_at(self.level)
        self.missing += other.missing
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.exact_range = self.exact_range and other.exact_range
        self.sum_steps += other.sum_steps
        self.square_steps += other.square_steps
        self._keep_budget()

    def subtract(self, other: Sketch) -> None:
        """Take out what another sketch has seen and this one too.

        Minimum and maximum do not subtract: they stay as bounds, drawn in to the bins still in use, and ``exact_range`` becomes
        False.

        Raises:
            NeverAddedError: a bin would fall below zero, or the sums contradict each other. Nothing is changed then.
            MappingMismatchError: the other is more collapsed than this one.
        """
        self.scheme.require(other.scheme)
        if other.level > self.level:
            raise MappingMismatchError(
                "what is taken out is more collapsed than this sketch; collapse this one first"
            )
        counts = self.counts - other._counts_at(self.level)
        n, total = int(counts.sum()), self.sum_steps - other.sum_steps
        squares = self.square_steps - other.square_steps
        missing = self.missing - other.missing
        # No values have no sums, one value has the square of its sum, and more have at least that.
        surplus = n * squares - total * total
        impossible = surplus < 0 or (n <= 1 and surplus) or (n == 0 and (squares or total))
        if (counts < 0).any() or missing < 0 or impossible:
            raise NeverAddedError(
                "these values were never added to this sketch, so they cannot be taken out; nothing was changed"
            )
        touched = other.count > 0
        self.counts, self.missing, self.sum_steps, self.square_steps = counts, missing, total, squares
        if not n:
            self.minimum, self.maximum, self.exact_range = np.inf, -np.inf, True
        elif touched:
            codes, _ = self.rows
            lower, upper = self.bounds
            self.minimum = max(self.minimum, float(lower[codes[0]]))
            self.maximum = min(self.maximum, float(upper[codes[-1]]))
            self.exact_range = False

    def collapse(self) -> None:
        """Join bins in pairs: half the bins, alpha' = 2 alpha / (1 + alpha^2).

        Raises:
            SketchError: one bin of each sign is left.
        """
        if sides(self.scheme.mapping, self.level) == 1:
            raise SketchError("one bin of each sign is left, and no further collapse possible")
        self._collapse_to(self.level + 1)

    def copy(self) -> Sketch:
        """Return a sketch of the same content that changes apart."""
        twin = Sketch(self.scheme, self.budget)
        twin.merge(self)
        return twin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self._state() == other._state()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Sketch(count={self.count}, alpha={self.alpha:g}, range=[{self.minimum:g}, {self.maximum:g}])"

    # --- inside

    def _state(self) -> tuple[object, ...]:
        return (
            self.scheme, self.level, self.counts.tobytes(), self.missing, self.minimum, self.maximum,
            self.exact_range, self.sum_steps, self.square_steps,
        )  # fmt: skip

    def _required(self) -> int:
        n = self.count
        if not n:
            raise EmptySketchError(
                "an empty sketch has no quantiles and no moments; update it first, or test its count"
            )
        return n

    def _add(self, counts: Ints, low: float, high: float, total: int, squares: int, missing: int) -> None:
        if self.level:
            folded = np.zeros(len(self.counts), np.int64)
            np.add.at(folded, folding(self.scheme.mapping, self.level), counts)
            counts = folded
        self.counts += counts
        self.minimum, self.maximum = low, high
        self.sum_steps += total
        self.square_steps += squares
        self.missing += missing
        self._keep_budget()

    def _counts_at(self, level: int) -> Ints:
        """Return the counts in the bins of a level not below the own one."""
        if level == self.level:
            return self.counts
        mapping = self.scheme.mapping
        folded = np.zeros(2 * sides(mapping, level) + 3, np.int64)
        # The first base code of each own bin leads to its bin at the level.
        base = np.searchsorted(folding(mapping, self.level), np.arange(len(self.counts)))
        np.add.at(folded, folding(mapping, level)[base], self.counts)
        return folded

    def _collapse_to(self, level: int) -> None:
        if level > self.level:
            self.counts, self.level = self._counts_at(level), level

    def _keep_budget(self) -> None:
        if self.budget is not None:
            while np.count_nonzero(self.counts) > self.budget:
                self.collapse()
