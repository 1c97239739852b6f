"""The compiled hash table behind the lexicon: open addressing over the bytes of texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled
from schemas.memory import byte_at, copy, int32_at, int64_at, put_byte, put_int32, put_int64, word_at

SLOTS, MASK, HASHES, LABELS, CODES, STOP, TEXTS, COUNTS, USED, TABLE = range(10)
"""What a table, an array of TABLE integers, holds: addresses of arrays, but for MASK (slots less one) and USED (entries)."""

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFFFFFF)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@compiled
def part(at: int, size: int) -> Any:
    """Return up to eight bytes as a word, zeros after ``size``, reading none beyond."""
    if size >= 8:
        return word_at(at)
    if size >= 4:  # what overlaps is the same in both halves
        low, high = np.uint64(int32_at(at)) & _LOW, np.uint64(int32_at(at + size - 4)) & _LOW
        return low | high << np.uint64(8 * (size - 4))
    if size <= 0:
        return np.uint64(0)
    first, middle, last = np.uint64(byte_at(at)), size >> 1, size - 1
    word = np.uint64(byte_at(at + middle)) << np.uint64(8 * middle)
    return first | word | np.uint64(byte_at(at + last)) << np.uint64(8 * last)


@compiled
def same(a: int, b: int, size: int) -> bool:
    """Tell whether two stretches of memory hold the same bytes."""
    if size < 8:
        return bool(part(a, size) == part(b, size))
    last = size - 8
    for at in range(0, last, 8):
        if word_at(a + at) != word_at(b + at):
            return False
    return bool(word_at(a + last) == word_at(b + last))  # the last eight, some of which were compared before


@compiled
def hashed(at: int, size: int, label: int) -> Any:
    """Return a hash of the bytes and the label, spread over all bits."""
    h = np.uint64(label + 1) * _PRIME ^ np.uint64(size)
    while size > 0:
        h = (h ^ part(at, size)) * _PRIME
        h ^= h >> np.uint64(32)
        at += 8
        size -= 8
    return h * _PRIME >> np.uint64(1)


@compiled
def code_of(at: int, size: int, label: int, table: int) -> int:
    """Return the code of a text, adding it if it is new; there must be room for it. ``table`` is the address of one."""
    h = np.int64(hashed(at, size, label))
    slots, mask = int64_at(table + 8 * SLOTS), int64_at(table + 8 * MASK)
    hashes, codes = int64_at(table + 8 * HASHES), int64_at(table + 8 * CODES)
    stop, texts = int64_at(table + 8 * STOP), int64_at(table + 8 * TEXTS)
    labels = int64_at(table + 8 * LABELS)
    place = h & mask
    while True:
        entry = int32_at(slots + 4 * place)
        if entry < 0:
            break
        if int64_at(hashes + 8 * entry) == h and byte_at(labels + entry) == label:
            first = int64_at(stop + 8 * entry)
            if int64_at(stop + 8 * entry + 8) - first == size and same(texts + first, at, size):
                return int32_at(codes + 4 * entry)
        place = (place + 1) & mask
    entry = int64_at(table + 8 * USED)
    put_int64(table + 8 * USED, entry + 1)
    put_int32(slots + 4 * place, entry)
    put_int64(hashes + 8 * entry, h)
    put_byte(labels + entry, label)
    count = int64_at(table + 8 * COUNTS) + 8 * label
    code = int64_at(count)
    put_int64(count, code + 1)
    put_int32(codes + 4 * entry, code)
    first = int64_at(stop + 8 * entry)
    copy(texts + first, at, size)
    put_int64(stop + 8 * entry + 8, first + size)
    return code


@compiled
def find_or_add(data: int, start: Any, size: Any, label: int, out: Any, table: int) -> None:
    """Write the code of each text of one label to ``out``; ``data`` is the address of their bytes."""
    for i in range(len(start)):
        out[i] = code_of(data + start[i], size[i], label, table)


@compiled
def rehash(slots: Any, hashes: Any, n: int) -> None:
    """Fill an empty table with the first ``n`` entries."""
    mask = len(slots) - 1
    for entry in range(n):
        place = hashes[entry] & mask
        while slots[place] >= 0:
            place = (place + 1) & mask
        slots[place] = entry
