"""The fast way into Arrow records: those of a schema seen before and of the plainest form, read without the Arrow library."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas import arrow_kernel as kernel
from schemas.columns import Coded, Float64s, Int64s
from schemas.event_types import EventType
from schemas.lexicon import Lexicon
from schemas.packed import Packed, address_of

Refuse = Callable[[pa.Schema, EventType], object | None]

_INDEX_WIDTHS = {pa.int8(): 1, pa.int16(): 2, pa.int32(): 4}
_MOST_PLANS = 256


@dataclass(frozen=True, slots=True)
class Fast:
    """Rows read: of which records (their indexes), how many of each, and their columns, none of which has a null."""

    records: list[int]
    sizes: Int64s
    event_time: Int64s
    numbers: dict[str, Float64s]
    labels: dict[str, Coded]


class Plans:
    """What is known of the schemas met so far, by the bytes of their message; forgotten when there are too many."""

    def __init__(self, event: EventType, refuse: Refuse) -> None:
        self._event, self._refuse = event, refuse
        self._plans: dict[bytes, Int64s | None] = {}

    def plan(self, head: bytes) -> Int64s | None:
        """Return the fields of a schema message, shape (fields, FIELD), ``None`` where it is not plain."""
        if head not in self._plans:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[head] = self._made(head)
        return self._plans[head]

    def _made(self, head: bytes) -> Int64s | None:
        event = self._event
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(head))
            if self._refuse(schema, event) is not None or sorted(schema.names) != sorted(event.fields):
                return None
            ids = _dictionary_ids(memoryview(head)[8:])
        except (pa.ArrowException, OSError, ValueError, IndexError, struct.error):
            return None
        if ids is None or len(ids) != len(schema):
            return None
        rows = [_field(schema.field(i), number, event) for i, number in enumerate(ids)]
        if any(row is None for row in rows):
            return None
        named = [number for number in ids if number is not None]
        return None if len(set(named)) < len(named) else np.array(rows, np.int64)


def _field(field: Any, number: int | None, event: EventType) -> tuple[int, int, int, int] | None:
    name, kind = field.name, field.type
    if name in event.labels:
        plain = pa.types.is_dictionary(kind) and kind.value_type == pa.string() and number is not None
        width = _INDEX_WIDTHS.get(kind.index_type, 0) if plain else 0
        return (kernel.LABEL, width, number or 0, event.labels.index(name)) if width else None
    if name in event.numbers and kind == pa.float64():
        return kernel.NUMBER, 8, 0, event.numbers.index(name)
    return (kernel.TIME, 8, 0, 0) if name == event.time and kind == pa.int64() else None


def read(
    values: Sequence[bytes | None], records: Sequence[int], plans: Plans, event: EventType, lexicon: Lexicon
) -> tuple[Fast | None, list[int]]:
    """Read those of the given records that are plain, and return the indexes of the others."""
    packed = values if isinstance(values, Packed) else Packed.of([values[i] for i in records])
    at = np.asarray(records) if isinstance(values, Packed) else np.arange(len(records))
    base = packed.address
    found = np.zeros((len(records), len(event.fields), kernel.FOUND), np.int64)
    taken: list[tuple[int, int, Int64s]] = []  # place among the records, rows, plan
    texts = size = 0
    for place, (start, length) in enumerate(
        zip(packed.start[at].tolist(), packed.size[at].tolist(), strict=True)
    ):
        head = _head(packed.data, start, length)
        plan = None if head is None else plans.plan(head)
        if plan is None or head is None:
            continue
        rows = kernel.locate(base + start, length, len(head), plan, found[place])
        if rows > 0:
            taken.append((place, rows, plan))
            more = kernel.text_bytes(found[place])
            texts, size = texts + more[0], size + more[1]
    if not taken:
        return None, list(records)
    lexicon.reserve(texts, size)
    fast = _filled(taken, found, [records[place] for place, _, _ in taken], event, lexicon)
    lexicon.learn()
    if lexicon.any_bad:
        bad = _bad(fast, event, lexicon)
        taken = [item for item, doubtful in zip(taken, bad.tolist(), strict=True) if not doubtful]
        if not taken:
            return None, list(records)
        if bad.any():
            fast = _filled(taken, found, [records[place] for place, _, _ in taken], event, lexicon)
    chosen = set(fast.records)
    return fast, [index for index in records if index not in chosen]


def _filled(
    taken: list[tuple[int, int, Int64s]],
    found: Int64s,
    records: list[int],
    event: EventType,
    lexicon: Lexicon,
) -> Fast:
    sizes = np.array([rows for _, rows, _ in taken], np.int64)
    n = int(sizes.sum())
    codes = [np.empty(n, np.int32) for _ in event.labels]
    numbers = [np.empty(n) for _ in event.numbers]
    times = np.empty(n, np.int64)
    into_codes, into_numbers = (_addresses(arrays) for arrays in (codes, numbers))
    scratch = np.empty(int(found[:, :, kernel.TEXTS].max()), np.int32)
    at = 0
    for place, rows, plan in taken:
        kernel.fill(
            found[place], plan, rows, at, into_codes, into_numbers, address_of(times), scratch, lexicon.table
        )
        at += rows
    labels = {name: Coded(codes[i], lexicon.texts[i]) for i, name in enumerate(event.labels)}
    return Fast(records, sizes, times, dict(zip(event.numbers, numbers, strict=True)), labels)


def _bad(fast: Fast, event: EventType, lexicon: Lexicon) -> NDArray[np.bool_]:
    """Return which records have a text that is no UTF-8, or that the lexicon refuses for another reason."""
    rows = np.zeros(len(fast.event_time), bool)
    for i, name in enumerate(event.labels):
        rows |= lexicon.bad_codes(i)[fast.labels[name].codes]
    return np.logical_or.reduceat(rows, np.cumsum(fast.sizes) - fast.sizes)


def _addresses(arrays: Sequence[NDArray[Any]]) -> Int64s:
    return np.array([address_of(array) for array in arrays], np.int64)


def _head(data: NDArray[np.uint8], start: int, size: int) -> bytes | None:
    """Return the bytes of a stream's first message, which has no body where it is a schema."""
    if size < 8:
        return None
    mark, length = data[start : start + 8].view(np.int32).tolist()
    return data[start : start + 8 + length].tobytes() if mark == -1 and 0 < length <= size - 8 else None


def _dictionary_ids(message: memoryview) -> list[int | None] | None:
    """Return the dictionary id of each field of a schema message (``None`` where it has none); ``None`` for big-endian ones."""
    schema = _follow(message, _at(message, _follow(message, 0), 2))
    endianness = _at(message, schema, 0)
    if endianness and struct.unpack_from("<h", message, endianness)[0]:
        return None
    fields = _follow(message, _at(message, schema, 1))
    count = struct.unpack_from("<I", message, fields)[0]
    return [_dictionary_id(message, _follow(message, fields + 4 + 4 * i)) for i in range(count)]


def _dictionary_id(message: memoryview, field: int) -> int | None:
    encoding = _at(message, field, 4)
    if not encoding:
        return None
    number = _at(message, _follow(message, encoding), 0)
    return int(struct.unpack_from("<q", message, number)[0]) if number else 0


def _at(data: memoryview, table: int, number: int) -> int:
    """Return the offset of a field within a flatbuffer table, 0 if the field is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    place = 4 + 2 * number
    offset = struct.unpack_from("<H", data, vtable + place)[0] if place < size else 0
    return table + int(offset) if offset else 0


def _follow(data: memoryview, at: int) -> int:
    return at + int(struct.unpack_from("<I", data, at)[0])
