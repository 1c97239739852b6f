"""The Arrow wire form, a batch of events a record: IPC streams read to columns of numbered rows."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas import arrow_fast
from schemas.columns import Coded, Float64s, Int64s, RawBatch
from schemas.draft import Draft, Failure
from schemas.errors import ErrorCode
from schemas.event_types import EventType
from schemas.lexicon import Lexicon
from schemas.packed import Packed

_FAR = 2**62
_PER_MS = {"s": 1_000, "ms": 1, "us": -1_000, "ns": -1_000_000}


@dataclass(frozen=True, slots=True)
class _Wire:
    """The columns of records of one schema as sent, to give rows back; ``missing`` marks nulls."""

    key: str
    event_time: Int64s
    time: str
    numbers: dict[str, Float64s]
    labels: dict[str, Coded]
    missing: dict[str, NDArray[np.bool_]]

    def row(self, i: int) -> tuple[bytes | None, bytes]:
        event: dict[str, str | float | int] = {
            name: column.values[column.codes[i]] for name, column in self.labels.items()
        }
        key = str(event[self.key]).encode()
        event |= {name: float(column[i]) for name, column in self.numbers.items()}
        event[self.time] = int(self.event_time[i])
        present = {name: value for name, value in event.items() if not self.missing[name][i]}
        return (None if self.missing[self.key][i] else key), msgspec.json.encode(present)


@dataclass(slots=True)
class ArrowRows:
    """Drafts of the Arrow records of a batch; ``places`` maps a record's index to where its rows are."""

    drafts: list[Draft] = field(default_factory=list)
    places: dict[int, tuple[_Wire, int]] = field(default_factory=dict)

    def raw(self, record: int, row: int) -> tuple[bytes | None, bytes]:
        """Return key and JSON of one row, values and units as they were sent."""
        wire, first = self.places[record]
        return wire.row(first + row)


def decode_records(
    batch: RawBatch, records: Sequence[int], event: EventType, failures: dict[int, Failure], lexicon: Lexicon
) -> ArrowRows:
    """Decode the given records, labels by the lexicon; those that are no stream of such events are added to ``failures``."""
    result = ArrowRows()
    if not records:
        return result
    fast, doubtful = arrow_fast.read(batch.values, records, _plans(event), event, lexicon)
    if fast is not None:
        none = np.zeros(len(fast.event_time), bool)
        wire = _Wire(
            event.key,
            fast.event_time,
            event.time,
            fast.numbers,
            fast.labels,
            dict.fromkeys(event.fields, none),
        )
        _place(result, batch, fast.records, fast.sizes, wire)
    groups: dict[pa.Schema, list[tuple[int, pa.Table]]] = {}
    for index in doubtful:
        value = batch.values[index]
        table = read_table(value or b"", event)
        if isinstance(table, Failure):
            failures[index] = table
        else:
            groups.setdefault(table.schema, []).append((index, table))
    for group in groups.values():
        _add_group(result, batch, group, event, lexicon)
    return result


@cache
def _plans(event: EventType) -> arrow_fast.Plans:
    return arrow_fast.Plans(event, _schema_failure)


def read_table(value: bytes, event: EventType) -> pa.Table | Failure:
    """Read the event's columns from an Arrow IPC stream, fully validated, or say why it cannot be."""
    try:
        if any(_compressed(message) for message in pa.ipc.MessageReader.open_stream(value)):
            # A few bytes may claim to unpack to gigabytes; Kafka's own compression is bounded by the record.
            return Failure(ErrorCode.MALFORMED, "compressed buffers; let Kafka compress the record")
        schema = pa.ipc.open_stream(value).schema
        failure = _schema_failure(schema, event)
        if failure is not None:
            return failure
        wanted = [i for i, name in enumerate(schema.names) if name in event.fields]
        options = pa.ipc.IpcReadOptions(included_fields=wanted)
        table = pa.ipc.open_stream(value, options=options).read_all()
        table.validate(full=True)
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        MemoryError,
        struct.error,
    ) as error:
        return Failure(ErrorCode.MALFORMED, f"not an Arrow stream: {error}")
    if not len(table):
        return Failure(ErrorCode.EMPTY, "the stream has no rows")
    return table.replace_schema_metadata(None)


def _compressed(message: Any) -> bool:
    """Tell whether a message's buffers are compressed, from its flatbuffer (Arrow's Message.fbs)."""
    if message.type not in {"record batch", "dictionary"}:
        return False
    data = memoryview(message.metadata)
    header = _table_at(data, _root(data), 2)
    batch = header if message.type == "record batch" else _table_at(data, header, 1)
    return _slot(data, batch, 3) != 0


def _root(data: memoryview) -> int:
    return int(struct.unpack_from("<I", data, 0)[0])


def _slot(data: memoryview, table: int, number: int) -> int:
    """Return the offset of a field within a flatbuffer table, 0 if the field is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    at = 4 + 2 * number
    return int(struct.unpack_from("<H", data, vtable + at)[0]) if at < size else 0


def _table_at(data: memoryview, table: int, number: int) -> int:
    at = table + _slot(data, table, number)
    return at + int(struct.unpack_from("<I", data, at)[0])


def _schema_failure(schema: pa.Schema, event: EventType) -> Failure | None:
    for name in event.fields:
        found = schema.get_all_field_indices(name)
        if not found:
            if name in event.required:
                return Failure(ErrorCode.MISSING_FIELD, f"no column {name}")
            continue
        if len(found) > 1:
            return Failure(ErrorCode.MALFORMED, f"{len(found)} columns {name}")
        kind = schema.field(found[0]).type
        if not _fits(kind, name, event):
            return Failure(ErrorCode.WRONG_TYPE, f"column {name} is {kind}")
    return None


def _fits(kind: Any, name: str, event: EventType) -> bool:
    if name in event.labels:
        text = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(pa.types.is_string(text) or pa.types.is_large_string(text))
    if name in event.numbers:
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
    return bool(pa.types.is_integer(kind) or (pa.types.is_timestamp(kind) and kind.tz is not None))


def _add_group(
    result: ArrowRows,
    batch: RawBatch,
    group: list[tuple[int, pa.Table]],
    event: EventType,
    lexicon: Lexicon,
) -> None:
    wire = _wire(pa.concat_tables([table for _, table in group]), event, lexicon)
    sizes = np.array([len(table) for _, table in group])
    draft = _place(result, batch, [index for index, _ in group], sizes, wire)
    for name in event.required:
        draft.reject(wire.missing[name], ErrorCode.MISSING_FIELD, partial(_null, name))


def _place(result: ArrowRows, batch: RawBatch, records: Sequence[int], sizes: Int64s, wire: _Wire) -> Draft:
    """Add a draft of the rows of some records."""
    firsts = np.cumsum(sizes) - sizes
    record = np.repeat(np.array(records, np.int64), sizes)
    row = (np.arange(len(record)) - np.repeat(firsts, sizes)).astype(np.int32)
    # The checks replace columns by converted ones; the copies keep what was sent.
    draft = Draft(
        record, row, batch.log_times[record], wire.event_time, dict(wire.numbers), dict(wire.labels)
    )
    result.drafts.append(draft)
    result.places.update(
        (index, (wire, first)) for index, first in zip(records, firsts.tolist(), strict=True)
    )
    return draft


def _null(name: str, _: int) -> str:
    return f"{name} is null"


def _wire(table: pa.Table, event: EventType, lexicon: Lexicon) -> _Wire:
    n = len(table)
    missing: dict[str, NDArray[np.bool_]] = {name: np.ones(n, bool) for name in event.fields}
    numbers = {name: np.full(n, np.nan) for name in (*event.numbers, *event.times)}
    labels = {
        name: Coded(np.full(n, lexicon.codes(i, [""])[0]), lexicon.texts[i])
        for i, name in enumerate(event.labels)
        if name not in table.column_names
    }
    event_time = np.zeros(n, np.int64)
    for name in table.column_names:
        column = table.column(name)
        missing[name] = np.asarray(column.is_null())
        if name in event.labels:
            labels[name], missing[name] = _label(column, event.labels.index(name), lexicon)
        elif name in event.numbers:
            numbers[name] = np.where(missing[name], np.nan, np.asarray(column).astype(np.float64))
        elif name == event.time:
            event_time = _millis(column)
        else:
            numbers[name] = np.where(missing[name], np.nan, _millis(column))
    return _Wire(event.key, event_time, event.time, numbers, labels, missing)


def _label(column: Any, label: int, lexicon: Lexicon) -> tuple[Coded, NDArray[np.bool_]]:
    """Return a text column in coded form, empty where null, and the mask of nulls."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    if not chunks:
        return Coded(np.empty(0, np.int32), lexicon.texts[label]), np.empty(0, bool)
    # Chunks repeat one another's values, and a sender's dictionary may hold unused ones, repeats and nulls.
    dictionary = pa.concat_arrays([chunk.dictionary for chunk in chunks])
    known = np.append(lexicon.codes_of(label, _packed(dictionary)), lexicon.codes(label, [""]))
    absent = np.append(np.asarray(dictionary.is_null()), True)
    # A null's index may be anything, so the cast is unchecked; the others were validated.
    indices = pa.chunked_array([chunk.indices for chunk in chunks]).cast(pa.int64(), safe=False)
    sizes = np.array([len(chunk.dictionary) for chunk in chunks])
    at = np.asarray(indices.fill_null(0)) + np.repeat(
        np.cumsum(sizes) - sizes, [len(chunk) for chunk in chunks]
    )
    if indices.null_count:
        at[np.asarray(indices.is_null())] = len(dictionary)
    nulls = absent[at]
    return Coded(np.where(nulls, known[-1], known[at]), lexicon.texts[label]), nulls


def _packed(texts: Any) -> Packed:
    """Return a text array's bytes in place; what nulls hold does not matter."""
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return Packed(np.empty(0, np.uint8), np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64))
    stop = np.frombuffer(offsets, width)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    return Packed(np.frombuffer(data, np.uint8), stop[:-1], np.diff(stop))


def _millis(column: Any) -> Int64s:
    """Return integers or timestamps as milliseconds, rounded down, 0 where null."""
    per_ms = _PER_MS[column.type.unit] if pa.types.is_timestamp(column.type) else 1
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    whole: Int64s = np.asarray(column.fill_null(0))
    if per_ms < 0:
        return whole // -per_ms
    # Far times stay far instead of wrapping round.
    low = -(_FAR // per_ms) if whole.dtype.kind == "i" else 0
    return np.clip(whole, low, _FAR // per_ms).astype(np.int64) * per_ms
