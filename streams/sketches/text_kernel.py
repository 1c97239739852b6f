"""The compiled writer of window summaries: numbers, texts and sketches of many rows to JSON in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled

_COMMA, _MINUS, _ZERO, _PAD = 44, 45, 48, 61
_ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)


@compiled
def copied(data: Any, begin: int, end: int, out: Any, at: int) -> int:
    """Copy bytes and return where to go on."""
    for i in range(begin, end):
        out[at] = data[i]
        at += 1
    return at


@compiled
def digits(number: int, out: Any, at: int) -> int:
    """Write an integer and return where to go on."""
    if number < 0:
        out[at] = _MINUS
        at += 1
    end, rest = at + 1, number // 10 if number >= 0 else -(number // -10)
    while rest != 0:
        end += 1
        rest = rest // 10 if rest >= 0 else -(rest // -10)
    last = end - 1
    rest = number
    while True:
        quotient = rest // 10 if rest >= 0 else -(rest // -10)
        out[last] = _ZERO + abs(rest - 10 * quotient)
        rest = quotient
        if rest == 0:
            return end
        last -= 1


@compiled
def _text(byte: int, bits: int, held: int, out: Any, at: int) -> tuple[int, int, int]:
    """Add a byte to base64 and return the bits not written yet, how many they are, and where to go on."""
    bits = ((bits << 8) | byte) & 0x3FFF
    held += 8
    while held >= 6:
        held -= 6
        out[at] = _ALPHABET[(bits >> held) & 63]
        at += 1
    return bits, held, at


@compiled
def _number(rest: int, bits: int, held: int, out: Any, at: int) -> tuple[int, int, int]:
    """Add an integer in LEB128, seven bits a byte, to base64."""
    while rest >= 128:
        bits, held, at = _text((rest & 127) | 128, bits, held, out, at)
        rest >>= 7
    return _text(rest, bits, held, out, at)  # type: ignore[no-any-return]


@compiled
def sketch(header: Any, codes: Any, counts: Any, begin: int, end: int, out: Any, at: int) -> int:
    """Write a sketch, steps between codes and counts as LEB128 integers behind a header, in base64; return where to go on."""
    first, bits, held, before = at, 0, 0, np.int64(0)
    for i in range(len(header)):
        bits, held, at = _text(np.int64(header[i]), bits, held, out, at)
    for i in range(begin, end):
        code = np.int64(codes[i])
        bits, held, at = _number(code - before, bits, held, out, at)
        bits, held, at = _number(np.int64(counts[i]), bits, held, out, at)
        before = code
    if held:
        out[at] = _ALPHABET[(bits << (6 - held)) & 63]
        at += 1
    while (at - first) % 4:
        out[at] = _PAD
        at += 1
    return at


@compiled
def rows(
    pieces: Any, piece_at: Any, names: Any, name_at: Any, labels: Any, label_at: Any, extras: Any, extra_at: Any,
    integers: Any, numbers: Any, floats: int, header: Any, indptr: Any, codes: Any, counts: Any, out: Any, ends: Any,
) -> None:  # fmt: skip
    """Write the JSON of each row behind the other and where each ends.

    ``pieces`` are the constant texts between what varies. ``names``, ``labels`` and ``extras`` are JSON, a line each row (an only
    line of extras is that of all). ``integers`` has shape (rows, 7). ``numbers`` are ``floats`` texts a row, each ended by a comma.
    """
    at, read = 0, 0
    for row in range(len(ends)):
        name, name_end = name_at[row], name_at[row + 1] - 1
        at = copied(pieces, piece_at[0], piece_at[1], out, at)
        at = copied(names, name + 1, name_end - 1, out, at)  # inside its quotes
        for i in range(3):
            at = copied(pieces, piece_at[1], piece_at[2], out, at)
            at = digits(integers[row, i], out, at)
        at = copied(pieces, piece_at[2], piece_at[3], out, at)
        at = copied(names, name, name_end, out, at)
        at = copied(pieces, piece_at[3], piece_at[4], out, at)
        at = copied(labels, label_at[row], label_at[row + 1] - 1, out, at)
        piece = 4
        for i in range(4):
            at = copied(pieces, piece_at[piece], piece_at[piece + 1], out, at)
            at = digits(integers[row, i], out, at)
            piece += 1
        for _ in range(floats):
            at = copied(pieces, piece_at[piece], piece_at[piece + 1], out, at)
            piece += 1
            while numbers[read] != _COMMA:
                out[at] = numbers[read]
                at += 1
                read += 1
            read += 1
        at = copied(pieces, piece_at[piece], piece_at[piece + 1], out, at)
        piece += 1
        at = sketch(header, codes, counts, indptr[row], indptr[row + 1], out, at)
        for i in range(4, 7):
            at = copied(pieces, piece_at[piece], piece_at[piece + 1], out, at)
            at = digits(integers[row, i], out, at)
            piece += 1
        at = copied(pieces, piece_at[piece], piece_at[piece + 1], out, at)
        of = row if len(extra_at) > 2 else 0
        at = copied(extras, extra_at[of], extra_at[of + 1] - 1, out, at)
        at = copied(pieces, piece_at[piece + 1], piece_at[piece + 2], out, at)
        ends[row] = at
