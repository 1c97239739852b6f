"""The compiled reader of Arrow streams of the plainest form: finds the buffers of a record, then copies them to columns.

It takes only what it can read beyond doubt (one record batch without nulls, whole dictionaries, nothing compressed, every offset
and index within bounds) and leaves every other record to the Arrow library. The layout is that of Arrow's Message.fbs. Parts of a
message's metadata that say nothing of the columns are not looked at, so a record may be taken whose metadata the library would
call invalid.
"""

from __future__ import annotations

from typing import Any

from schemas.compiled import compiled
from schemas.lexicon_kernel import code_of
from schemas.memory import byte_at, copy, int32_at, int64_at, put_int32

LABEL, NUMBER, TIME = 0, 1, 2
"""What a field of the stream holds: text by dictionary, doubles, or 64-bit integers."""

KIND, WIDTH, DICTIONARY, PLACE, FIELD = range(5)
"""What the plan says of a field, FIELD integers: its kind, bytes of a value or index, dictionary id, place among its kind."""

DATA, TEXTS, OFFSETS, BYTES, FOUND = range(5)
"""What is found for a field: address of its values; of a dictionary the number of texts, addresses of their offsets and bytes."""

_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_VERSION_5 = 4
_NONE, _UNSURE = 0, -1


@compiled
def _slot(table: int, number: int, width: int, low: int, high: int) -> int:
    """Return the address of a field of a flatbuffer table within bounds, 0 where it is absent, -1 where unsure."""
    if table < low or table + 4 > high:
        return _UNSURE
    vtable = table - int32_at(table)
    if vtable < low or vtable + 4 > high:
        return _UNSURE
    at = 4 + 2 * number
    if at + 2 > byte_at(vtable) + 256 * byte_at(vtable + 1):
        return _NONE
    if vtable + at + 2 > high:
        return _UNSURE
    offset = byte_at(vtable + at) + 256 * byte_at(vtable + at + 1)
    if offset == 0:
        return _NONE
    return table + offset if table + offset + width <= high else _UNSURE


@compiled
def _target(at: int, low: int, high: int) -> Any:
    """Return what the offset at an address points to, -1 where unsure."""
    if at < low or at + 4 > high:
        return _UNSURE
    to = at + int32_at(at)
    return to if to > at and to + 4 <= high else _UNSURE


@compiled
def _vector(table: int, number: int, length: int, low: int, high: int) -> Any:
    """Return the address of the first 16-byte struct of a vector of just so many, -1 where unsure."""
    at = _slot(table, number, 4, low, high)
    if at <= 0:
        return _UNSURE
    vector = _target(at, low, high)
    if vector < 0 or int32_at(vector) != length or vector + 4 + 16 * length > high:
        return _UNSURE
    return vector + 4


@compiled
def _rows(batch: int, low: int, high: int) -> Any:
    """Return how many rows a record batch says it has."""
    at = _slot(batch, 0, 8, low, high)
    return int64_at(at) if at > 0 else _UNSURE


@compiled
def _aligned(buffers: int, count: int, size: int) -> bool:
    """Tell whether all buffers lie within a body of some size, on multiples of eight bytes."""
    for i in range(count):
        offset, length = int64_at(buffers + 16 * i), int64_at(buffers + 16 * i + 8)
        if offset < 0 or offset % 8 != 0 or length < 0 or offset > size or length > size - offset:
            return False
    return True


@compiled
def _buffer(buffers: int, number: int, needed: int, body: int) -> Any:
    """Return the address of a buffer that has so many bytes at least, -1 where it has not."""
    if int64_at(buffers + 16 * number + 8) < needed:
        return _UNSURE
    return body + int64_at(buffers + 16 * number)


@compiled
def _dictionary(batch: int, low: int, high: int, body: int, size: int, found: Any) -> bool:
    """Find the texts of a dictionary batch."""
    if _slot(batch, 3, 4, low, high) != _NONE:
        return False
    nodes = _vector(batch, 1, 1, low, high)
    buffers = _vector(batch, 2, 3, low, high)
    if nodes < 0 or buffers < 0 or int64_at(nodes + 8) != 0:
        return False
    n = int64_at(nodes)
    if n <= 0 or n > size or n != _rows(batch, low, high) or not _aligned(buffers, 3, size):
        return False
    offsets = _buffer(buffers, 1, 4 * (n + 1), body)
    texts = _buffer(buffers, 2, 0, body)
    if offsets < 0 or texts < 0:
        return False
    last = int32_at(offsets)
    if last < 0:
        return False
    for i in range(1, n + 1):
        stop = int32_at(offsets + 4 * i)
        if stop < last:
            return False
        last = stop
    if last > int64_at(buffers + 40):
        return False
    found[TEXTS], found[OFFSETS], found[BYTES] = n, offsets, texts
    return True


@compiled
def _columns(batch: int, low: int, high: int, body: int, size: int, plan: Any, found: Any) -> Any:
    """Find the values of a record batch, and return its rows, -1 where unsure."""
    fields = len(plan)
    if _slot(batch, 3, 4, low, high) != _NONE:
        return _UNSURE
    nodes = _vector(batch, 1, fields, low, high)
    buffers = _vector(batch, 2, 2 * fields, low, high)
    if nodes < 0 or buffers < 0:
        return _UNSURE
    n = int64_at(nodes)
    if n <= 0 or n > size or n != _rows(batch, low, high) or not _aligned(buffers, 2 * fields, size):
        return _UNSURE
    for f in range(fields):
        if int64_at(nodes + 16 * f) != n or int64_at(nodes + 16 * f + 8) != 0:
            return _UNSURE
        data = _buffer(buffers, 2 * f + 1, n * plan[f, WIDTH], body)
        if data < 0 or (plan[f, KIND] == LABEL and not _within(data, n, plan[f, WIDTH], found[f, TEXTS])):
            return _UNSURE
        found[f, DATA] = data
    return n


@compiled
def _within(data: int, n: int, width: int, texts: int) -> bool:
    """Tell whether all indices are those of texts."""
    most, least = 0, 0
    for i in range(n):
        index = _index(data, i, width)
        most, least = max(most, index), min(least, index)
    return least >= 0 and most < texts


@compiled
def _index(data: int, i: int, width: int) -> Any:
    if width == 1:
        value = byte_at(data + i)
        return value - 256 if value > 127 else value
    if width == 2:
        value = byte_at(data + 2 * i) + 256 * byte_at(data + 2 * i + 1)
        return value - 65536 if value > 32767 else value
    return int32_at(data + 4 * i)


@compiled
def locate(base: int, size: int, head: int, plan: Any, found: Any) -> int:
    """Find the buffers of a record whose first ``head`` bytes are the schema of the plan; return its rows, -1 where unsure."""
    at, end, rows = base + head, base + size, _UNSURE
    found[:] = 0
    while at < end:
        if at + 8 > end or int32_at(at) != -1:
            return _UNSURE
        length = int32_at(at + 4)
        if length == 0:
            at += 8
            break
        low = at + 8
        high = low + length
        if length < 8 or high > end:
            return _UNSURE
        root = _target(low, low, high)
        kind, link, body_size = (
            _slot(root, 1, 1, low, high),
            _slot(root, 2, 4, low, high),
            _slot(root, 3, 8, low, high),
        )
        version = _slot(root, 0, 2, low, high)
        if version <= 0 or byte_at(version) != _VERSION_5 or byte_at(version + 1) != 0:
            return _UNSURE
        if root < 0 or kind <= 0 or link <= 0 or body_size < 0:
            return _UNSURE
        header, held = _target(link, low, high), int64_at(body_size) if body_size else 0
        if header < 0 or held < 0 or held > end - high or rows >= 0:
            return _UNSURE
        if byte_at(kind) == _DICTIONARY_BATCH:
            if not _take_dictionary(header, low, high, held, plan, found):
                return _UNSURE
        elif byte_at(kind) == _RECORD_BATCH:
            rows = _columns(header, low, high, high, held, plan, found)
            if rows < 0:
                return _UNSURE
        else:
            return _UNSURE
        at = high + held
    return rows if at == end else _UNSURE


@compiled
def _take_dictionary(header: int, low: int, high: int, held: int, plan: Any, found: Any) -> bool:
    number, delta = _slot(header, 0, 8, low, high), _slot(header, 2, 1, low, high)
    link = _slot(header, 1, 4, low, high)
    if number < 0 or delta < 0 or link <= 0 or (delta and byte_at(delta)):
        return False
    batch, wanted = _target(link, low, high), int64_at(number) if number else 0
    for f in range(len(plan)):
        if plan[f, KIND] == LABEL and plan[f, DICTIONARY] == wanted:
            if found[f, TEXTS] or batch < 0:
                return False
            return bool(_dictionary(batch, low, high, high, held, found[f]))
    return False


@compiled
def text_bytes(found: Any) -> Any:
    """Return how many texts the dictionaries of a record hold, and how many bytes."""
    texts, size = 0, 0
    for f in range(len(found)):
        n = found[f, TEXTS]
        if n:
            texts += n
            size += int32_at(found[f, OFFSETS] + 4 * n) - int32_at(found[f, OFFSETS])
    return texts, size


@compiled
def fill(
    found: Any, plan: Any, rows: int, at: int, codes: Any, numbers: Any, times: Any, scratch: Any, table: int
) -> None:
    """Copy a record's columns to rows ``at`` and following; the lexicon behind ``table`` must have room for its texts.

    ``codes`` and ``numbers``, shape (labels or numbers, n), and ``times`` (n,) get them; ``scratch`` has room for any dictionary.
    """
    for f in range(len(plan)):
        place, data = plan[f, PLACE], found[f, DATA]
        if plan[f, KIND] == NUMBER:
            copy(numbers[place] + 8 * at, data, 8 * rows)
        elif plan[f, KIND] == TIME:
            copy(times + 8 * at, data, 8 * rows)
        else:
            offsets = found[f, OFFSETS]
            for i in range(found[f, TEXTS]):
                first = int32_at(offsets + 4 * i)
                size = int32_at(offsets + 4 * i + 4) - first
                scratch[i] = code_of(found[f, BYTES] + first, size, place, table)
            out, width = codes[place] + 4 * at, plan[f, WIDTH]
            for i in range(rows):
                put_int32(out + 4 * i, scratch[_index(data, i, width)])
