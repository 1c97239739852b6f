"""Number, sum and sum of products of vectors: additive, so that shards merge, and exact where a resolution is declared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.distributions.errors import (
    DistributionError,
    GridMismatchError,
    NeverAddedError,
    NotFiniteError,
    TooFewDistributionsError,
)

Floats = NDArray[np.float64]

_FITS = 2**62


def checked_rows(rows: Any, width: int | None = None) -> Floats:
    """Return rows as a float array of shape (n, m).

    Raises:
        GridMismatchError: it has another shape.
        NotFiniteError: a value is NaN or infinite.
    """
    array = np.atleast_2d(np.asarray(rows, np.float64))
    if array.ndim != 2 or (width is not None and array.shape[1] != width):
        raise GridMismatchError(
            f"expected rows of {width or 'm'} values, got an array of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise NotFiniteError("NaN or infinity among the values; leave such distributions out")
    return array


def fixed_point(rows: Floats, resolution: float) -> NDArray[Any]:
    """Return rows as whole numbers of ``resolution``, as Python integers where products could overflow."""
    whole = np.rint(rows / resolution)
    bound = float(np.abs(whole).max(initial=0.0))
    if bound >= 2**62:
        raise DistributionError(
            f"values up to {bound * resolution:g} are too large for a resolution of {resolution:g}"
        )
    return whole.astype(np.int64)


def exact_products(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return left.T @ right of integer arrays without rounding or overflow, as an array of Python integers."""
    if not len(left):
        return np.zeros((left.shape[1], right.shape[1]), object)
    bound = int(np.abs(left).max()) * int(np.abs(right).max()) * len(left)
    if bound < _FITS:
        return np.asarray(left.T @ right).astype(object)
    return np.asarray(left.T.astype(object) @ right.astype(object))


class Moments:
    """Count, mean and scatter of vectors of ``width`` values, from rows or from other moments.

    With ``resolution`` None, sums are floats about a running mean (Chan, Golub and LeVeque 1983): equal to the batch
    result to about 1e-12 of the values' scale, but not bit for bit in another order. With a resolution, values are
    rounded to its multiples and summed as integers: the same bits for any order and grouping.
    """

    def __init__(self, width: int, resolution: float | None = None) -> None:
        self.width, self.resolution, self.count = width, resolution, 0
        kind = np.float64 if resolution is None else object
        self._first: NDArray[Any] = np.zeros(width, kind)  # mean, or the sum of whole numbers
        self._second: NDArray[Any] = np.zeros(
            (width, width), kind
        )  # scatter about the mean, or sum of products

    def update(self, rows: Floats) -> None:
        """Add rows of shape (n, width).

        Raises:
            DistributionError: another shape, or a value that is not finite.
        """
        rows = checked_rows(rows, self.width)
        if not len(rows):
            return
        if self.resolution is None:
            mean = rows.mean(axis=0)
            self._add(len(rows), mean, (rows - mean).T @ (rows - mean))
        else:
            whole = fixed_point(rows, self.resolution)
            self._add(len(rows), whole.astype(object).sum(axis=0), exact_products(whole, whole))

    def merge(self, other: Moments) -> None:
        """Add what another has seen.

        Raises:
            GridMismatchError: the other has another width or resolution.
        """
        if (self.width, self.resolution) != (other.width, other.resolution):
            raise GridMismatchError("moments of different grids or resolutions cannot be added")
        if other.count:
            self._add(other.count, other._first, other._second)

    def shifted(self, matrix: Floats, shift: Floats) -> Moments:
        """Return the moments of rows ``matrix @ row + shift``, for float sums."""
        if self.resolution is not None:
            raise GridMismatchError("rounded rows cannot be transformed; transform before adding them")
        moved = Moments(len(shift))
        moved.count = self.count
        moved._first = matrix @ self._first + shift
        moved._second = matrix @ self._second @ matrix.T
        return moved

    def subtract(self, other: Moments) -> None:
        """Take out what was added before; needs a resolution, as float sums would leave rounding behind.

        Raises:
            GridMismatchError: the other has another width or resolution, or there is none.
            NeverAddedError: what remained could not be the sums of any rows. Nothing is changed then.
        """
        if self.resolution is None or (self.width, self.resolution) != (other.width, other.resolution):
            raise GridMismatchError(
                "only moments of the same grid and the same declared resolution can be subtracted"
            )
        count = self.count - other.count
        first, second = self._first - other._first, self._second - other._second
        spread = count * second.diagonal() - first * first
        if count < 0 or (spread < 0).any() or (count == 0 and (first.any() or second.any())):
            raise NeverAddedError(
                "these rows were never added, so they cannot be taken out; nothing was changed"
            )
        self.count, self._first, self._second = count, first, second

    def state(self) -> list[Any]:
        """Return what was seen as numbers and arrays; exact sums as text, as they may exceed any machine integer."""
        return [self.count, packed_sums(self._first), packed_sums(self._second)]

    def restore(self, state: list[Any]) -> None:
        """Take over a state of moments with the same width and resolution."""
        self.count = state[0]
        self._first = unpacked_sums(state[1], (self.width,), self.resolution)
        self._second = unpacked_sums(state[2], (self.width, self.width), self.resolution)

    def _add(self, count: int, first: NDArray[Any], second: NDArray[Any]) -> None:
        total = self.count + count
        if self.resolution is None:
            step = first - self._first
            self._second = self._second + second + np.outer(step, step) * (self.count * count / total)
            self._first = self._first + step * (count / total)
        else:
            self._first, self._second = self._first + first, self._second + second
        self.count = total

    @property
    def mean(self) -> Floats:
        """The mean, shape (width,)."""
        self._require(1)
        if self.resolution is None:
            return np.asarray(self._first, np.float64)
        return np.asarray(_divided(self._first, self.count) * self.resolution)

    def covariance(self, ddof: int = 1) -> Floats:
        """Return the covariance, shape (width, width); ``ddof`` 1 is the unbiased one.

        Raises:
            TooFewDistributionsError: there are not more than ``ddof`` rows.
        """
        self._require(ddof + 1)
        if self.resolution is None:
            return np.asarray(self._second / (self.count - ddof))
        # n * sum(qq') - sum(q) sum(q)' is exact in integers; only the one division rounds.
        scatter = self.count * self._second - np.outer(self._first, self._first)
        return np.asarray(_divided(scatter, self.count * (self.count - ddof)) * self.resolution**2)

    def _require(self, rows: int) -> None:
        if self.count < rows:
            raise TooFewDistributionsError(f"{self.count} distributions seen, at least {rows} are needed")


def packed_sums(sums: NDArray[Any]) -> bytes:
    """Return sums in a portable form that keeps every bit."""
    if sums.dtype == object:
        return ",".join(str(value) for value in sums.ravel().tolist()).encode()
    return sums.astype("<f8").tobytes()


def unpacked_sums(data: bytes, shape: tuple[int, ...], resolution: float | None) -> NDArray[Any]:
    """Return packed sums."""
    if resolution is None:
        return np.frombuffer(data, "<f8").astype(np.float64).reshape(shape)
    return np.array([int(part) for part in data.decode().split(",")], object).reshape(shape)


def _divided(numerators: NDArray[Any], denominator: int) -> Floats:
    """Divide Python integers, correctly rounded however large they are."""
    flat = [int(value) / denominator for value in numerators.ravel()]
    return np.array(flat, np.float64).reshape(numerators.shape)
