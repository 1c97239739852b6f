"""Arrow tables of what is on a topic: one row an event or a result, and rows that say what could not be read.

Tables of events have ``topic``, ``partition``, ``offset``, ``row`` (within a record that holds several), ``timestamp``
(log-append time, UTC), ``error`` (a code, null for good rows), then the event's fields. On the first row of each record are its
``record_key``, ``record_value`` and ``record_type`` as they were sent, so that it can be processed again byte for byte.
Tables of results call the same ``record_topic`` and so on, since results have such fields of their own; only unreadable
records are kept in ``record_value``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import inspect

from schemas.codec import decode as decode_events
from schemas.columns import Coded, Columns, Float64s, RawBatch
from schemas.event_types import EventType
from sinks.decoding import Decoder, Struct, decode

TIME: Final = pa.timestamp("ms", "UTC")
TEXT: Final = pa.dictionary(pa.int32(), pa.string())
TIMES: Final = frozenset({"start", "end", "time", "opened_at", "first_report", "first_time", "last_time"})
"""Fields of results that are milliseconds since the epoch."""

_EVENT: Final[Mapping[str, Any]] = {
    "topic": TEXT,
    "partition": pa.int32(),
    "offset": pa.int64(),
    "row": pa.int32(),
    "timestamp": TIME,
    "error": TEXT,
    "record_key": pa.binary(),
    "record_value": pa.binary(),
    "record_type": TEXT,
}
_RECORD: Final[Mapping[str, Any]] = {
    "record_topic": TEXT,
    "record_partition": pa.int32(),
    "record_offset": pa.int64(),
    "record_timestamp": TIME,
    "record_error": TEXT,
    "record_value": pa.binary(),
}


def event_schema(event: EventType) -> pa.Schema:
    """Return the schema of a table of events; numbers are in the canonical unit, which ``unit`` names."""
    fields: dict[str, Any] = dict.fromkeys(event.labels, TEXT) | dict.fromkeys(event.numbers, pa.float64())
    fields |= dict.fromkeys((event.time, *event.times), TIME)
    declared = {name: fields[name] for name in event.struct.__struct_fields__ if name in fields}
    return pa.schema(list({**_EVENT, **declared}.items()))


def event_table(batch: RawBatch, event: EventType, partitions: int | None = None) -> pa.Table:
    """Decode a batch to a table in (offset, row) order; a record or row that is no valid event has its code in ``error``.

    ``partitions`` is the topic's number, by which rows on the wrong partition are told.
    """
    columns = decode_events(batch, event, partitions=partitions)
    schema = event_schema(event)
    parts = [_valid(columns, event, schema)] if len(columns) else []
    if columns.rejected:
        parts.append(_rejected(columns, batch, schema))
    table = pa.concat_tables(parts) if parts else schema.empty_table()
    if len(parts) > 1:
        table = table.unify_dictionaries().sort_by([("offset", "ascending"), ("row", "ascending")])
    return _with_records(table, batch)


def _valid(columns: Columns, event: EventType, schema: pa.Schema) -> pa.Table:
    n = len(columns)
    arrays: dict[str, Any] = {
        "topic": _same(columns.topic, n),
        "partition": pa.array(np.full(n, columns.partition, np.int32)),
        "offset": pa.array(columns.offset),
        "timestamp": pa.array(columns.log_time).cast(TIME),
        "row": pa.array(columns.row),
        event.time: pa.array(columns.event_time).cast(TIME),
    }
    arrays |= {name: _text(column) for name, column in columns.labels.items()}
    arrays |= {name: _number(columns.numbers[name]) for name in event.numbers}
    arrays |= {name: _number(columns.numbers[name]).cast(pa.int64()).cast(TIME) for name in event.times}
    return _table(arrays, n, schema)


def _rejected(columns: Columns, batch: RawBatch, schema: pa.Schema) -> pa.Table:
    bad, n = columns.rejected, len(columns.rejected)
    offsets = np.fromiter((each.offset for each in bad), np.int64, n)
    arrays = {
        "topic": _same(columns.topic, n),
        "partition": pa.array(np.full(n, columns.partition, np.int32)),
        "offset": pa.array(offsets),
        "timestamp": pa.array(batch.log_times[np.searchsorted(batch.offsets, offsets)]).cast(TIME),
        "error": pa.array([str(each.code) for each in bad]).cast(TEXT),
        "row": pa.array(np.fromiter((each.row for each in bad), np.int32, n)),
    }
    return _table(arrays, n, schema)


def _with_records(table: pa.Table, batch: RawBatch) -> pa.Table:
    """Put key, value and content type of each record on its first row."""
    offsets = np.asarray(table.column("offset"))
    first = np.diff(offsets, prepend=-1) != 0
    record = np.searchsorted(batch.offsets, offsets)
    sent = {"record_key": batch.keys, "record_value": batch.values, "record_type": batch.content_types}
    for name, values in sent.items():
        if values is not None:
            chosen = [
                values[i] if new else None for i, new in zip(record.tolist(), first.tolist(), strict=True)
            ]
            kind = _EVENT[name]
            array = pa.array(chosen, pa.string() if kind == TEXT else kind).cast(kind)
            table = table.set_column(table.schema.get_field_index(name), pa.field(name, kind), array)
    return table


def raw_batch_of(table: pa.Table, start: int) -> RawBatch:
    """Return the records of a table of events as they were on the topic; the batch begins at ``start``."""
    offsets = np.asarray(table.column("offset"))
    records = table.filter(pa.array(np.diff(offsets, prepend=-1) != 0))
    types = records.column("record_type").to_pylist()
    kept = np.asarray(records.column("offset"))
    return RawBatch(
        records.column("topic")[0].as_py(),
        records.column("partition")[0].as_py(),
        start,
        int(kept[-1]) + 1,
        kept,
        np.asarray(records.column("timestamp").cast(pa.int64())),
        records.column("record_key").to_pylist(),
        records.column("record_value").to_pylist(),
        types if any(types) else None,
    )


def result_schema(struct: Struct) -> pa.Schema:
    """Return the schema of a table of results; maps stay maps, free-form fields are JSON text."""
    fields = {field.name: _kind(field.type, field.name) for field in _fields(struct)}
    return pa.schema(list({**_RECORD, **fields}.items()))


def result_table(batch: RawBatch, decoder: Decoder, struct: Struct) -> pa.Table:
    """Decode a batch of results to a table in offset order; what is no result has its code in ``record_error``."""
    schema = result_schema(struct)
    found = [decode(decoder, value) for value in batch.values]
    n = len(found)
    errors = [None if isinstance(each, msgspec.Struct) else str(each) for each in found]
    arrays = {
        "record_topic": _same(batch.topic, n),
        "record_partition": pa.array(np.full(n, batch.partition, np.int32)),
        "record_offset": pa.array(batch.offsets),
        "record_timestamp": pa.array(batch.log_times).cast(TIME),
        "record_error": pa.array(errors, pa.string()).cast(TEXT),
        "record_value": pa.array(
            [value if error else None for value, error in zip(batch.values, errors, strict=True)], pa.binary()
        ),
    }
    for field in _fields(struct):
        values = [
            getattr(each, field.name, None) if e is None else None
            for each, e in zip(found, errors, strict=True)
        ]
        arrays[field.name] = _values(values, schema.field(field.name).type, _as_json(field.type))
    return _table(arrays, n, schema)


def _fields(struct: Struct) -> tuple[inspect.Field, ...]:
    described = inspect.type_info(struct)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{struct} is no struct")
    return described.fields


_SIMPLE: Final[Mapping[type, Any]] = {
    inspect.IntType: pa.int64(),
    inspect.FloatType: pa.float64(),
    inspect.BoolType: pa.bool_(),
    inspect.StrType: pa.string(),
    inspect.LiteralType: pa.string(),
    inspect.EnumType: pa.string(),
    inspect.BytesType: pa.binary(),
}


def _kind(described: inspect.Type, name: str = "") -> Any:
    """Return the Arrow type of a field, text where it has none of its own."""
    if isinstance(described, inspect.UnionType):
        rest = [each for each in described.types if not isinstance(each, inspect.NoneType)]
        return _kind(rest[0], name) if len(rest) == 1 else pa.string()
    if isinstance(described, inspect.IntType) and name in TIMES:
        return TIME
    if isinstance(described, inspect.DictType) and type(described.value_type) in _SIMPLE:
        return pa.map_(pa.string(), _kind(described.value_type))
    if isinstance(described, inspect.ListType) and type(described.item_type) in _SIMPLE:
        return pa.list_(_kind(described.item_type))
    return _SIMPLE.get(type(described), pa.string())


def _as_json(described: inspect.Type) -> bool:
    """Tell whether a field is text only because Arrow has no type for it."""
    texts = inspect.StrType | inspect.LiteralType | inspect.EnumType
    alone = described
    if isinstance(described, inspect.UnionType):
        rest = [each for each in described.types if not isinstance(each, inspect.NoneType)]
        if len(rest) != 1:
            return True
        alone = rest[0]
    return _kind(alone) == pa.string() and not isinstance(alone, texts)


def _values(values: list[Any], kind: Any, as_json: bool) -> Any:
    if as_json:
        values = [None if value is None else msgspec.json.encode(value).decode() for value in values]
    elif pa.types.is_map(kind):
        values = [None if value is None else list(value.items()) for value in values]
    elif kind == TIME:
        return pa.array(values, pa.int64()).cast(TIME)
    return pa.array(values, kind)


def _table(arrays: Mapping[str, Any], n: int, schema: pa.Schema) -> pa.Table:
    """Return a table of this schema; columns that are not given are null."""
    columns = [arrays[f.name].cast(f.type) if f.name in arrays else pa.nulls(n, f.type) for f in schema]
    return pa.table(columns, schema=schema)


def _same(text: str, n: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), [text])


def _text(column: Coded) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(column.codes), pa.array(list(column.values), pa.string()))


def _number(column: Float64s) -> Any:
    """Return numbers with null for NaN, which stands for an absent one."""
    return pa.array(column, pa.float64(), from_pandas=True)
