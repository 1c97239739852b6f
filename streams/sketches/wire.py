"""The binary form of sketches: a fixed header, then counts in runs of neighbouring bins, as narrow as they can be.

Version 2, little-endian (version 1 is the bin rows of ``codes``, which windows publish):

| bytes | what |
|---|---|
| 1, 1, 2 | version, flags (bit 0: minimum and maximum are only bounds), collapses |
| 4, 4 | runs, budget of bins (0: none) |
| 8 each | alpha, min_value, max_value, resolution, minimum, maximum (floats), missing (unsigned) |
| 16, 24 | sum and sum of squares, in steps of the resolution (signed, two's complement) |
| 12 a run | first code, bins, bytes a count (1, 2, 4 or 8), as unsigned 32-bit integers |
| | the counts of all runs, one after another (at most 2^63 - 1 each) |
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from streams.sketches.errors import CorruptSketchError, MappingMismatchError, SketchError
from streams.sketches.scheme import Scheme
from streams.sketches.sketch import Ints, Sketch

VERSION = 2

_HEADER = struct.Struct("<BBHII6dQ16s24s")
_RUN = struct.Struct("<III")
_SAME = slice(12, 44)  # alpha, min_value, max_value, resolution
# A run goes on over so many empty bins: a few bytes more, and several times fewer runs to add when merging.
_GAP = 128
_TYPES: dict[int, np.dtype[np.integer[Any]]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: np.dtype("<i8"),
}


def to_bytes(sketch: Sketch) -> bytes:
    """Return a sketch as bytes, the same for the same content."""
    s = sketch.scheme
    runs, parts = _runs(sketch.counts)
    header = _HEADER.pack(
        VERSION, 0 if sketch.exact_range else 1, sketch.level, len(runs), sketch.budget or 0,
        s.alpha, s.min_value, s.max_value, s.resolution, sketch.minimum, sketch.maximum, sketch.missing,
        sketch.sum_steps.to_bytes(16, "little", signed=True),
        sketch.square_steps.to_bytes(24, "little", signed=True),
    )  # fmt: skip
    return b"".join([header, *(_RUN.pack(*run) for run in runs), *parts])


def from_bytes(data: bytes) -> Sketch:
    """Read a sketch.

    Raises:
        CorruptSketchError: the bytes are of another version, cut short, or no sketch.
    """
    return merge_bytes([data])


def merge_bytes(sketches: Iterable[bytes]) -> Sketch:
    """Add up serialized sketches of one scheme, at least one, without making each of them.

    Raises:
        CorruptSketchError: one is of another version, cut short, or no sketch.
        MappingMismatchError: schemes differ.
        SketchError: there is none.
    """
    items = list(sketches)
    if not items:
        raise SketchError("at least one sketch is needed to merge")
    merged = _empty_like(items[0])
    same, size = items[0][_SAME], len(merged.counts)
    counts, level = merged.counts, merged.level
    missing = total = squares = 0
    low, high, exact = merged.minimum, merged.maximum, True
    for data in items:
        try:
            (version, flags, its_level, n_runs, _, _, _, _, _, least, most, absent, steps, square) = (
                _HEADER.unpack_from(data)
            )
            if version != VERSION or data[_SAME] != same:
                raise _mismatch(version)
            if its_level != level:
                return _merge_collapsed(items)
            at = _HEADER.size + _RUN.size * n_runs
            for first, bins, width in _RUN.iter_unpack(data[_HEADER.size : at]):
                if first + bins > size:
                    raise CorruptSketchError("a sketch names bins that its scheme does not have")
                counts[first : first + bins] += np.frombuffer(data, _TYPES[width], bins, at)
                at += bins * width
        except (struct.error, KeyError, ValueError, TypeError) as error:
            if isinstance(error, SketchError):
                raise
            raise CorruptSketchError("bytes are no sketch, or are cut short") from error
        if at != len(data):
            raise CorruptSketchError("bytes follow the end of a sketch")
        missing += absent
        total += int.from_bytes(steps, "little", signed=True)
        squares += int.from_bytes(square, "little", signed=True)
        low, high = min(low, least), max(high, most)
        exact = exact and not flags & 1
    merged.missing, merged.sum_steps, merged.square_steps = missing, total, squares
    merged.minimum, merged.maximum, merged.exact_range = low, high, exact
    merged._keep_budget()
    return merged


def _merge_collapsed(items: list[bytes]) -> Sketch:
    """Add sketches one by one, as some are more collapsed than others."""
    merged = from_bytes(items[0])
    for data in items[1:]:
        merged.merge(from_bytes(data))
    return merged


def _empty_like(data: bytes) -> Sketch:
    try:
        version, _, level, _, budget, alpha, smallest, largest, resolution, *_ = _HEADER.unpack_from(data)
    except (struct.error, TypeError) as error:
        raise CorruptSketchError("bytes are no sketch, or are cut short") from error
    if version != VERSION:
        raise _mismatch(version)
    try:
        sketch = Sketch(Scheme(alpha, smallest, largest, resolution), budget or None)
    except ValueError as error:
        raise CorruptSketchError("bytes are no sketch: its scheme cannot be") from error
    try:
        for _ in range(level):
            sketch.collapse()
    except SketchError as error:
        raise CorruptSketchError("bytes are no sketch: more collapses than bins") from error
    return sketch


def _mismatch(version: int) -> SketchError:
    if version != VERSION:
        return CorruptSketchError(
            f"a sketch has version {version}, this reads {VERSION}; was it written by a newer release?"
        )
    return MappingMismatchError("sketches of different schemes cannot be added; sketch all with one scheme")


def _runs(counts: Ints) -> tuple[list[tuple[int, int, int]], list[bytes]]:
    used = np.flatnonzero(counts)
    runs: list[tuple[int, int, int]] = []
    parts: list[bytes] = []
    for codes in np.split(used, np.flatnonzero(np.diff(used) > _GAP) + 1):
        if len(codes):
            first, last = int(codes[0]), int(codes[-1])
            largest = int(counts[codes].max())
            width = next(w for w in _TYPES if largest < 1 << (8 * w))
            runs.append((first, last - first + 1, width))
            parts.append(counts[first : last + 1].astype(_TYPES[width]).tobytes())
    return runs, parts
