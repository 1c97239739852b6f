"""Rows split by the partition of their keys, each part one Arrow record; whole columns at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.columns import Coded, Columns
from schemas.event_types import EventType
from schemas.lexicon import homes_of
from schemas.wire_panes import Reduced, encode_panes

Index = NDArray[np.intp]
_INDEX_TYPES = (np.int8, np.int16, np.int32)


class Part(NamedTuple):
    """Rows that belong on one partition, as an Arrow IPC stream."""

    partition: int
    rows: int
    value: bytes


def split(columns: Columns, event: EventType, partitions: int, max_bytes: int) -> Iterator[Part]:
    """Yield the rows of each partition in their order, by murmur2 of the key as Java's partitioner has it.

    Partitions come in ascending order. Rows that do not fit in ``max_bytes`` come in several parts.

    Raises ValueError if a single row is larger than that.
    """
    yield from _split(
        columns.labels[event.key], partitions, max_bytes, lambda rows: arrow_stream(columns, event, rows), len
    )


def split_panes(reduced: Reduced, key: str, partitions: int, max_bytes: int) -> Iterator[Part]:
    """Yield panes as ``split`` does rows; ``rows`` of a part is the number of events in its panes."""
    count = reduced.table.integers["count"]
    yield from _split(
        reduced.labels[key],
        partitions,
        max_bytes,
        lambda panes: encode_panes(reduced, panes),
        lambda panes: int(count[panes].sum()),
    )


def _split(
    key: Coded,
    partitions: int,
    max_bytes: int,
    encode: Callable[[Index], bytes],
    weigh: Callable[[Index], int],
) -> Iterator[Part]:
    home = homes_of(key.values, partitions)[key.codes]
    order = np.argsort(home, kind="stable")
    bounds = np.searchsorted(home[order], np.arange(partitions + 1))
    for partition in range(partitions):
        rows = order[bounds[partition] : bounds[partition + 1]]
        if len(rows):
            for some, value in _fitting(rows, max_bytes, encode):
                yield Part(partition, weigh(some), value)


def _fitting(rows: Index, max_bytes: int, encode: Callable[[Index], bytes]) -> Iterator[tuple[Index, bytes]]:
    """Yield rows in their order with their bytes, halved until those fit."""
    value = encode(rows)
    if len(value) <= max_bytes:
        yield rows, value
        return
    if len(rows) == 1:
        raise ValueError(f"a reading of {len(value)} bytes does not fit in a record of {max_bytes}")
    middle = len(rows) // 2
    yield from _fitting(rows[:middle], max_bytes, encode)
    yield from _fitting(rows[middle:], max_bytes, encode)


def arrow_stream(columns: Columns, event: EventType, rows: Index) -> bytes:
    """Return the given rows as an Arrow IPC stream: labels by dictionary, numbers as doubles, times as milliseconds.

    Optional fields that no row has are left out.
    """
    arrays: dict[str, Any] = {name: _dictionary(columns.labels[name], rows) for name in event.labels}
    for name in event.numbers:
        arrays[name] = pa.array(columns.numbers[name][rows])
    arrays[event.time] = pa.array(columns.event_time[rows])
    for name in event.times:
        times = columns.numbers[name][rows]
        absent = np.isnan(times)
        arrays[name] = pa.array(np.where(absent, 0, times).astype(np.int64), mask=absent)
    return ipc_stream({name: array for name, array in arrays.items() if _has_rows(name, array, event)})


def ipc_stream(arrays: dict[str, Any]) -> bytes:
    """Return columns as an uncompressed Arrow IPC stream of one batch; Kafka compresses records."""
    batch = pa.record_batch(list(arrays.values()), names=list(arrays))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _has_rows(name: str, array: Any, event: EventType) -> bool:
    return name in event.required or array.null_count < len(array)


def _dictionary(column: Coded, rows: Index) -> Any:
    """Return a text column with just the values that the rows have and the narrowest indices that reach them; empty is null."""
    found, codes = np.unique(column.codes[rows], return_inverse=True)
    texts = [column.values[code] for code in found.tolist()]
    narrow = next(kind for kind in _INDEX_TYPES if len(texts) <= np.iinfo(kind).max)
    absent = np.array([not text for text in texts], bool)[codes] if "" in texts else None
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(narrow), mask=absent), texts)
