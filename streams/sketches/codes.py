"""Many sketches at once: rows of ascending bin codes with counts, as in a sparse matrix."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streams.sketches.mapping import Codes, Floats, LogMapping

Ints = NDArray[np.int64]

VERSION = 1

# Bytes of seven bits each that an integer of 63 bits takes.
_LONGEST = 9


def quantiles_many(
    mapping: LogMapping, indptr: Ints, codes: Codes, counts: Ints, mins: Floats, maxs: Floats, levels: Floats
) -> Floats:
    """Return quantiles, shape (k, q), by linear interpolation inside bins, clipped to the exact minimum and maximum.

    Row ``i`` of the ``k`` sketches has the codes ``codes[indptr[i]:indptr[i + 1]]``; no row may be empty. A row's quantiles are the
    same bits whatever rows it is among, so ranks are counted within the row.
    """
    total = np.cumsum(counts)
    before = np.concatenate([[0], total])[indptr[:-1], None]
    rank = levels[None, :] * (total[indptr[1:] - 1, None] - before)
    found = np.searchsorted(total, before + np.ceil(rank).astype(np.int64), side="left")
    bins = np.clip(found, indptr[:-1, None], indptr[1:, None] - 1)
    below = total[bins] - counts[bins] - before
    lower, upper = mapping.bounds
    low = np.maximum(lower[codes[bins]], mins[:, None])
    high = np.minimum(upper[codes[bins]], maxs[:, None])
    share = np.clip((rank - below) / counts[bins], 0, 1)
    # Of 0 and -0 numpy takes this or that by the place in the array; adding 0 makes both 0.
    return np.asarray(np.clip(low + (high - low) * share, mins[:, None], maxs[:, None]) + 0.0)


def encode_many(mapping: LogMapping, indptr: Ints, codes: Codes, counts: Ints) -> list[bytes]:
    """Return each row as bytes: version, mapping, then (step to the next code, count) as LEB128 integers."""
    steps = np.diff(codes.astype(np.int64), prepend=0)
    steps[indptr[:-1]] = codes[indptr[:-1]]
    numbers = np.empty(2 * len(codes), np.uint64)
    numbers[0::2], numbers[1::2] = steps, counts
    stream, ends = _leb128(numbers)
    cuts = np.concatenate([[0], ends])[2 * indptr].tolist()
    header = header_of(mapping)
    return [header + stream[a:b] for a, b in pairwise(cuts)]


def decode_many(mapping: LogMapping, sketches: list[bytes]) -> tuple[Ints, Codes, Ints]:
    """Read rows back as ``(indptr, codes, counts)``.

    Each row is read from its own bytes alone: a damaged one is refused, whatever stands before and behind it.

    Raises:
        ValueError: a sketch has another version or another mapping, is cut short, or names bins that there are not.
    """
    header = header_of(mapping)
    if not all(sketch.startswith(header) for sketch in sketches):
        raise ValueError("a sketch has another version or accuracy; re-bin it before merging")
    bodies = [sketch[len(header) :] for sketch in sketches]
    stream = np.frombuffer(b"".join(bodies), np.uint8)
    bounds = np.concatenate([[0], np.cumsum([len(body) for body in bodies], dtype=np.int64)])
    last = np.flatnonzero(stream < 128)
    # Numbers before each body's end; one that goes on across an end is counted in neither.
    ends = np.searchsorted(last, bounds, side="left")
    closed = bounds[1:][np.diff(bounds) > 0] - 1
    if (stream[closed] >= 128).any() or (ends % 2).any():
        raise ValueError("a sketch is cut short")
    starts = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    length = last - starts + 1
    if (length > _LONGEST).any():
        raise ValueError("a sketch has numbers beyond 63 bits")
    place = np.arange(len(stream)) - np.repeat(starts, length)
    numbers = np.add.reduceat((stream & 127).astype(np.int64) << (7 * place), starts) if len(last) else starts
    indptr = (ends // 2).astype(np.int64)
    steps, counts = numbers[0::2], numbers[1::2]
    # Sums may pass 2^63 and come around, of which the differences within a row are right all the same.
    running = np.cumsum(steps)
    offset = np.concatenate([[0], running])[indptr[:-1]]
    codes = running - np.repeat(offset, np.diff(indptr))
    inner = np.ones(len(steps), np.bool_)
    inner[indptr[:-1][np.diff(indptr) > 0]] = False
    if (steps >= mapping.n_bins).any() or (steps[inner] < 1).any() or (codes >= mapping.n_bins).any():
        raise ValueError("a sketch names bins that its mapping does not have, or not in order")
    if (counts < 1).any():
        raise ValueError("a sketch has bins without values")
    return indptr, codes.astype(np.int32), counts


def header_of(mapping: LogMapping) -> bytes:
    """Return what every sketch of a mapping begins with."""
    return bytes([VERSION]) + np.array([mapping.alpha, mapping.min_value], "<f4").tobytes()


def _leb128(numbers: NDArray[np.uint64]) -> tuple[bytes, Ints]:
    length = np.ones(len(numbers), np.int64)
    rest = numbers >> np.uint64(7)
    while rest.any():
        length += rest > 0
        rest >>= np.uint64(7)
    ends = np.cumsum(length)
    stream = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    at, rest, left = ends - length, numbers.copy(), length.copy()
    index = np.arange(len(numbers))
    while len(index):
        more = left[index] > 1
        stream[at[index]] = (rest[index] & np.uint64(127)).astype(np.uint8) | (more.astype(np.uint8) << 7)
        rest[index] >>= np.uint64(7)
        at[index] += 1
        left[index] -= 1
        index = index[more]
    return stream.tobytes(), ends
