"""Sketches of many keys, updated together: a row of counts for each key."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.sketches.errors import SketchError
from streams.sketches.lookup import BLOCK, Room
from streams.sketches.mapping import Floats
from streams.sketches.scheme import Scheme
from streams.sketches.sketch import Ints, Sketch

_CHUNK = 1 << 16
_SETTLE = 1 << 6
# Sums of squares of whole numbers below _MIDDLING, _SETTLE chunks of them, are off by less than 2^22 * 2^-53 * 2^86 = 2^55
# as floats, so that they and the sums modulo 2^64 are exact together.
_MIDDLING = float(1 << 32)
_MASK = (1 << 64) - 1


class KeyedSketches:
    """One sketch for each key 0, 1, ... below ``keys``, with what ``Sketch`` has.

    Many rows are added at once, in whatever order their keys come. ``sketch(key)`` gives one as a ``Sketch``, equal bit for bit to
    one that had seen the key's values alone.
    """

    def __init__(self, keys: int, scheme: Scheme | None = None) -> None:
        self.scheme = scheme or Scheme()
        self._codes = self.scheme.table.n_codes
        self.counts = np.zeros((keys, self._codes), np.int64)
        self.minimum, self.maximum = np.full(keys, np.inf), np.full(keys, -np.inf)
        # Sums and sums of squares in steps: exact ones in Python's integers, and what came since they were last settled.
        self._exact = (np.array([0] * keys, object), np.array([0] * keys, object))
        self._sums, self._residues = np.zeros(keys, np.int64), np.zeros(keys, np.int64)
        self._near = np.zeros(keys)
        self._since = 0
        self._room = Room()

    def __len__(self) -> int:
        return len(self.counts)

    def update(self, keys: ArrayLike, values: ArrayLike) -> None:
        """Add values of shape (n,) to the sketches of their keys (n,).

        Raises:
            SketchError: shapes differ, or a key is not in [0, keys).
            InfiniteValueError: a value is infinite or beyond the resolution's range. Nothing is added then.
        """
        key = np.ascontiguousarray(keys, np.int64)
        x = np.ascontiguousarray(values, np.float64)
        if key.shape != x.shape or x.ndim != 1:
            raise SketchError("keys and values must be vectors of one length")
        if not len(x):
            return
        if key.min() < 0 or key.max() >= len(self.counts):
            raise SketchError(f"keys must be whole numbers from 0 to {len(self.counts) - 1}")
        low, high = float(x.min()), float(x.max())
        if np.isnan(low) and not np.isnan(x).all():
            low, high = float(np.nanmin(x)), float(np.nanmax(x))
        largest = 0.0 if np.isnan(low) else self.scheme.steps.largest(low, high)
        for begin in range(0, len(x), _CHUNK):
            self._chunk(key[begin : begin + _CHUNK], x[begin : begin + _CHUNK], largest)

    def merge(self, other: KeyedSketches) -> None:
        """Add the other's sketches, key by key."""
        self.scheme.require(other.scheme)
        if len(other) != len(self):
            raise SketchError("only as many sketches can be merged, key by key")
        self.counts += other.counts
        np.minimum(self.minimum, other.minimum, out=self.minimum)
        np.maximum(self.maximum, other.maximum, out=self.maximum)
        (sums, squares), (more, more_squares) = self._settle(), other._settle()
        self._exact = (sums + more, squares + more_squares)

    def sketch(self, key: int) -> Sketch:
        """Return one key's sketch, which changes apart from here."""
        sums, squares = self._settle()
        row = self.counts[key]
        single = Sketch(self.scheme)
        single.counts[:] = row[: len(single.counts)]
        single.missing = int(row[-2])
        single.minimum, single.maximum = float(self.minimum[key]), float(self.maximum[key])
        single.sum_steps, single.square_steps = int(sums[key]), int(squares[key])
        return single

    def rows(self) -> tuple[Ints, Ints, Ints]:
        """Return all counts as sparse rows (indptr, codes, counts), as ``codes`` takes and gives them."""
        used = self.counts[:, :-2]
        keys, codes = np.nonzero(used)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=len(used)))])
        return indptr, codes, used[keys, codes]

    def _chunk(self, key: Ints, x: Floats, largest: float) -> None:
        # In order of keys, sums and extremes are those of slices, and counts of one key are near each other in memory.
        order = np.argsort(_narrow(key, len(self.counts)), kind="stable")
        key, x = key[order], x[order]
        flat = self.counts.reshape(-1)
        offset = key * self._codes
        for begin in range(0, len(x), BLOCK):
            code = self.scheme.table.codes(x[begin : begin + BLOCK], self._room)
            code += offset[begin : begin + BLOCK]
            np.add.at(flat, code, 1)
        if np.isnan(x.sum()):
            known = np.flatnonzero(~np.isnan(x))
            key, x = key[known], x[known]
        if not len(x):
            return
        starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        owner = key[starts]
        self.minimum[owner] = np.minimum(self.minimum[owner], np.minimum.reduceat(x, starts))
        self.maximum[owner] = np.maximum(self.maximum[owner], np.maximum.reduceat(x, starts))
        self._add_moments(owner, starts, self.scheme.steps.steps(x), largest)

    def _add_moments(self, owner: Ints, starts: NDArray[np.intp], steps: Floats, largest: float) -> None:
        """Add sums of whole numbers up to ``largest``, never letting any of them pass what its type holds exactly."""
        whole = steps.astype(np.int64)
        if largest < _MIDDLING:
            # The integer sum of squares is exact modulo 2^64 and the float sum to less than 2^63: together they are exact.
            self._sums[owner] += np.add.reduceat(whole, starts)
            self._residues[owner] += np.add.reduceat(whole * whole, starts)
            self._near[owner] += np.add.reduceat(steps * steps, starts)
            self._since += 1
            if self._since >= _SETTLE:
                self._settle()
            return
        # Values this large in steps are rare enough to be summed one by one.
        self._settle()
        ends = np.append(starts[1:], len(whole))
        numbers = whole.tolist()
        for k, begin, end in zip(owner.tolist(), starts.tolist(), ends.tolist(), strict=True):
            part = numbers[begin:end]
            self._exact[0][k] += sum(part)
            self._exact[1][k] += sum(step * step for step in part)

    def _settle(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Bring sums and sums of squares into Python's integers and return them."""
        sums, squares = self._exact
        if self._since:
            sums += self._sums.astype(object)
            for k, (near, residue) in enumerate(
                zip(self._near.tolist(), self._residues.tolist(), strict=True)
            ):
                distance = (residue - int(near)) & _MASK
                squares[k] += int(near) + (distance - (1 << 64) if distance >= 1 << 63 else distance)
            self._sums[:], self._residues[:], self._near[:], self._since = 0, 0, 0, 0
        return sums, squares


def _narrow(key: Ints, keys: int) -> NDArray[np.unsignedinteger]:
    """Return keys in 16 bits where they fit, which sort several times faster."""
    return key.astype(np.uint16) if keys <= 1 << 16 else key.astype(np.uint32)
