"""DDSketch as Datadog has it: the same bins and answers, and its protobuf message, read and written.

Its bins are (gamma^(i-1), gamma^i], aligned at 1, where those of ``LogMapping`` begin at its smallest value; an index offset in
the message tells one from the other. Minimum, maximum and sums are no part of the message.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from streams.sketches.errors import (
    CorruptSketchError,
    EmptySketchError,
    InfiniteValueError,
    MappingMismatchError,
    SketchError,
)
from streams.sketches.mapping import Floats, LogMapping
from streams.sketches.sketch import Ints, Sketch

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SMALLEST = float(np.finfo(np.float64).tiny)


@dataclass
class DDSketch:
    """Counts of Datadog's bins by index, of positive and negative values apart, and of zeros."""

    gamma: float
    offset: float = 0.0
    positive: dict[int, float] = field(default_factory=dict)
    negative: dict[int, float] = field(default_factory=dict)
    zeros: float = 0.0

    @classmethod
    def of_accuracy(cls, alpha: float) -> DDSketch:
        """Return an empty sketch of a relative accuracy."""
        if not 0 < alpha < 1:
            raise SketchError("alpha must be in (0, 1)")
        return cls(1 + 2 * alpha / (1 - alpha))

    @property
    def alpha(self) -> float:
        """The relative accuracy."""
        return (self.gamma - 1) / (self.gamma + 1)

    @property
    def count(self) -> float:
        """The number of values."""
        return sum(self.positive.values()) + sum(self.negative.values()) + self.zeros

    def update(self, values: ArrayLike) -> None:
        """Add finite values by Datadog's rule, index = ceil(log_gamma |x|) + offset."""
        x = np.asarray(values, np.float64).ravel()
        if not np.isfinite(x).all():
            raise InfiniteValueError("only finite values have a bin; leave the others out")
        size = np.abs(x)
        zero = size <= _SMALLEST * self.gamma
        scale = 1 / math.log1p(self.gamma - 1)
        with np.errstate(divide="ignore"):
            keys = np.where(zero, 0, np.ceil(np.log(size) * scale) + self.offset)
        for store, chosen in ((self.positive, ~zero & (x > 0)), (self.negative, ~zero & (x < 0))):
            found, counts = np.unique(keys[chosen].astype(np.int64), return_counts=True)
            for key, n in zip(found.tolist(), counts.tolist(), strict=True):
                store[key] = store.get(key, 0.0) + n
        self.zeros += int(zero.sum())

    def merge(self, other: DDSketch) -> None:
        """Add the counts of a sketch with the same bins."""
        if (self.gamma, self.offset) != (other.gamma, other.offset):
            raise MappingMismatchError("only DDSketches of the same gamma and offset can be added")
        for mine, theirs in ((self.positive, other.positive), (self.negative, other.negative)):
            for key, n in theirs.items():
                mine[key] = mine.get(key, 0.0) + n
        self.zeros += other.zeros

    def quantile(self, level: float) -> float:
        """Return Datadog's answer: the middle of the bin that holds rank level * (count - 1)."""
        if not 0 <= level <= 1:
            raise SketchError("levels must be in [0, 1]")
        if not self.count:
            raise EmptySketchError("an empty sketch has no quantiles")
        rank, below = level * (self.count - 1), sum(self.negative.values())
        if rank < below:
            from_zero = below - rank - 1
            return -self.value(_key(self.negative, lambda running: running >= from_zero + 1))
        if rank < below + self.zeros:
            return 0.0
        above = rank - below - self.zeros
        return self.value(_key(self.positive, lambda running: running > above))

    def value(self, key: int) -> float:
        """Return the middle of a bin, 2 gamma^key / (gamma + 1)."""
        return float(math.exp((key - self.offset) * math.log1p(self.gamma - 1)) * 2 / (1 + self.gamma))

    def bins(self) -> tuple[Floats, Floats, Floats]:
        """Return lower bounds, upper bounds and counts of the bins in use, ascending."""
        rows = [
            (-self._edge(k), -self._edge(k - 1), n) for k, n in sorted(self.negative.items(), reverse=True)
        ]
        if self.zeros:
            rows.append((-_SMALLEST, _SMALLEST, self.zeros))
        rows += [(self._edge(k - 1), self._edge(k), n) for k, n in sorted(self.positive.items())]
        table = np.array([row for row in rows if row[2] > 0], np.float64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]

    def to_bytes(self) -> bytes:
        """Return the protobuf message, with the counts of neighbouring bins packed."""
        mapping = _double(1, self.gamma) + (_double(2, self.offset) if self.offset else b"")
        message = _chunk(1, mapping) + _chunk(2, _store(self.positive)) + _chunk(3, _store(self.negative))
        return message + (_double(4, self.zeros) if self.zeros else b"")

    @classmethod
    def from_bytes(cls, data: bytes) -> DDSketch:
        """Read a protobuf message.

        Raises:
            CorruptSketchError: it is none, or its bins are not logarithmic.
        """
        sketch = cls(0.0)
        try:
            for number, value in _fields(data):
                if number == 1 and isinstance(value, bytes):
                    parts = dict(_fields(value))
                    if parts.get(3, 0) != 0:
                        raise CorruptSketchError("only logarithmic bins are read, these are interpolated")
                    sketch.gamma, sketch.offset = _as_float(parts.get(1)), _as_float(parts.get(2, bytes(8)))
                elif number in {2, 3} and isinstance(value, bytes):
                    (sketch.positive if number == 2 else sketch.negative).update(_read_store(value))
                elif number == 4:
                    sketch.zeros = _as_float(value)
        except (IndexError, struct.error, TypeError) as error:
            raise CorruptSketchError("bytes are no DDSketch message, or are cut short") from error
        counts = [*sketch.positive.values(), *sketch.negative.values(), sketch.zeros]
        if not (1 < sketch.gamma < math.inf and math.isfinite(sketch.offset)):
            raise CorruptSketchError("the message has no mapping with a gamma above 1")
        if not all(0 <= n < math.inf for n in counts):
            raise CorruptSketchError("a count in the message is negative or not finite")
        return sketch

    def _edge(self, key: int) -> float:
        return float(math.exp((key - self.offset) * math.log1p(self.gamma - 1)))


def to_datadog(sketch: Sketch) -> DDSketch:
    """Return a sketch's counts in Datadog's form; an offset of the index keeps the bins where they are.

    Values beyond the scheme's range count in the outermost bins.

    Raises:
        MappingMismatchError: the sketch is collapsed: bins of ranges cut short are not Datadog's.
    """
    if sketch.level:
        raise MappingMismatchError(
            "a collapsed sketch has no DDSketch form; collapse after conversion instead"
        )
    mapping = sketch.scheme.mapping
    gamma = (1 + mapping.alpha) / (1 - mapping.alpha)
    found = DDSketch(gamma, -math.log(mapping.min_value) / math.log1p(gamma - 1))
    n = mapping.n_side
    codes, counts = sketch.rows
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        if code == n + 1:
            found.zeros = float(count)
            continue
        store, k = (found.positive, code - n - 2) if code > n + 1 else (found.negative, n - code)
        key = min(k, n - 1) + 1
        store[key] = store.get(key, 0.0) + count
    return found


def to_rows(sketch: DDSketch, mapping: LogMapping) -> tuple[Ints, Ints]:
    """Return counts as ascending codes of a mapping with the same bins, with counts, as ``codes.encode_many`` takes them.

    Raises:
        MappingMismatchError: the mapping's bins are not these, or a count is no whole number.
    """
    gamma = (1 + mapping.alpha) / (1 - mapping.alpha)
    shift = sketch.offset + math.log(mapping.min_value) / math.log1p(gamma - 1)
    whole = round(shift)
    if abs(gamma / sketch.gamma - 1) > 1e-12 or abs(shift - whole) > 1e-6:
        raise MappingMismatchError(
            "the mapping's bins are others; give it this gamma and a min_value on an edge"
        )
    n = mapping.n_side
    counts = np.zeros(mapping.n_bins)
    counts[n + 1] = sketch.zeros
    for sign, store in ((1, sketch.positive), (-1, sketch.negative)):
        for key, count in store.items():
            k = key - whole - 1
            if k < 0:
                counts[n + 1] += count
            else:
                counts[n + 2 + min(k, n) if sign > 0 else n - min(k, n)] += count
    if (counts != np.rint(counts)).any():
        raise MappingMismatchError("counts must be whole numbers; scale weighted sketches first")
    codes = np.flatnonzero(counts)
    return codes, counts[codes].astype(np.int64)


def _key(store: dict[int, float], reached: Callable[[float], bool]) -> int:
    running = 0.0
    for key in sorted(store):
        running += store[key]
        if reached(running):
            return key
    return max(store)


def _store(counts: dict[int, float]) -> bytes:
    if not counts:
        return b""
    first, last = min(counts), max(counts)
    dense = np.zeros(last - first + 1)
    for key, n in counts.items():
        dense[key - first] = n
    return _chunk(2, dense.astype("<f8").tobytes()) + _varint(3 << 3 | _VARINT) + _varint(_zigzag(first))


def _read_store(data: bytes) -> dict[int, float]:
    sparse: dict[int, float] = {}
    dense: list[float] = []
    first = 0
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            entry = dict(_fields(value))
            sparse[_unzigzag(int(entry.get(1, 0)))] = _as_float(entry.get(2, bytes(8)))
        elif number == 2 and isinstance(value, bytes):
            # Packed or one by one, both are lists of doubles.
            dense += np.frombuffer(value, "<f8").tolist() if len(value) % 8 == 0 else _cut_short()
        elif number == 3:
            first = _unzigzag(int(value))
    for at, n in enumerate(dense):
        if n:
            sparse[first + at] = sparse.get(first + at, 0.0) + n
    return {key: n for key, n in sparse.items() if n}


def _cut_short() -> list[float]:
    raise CorruptSketchError("a list of counts is cut short")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give the fields of a message: whole numbers of varints, bytes of all else."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _read_varint(data, at)
            yield tag >> 3, number
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind, len(data) + 1)
        if at + size > len(data):
            raise CorruptSketchError("bytes are no protobuf message, or are cut short")
        yield tag >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _unzigzag(number: int) -> int:
    return number >> 1 if not number & 1 else -((number + 1) >> 1)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | _FIXED64) + struct.pack("<d", value)


def _as_float(value: int | bytes | None) -> float:
    return float(struct.unpack("<d", value if isinstance(value, bytes) else b"")[0])


def _chunk(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data
