"""The compiled writer of window summaries: numbers, texts and sketches of many rows to JSON in one pass.

Places are addresses, see ``schemas.memory``: whoever calls sees to it that there is room and that the arrays live.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled
from schemas.memory import byte_at, copy, int32_at, int64_at, put_byte, put_int32

_COMMA, _MINUS, _ZERO, _PAD = 44, 45, 48, 61
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# Two letters of base64 for twelve bits, the first lowest (little-endian machines).
_LETTERS = np.array([_ALPHABET[n >> 6] | _ALPHABET[n & 63] << 8 for n in range(1 << 12)], np.int64)


@compiled
def text(source: int, size: int, to: int) -> int:
    """Copy bytes and return where to go on."""
    copy(to, source, size)
    return to + size


@compiled
def digits(number: int, to: int) -> int:
    """Write an integer and return where to go on."""
    if number < 0:
        put_byte(to, _MINUS)
        to += 1
    end, rest = to, np.int64(number)
    while True:
        rest = rest // 10 if rest >= 0 else -(rest // -10)
        end += 1
        if rest == 0:
            break
    at, rest = end, np.int64(number)
    while at > to:
        above = rest // 10 if rest >= 0 else -(rest // -10)
        at -= 1
        put_byte(at, _ZERO + abs(rest - 10 * above))
        rest = above
    return end


@compiled
def leb128(number: int, to: int) -> int:
    """Write an integer, seven bits a byte, and return where to go on."""
    rest = np.int64(number)
    while rest >= 128:
        put_byte(to, (rest & 127) | 128)
        to += 1
        rest >>= 7
    put_byte(to, rest)
    return to + 1


@compiled
def sketch(codes: int, counts: int, size: int, to: int) -> int:
    """Write bins as steps between codes (32 bits each) and counts (64 bits) in LEB128, and return where to go on."""
    before = np.int64(0)
    for _ in range(size):
        code = int32_at(codes)
        to = leb128(int64_at(counts), leb128(code - before, to))
        before = code
        codes += 4
        counts += 8
    return to


@compiled
def base64(source: int, end: int, to: int) -> int:
    """Write bytes in base64 and return where to go on."""
    while end - source >= 3:
        bits = (byte_at(source) << 16) | (byte_at(source + 1) << 8) | byte_at(source + 2)
        put_int32(to, _LETTERS[np.uint64(bits >> 12)] | _LETTERS[np.uint64(bits & 4095)] << 16)
        source += 3
        to += 4
    if source < end:
        bits = byte_at(source) << 16
        if end - source == 2:
            bits |= byte_at(source + 1) << 8
        put_int32(to, _LETTERS[np.uint64(bits >> 12)] | _LETTERS[np.uint64(bits & 4095)] << 16)
        put_byte(to + 3, _PAD)
        if end - source == 1:
            put_byte(to + 2, _PAD)
        to += 4
    return to


@compiled
def rows(
    pieces: int, piece_at: Any, names: int, name_at: Any, labels: int, label_at: Any, extras: int, extra_at: Any,
    integers: Any, numbers: int, floats: int, header: int, headed: int, indptr: Any, codes: int, counts: int,
    scratch: int, out: int, ends: Any,
) -> None:  # fmt: skip
    """Write the JSON of each row behind the other, from ``out`` on, and where each ends, counted from there.

    ``pieces`` are the constant texts between what varies. ``names``, ``labels`` and ``extras`` are JSON, a line each row (an only
    line of extras is that of all). ``integers`` has shape (rows, 7). ``numbers`` are ``floats`` texts a row, each ended by a comma.
    ``scratch`` has room for a header, of ``headed`` bytes, and the largest sketch behind it.
    """
    to = out
    copy(scratch, header, headed)
    for row in range(len(ends)):
        name, name_size = names + name_at[row], name_at[row + 1] - 1 - name_at[row]
        to = text(pieces, piece_at[1], to)
        to = text(name + 1, name_size - 2, to)  # inside its quotes
        for i in range(3):
            to = text(pieces + piece_at[1], piece_at[2] - piece_at[1], to)
            to = digits(integers[row, i], to)
        to = text(pieces + piece_at[2], piece_at[3] - piece_at[2], to)
        to = text(name, name_size, to)
        to = text(pieces + piece_at[3], piece_at[4] - piece_at[3], to)
        to = text(labels + label_at[row], label_at[row + 1] - 1 - label_at[row], to)
        piece = 4
        for i in range(4):
            to = text(pieces + piece_at[piece], piece_at[piece + 1] - piece_at[piece], to)
            to = digits(integers[row, i], to)
            piece += 1
        for _ in range(floats):
            to = text(pieces + piece_at[piece], piece_at[piece + 1] - piece_at[piece], to)
            piece += 1
            letter = byte_at(numbers)
            while letter != _COMMA:
                put_byte(to, letter)
                to += 1
                numbers += 1
                letter = byte_at(numbers)
            numbers += 1
        to = text(pieces + piece_at[piece], piece_at[piece + 1] - piece_at[piece], to)
        piece += 1
        first, size = indptr[row], indptr[row + 1] - indptr[row]
        written = sketch(codes + 4 * first, counts + 8 * first, size, scratch + headed)
        to = base64(scratch, written, to)
        for i in range(4, 7):
            to = text(pieces + piece_at[piece], piece_at[piece + 1] - piece_at[piece], to)
            to = digits(integers[row, i], to)
            piece += 1
        to = text(pieces + piece_at[piece], piece_at[piece + 1] - piece_at[piece], to)
        of = row if len(extra_at) > 2 else 0
        to = text(extras + extra_at[of], extra_at[of + 1] - 1 - extra_at[of], to)
        to = text(pieces + piece_at[piece + 1], piece_at[piece + 2] - piece_at[piece + 1], to)
        ends[row] = to - out
