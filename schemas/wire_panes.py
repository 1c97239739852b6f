"""The wire form of panes: an Arrow IPC stream of aggregates that a gateway made, read to rows beside single events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.columns import Coded, RawBatch
from schemas.draft import Draft, Failure
from schemas.errors import ErrorCode
from schemas.event_types import EventType
from schemas.lexicon import Lexicon
from schemas.panes import FLOATS, INTEGERS, PaneRows, PaneSpec, PaneTable, joined

PANES = "application/vnd.tidewatch.panes.v1"
_SPEC = b"tidewatch.panes"
_BINS = pa.list_(pa.field("item", pa.int32(), nullable=False))
_COUNTS = pa.list_(pa.field("item", pa.int64(), nullable=False))
_LIMB = 1 << 40


class Reduced(NamedTuple):
    """Events reduced to panes: the labels of each pane, shape (n,), the panes, and what they are made to."""

    labels: dict[str, Coded]
    table: PaneTable
    spec: PaneSpec


@dataclass(slots=True)
class PaneRecords:
    """Drafts of the pane records of a batch, their panes in one table, and where each record's begin."""

    drafts: list[Draft] = field(default_factory=list)
    tables: list[PaneTable] = field(default_factory=list)
    firsts: dict[int, int] = field(default_factory=dict)

    def rows_of(self, draft: Draft) -> PaneRows | None:
        """Return which rows of a draft are panes, ``None`` where no record has any."""
        if not self.tables:
            return None
        first = np.full(int(draft.record.max(initial=0)) + 1, -1, np.int32)
        for record, at in self.firsts.items():
            if record < len(first):
                first[record] = at
        begin = first[draft.record]
        return PaneRows(np.where(begin < 0, -1, begin + draft.row).astype(np.int32), joined(self.tables))


def encode_panes(reduced: Reduced, rows: NDArray[np.intp]) -> bytes:
    """Return some panes with their labels as an uncompressed Arrow IPC stream."""
    labels, table, spec = reduced
    which, codes, counts = table.bins(rows)
    offsets = pa.array(np.searchsorted(which, np.arange(len(rows) + 1)).astype(np.int32))
    arrays: dict[str, Any] = {name: _dictionary(column, rows) for name, column in labels.items()}
    arrays |= {name: pa.array(table.integers[name][rows]) for name in INTEGERS}
    arrays |= {name: pa.array(table.floats[name][rows]) for name in FLOATS}
    arrays["bins"] = pa.ListArray.from_arrays(offsets, pa.array(codes, pa.int32()), type=_BINS)
    arrays["counts"] = pa.ListArray.from_arrays(offsets, pa.array(counts, pa.int64()), type=_COUNTS)
    fields = [pa.field(name, array.type) for name, array in arrays.items()]
    schema = pa.schema(fields, metadata={_SPEC: msgspec.json.encode(spec)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(list(arrays.values()), schema=schema))
    return bytes(sink.getvalue())


def decode_panes(
    batch: RawBatch,
    records: Sequence[int],
    event: EventType,
    spec: PaneSpec | None,
    failures: dict[int, Failure],
    lexicon: Lexicon,
) -> PaneRecords:
    """Decode the given records; those that are no panes, or that cannot be added exactly, go to ``failures``."""
    result, first = PaneRecords(), 0
    for index in records:
        read = _read(batch.values[index] or b"", event, spec)
        if isinstance(read, Failure):
            failures[index] = read
            continue
        labels, table = read
        n = len(table)
        coded = {
            name: Coded(lexicon.codes(i, labels[name]), lexicon.texts[i])
            for i, name in enumerate(event.labels)
        }
        numbers = {name: np.full(n, np.nan) for name in event.times}
        # A pane stands for its largest value where single values are looked at; the smallest is looked at beside it.
        numbers |= {name: table.floats["max"].copy() for name in event.numbers}
        row = np.arange(n, dtype=np.int32)
        record = np.full(n, index, np.int64)
        log_time = batch.log_times[record]
        result.drafts.append(Draft(record, row, log_time, table.integers["last_time"].copy(), numbers, coded))
        result.tables.append(table)
        result.firsts[index] = first
        first += n
    return result


def _read(
    value: bytes, event: EventType, spec: PaneSpec | None
) -> tuple[dict[str, list[str]], PaneTable] | Failure:
    try:
        with pa.ipc.open_stream(value) as reader:
            made = msgspec.json.decode((reader.schema.metadata or {}).get(_SPEC, b""), type=PaneSpec)
            if spec is None or not spec.takes(made):
                wanted = "takes none" if spec is None else f"takes those of {spec}"
                return Failure(ErrorCode.INCOMPATIBLE_PANES, f"panes of {made}; the pipeline {wanted}")
            record = reader.read_all()
        record.validate(full=True)
        record = record.combine_chunks()
        labels = {name: [str(text) for text in record.column(name).to_pylist()] for name in event.labels}
        table = _table(record)
    except (pa.ArrowException, msgspec.MsgspecError, OSError, ValueError, TypeError, KeyError) as error:
        return Failure(ErrorCode.MALFORMED, f"no panes: {error}")
    if not len(table):
        return Failure(ErrorCode.EMPTY, "no panes")
    problem = _problem(table, made.pane_ms)
    return (labels, table) if problem is None else Failure(ErrorCode.MALFORMED, f"no panes: {problem}")


def _table(record: pa.Table) -> PaneTable:
    bins, counts = record.column("bins").chunk(0), record.column("counts").chunk(0)
    indptr = np.asarray(bins.offsets).astype(np.int64)
    if bins.type != _BINS or counts.type != _COUNTS or not np.array_equal(indptr, np.asarray(counts.offsets)):
        raise ValueError("bins and counts differ")
    return PaneTable(
        {name: _column(record, name, pa.int64()) for name in INTEGERS},
        {name: _column(record, name, pa.float64()) for name in FLOATS},
        indptr - indptr[0],
        np.asarray(bins.flatten()).astype(np.int32),
        np.asarray(counts.flatten()).astype(np.int64),
    )


def _column(record: pa.Table, name: str, kind: Any) -> NDArray[Any]:
    column = record.column(name)
    if column.type != kind or column.null_count:
        raise TypeError(f"column {name} is {column.type}, with {column.null_count} nulls")
    return np.array(column)


def _problem(table: PaneTable, pane_ms: int) -> str | None:
    """Return why a table cannot be one of panes, if so: what does not hold together would not show in sums later."""
    n, floats = table.integers, table.floats
    within = np.zeros(len(table), np.int64)
    np.add.at(within, np.repeat(np.arange(len(table)), np.diff(table.indptr)), table.counts)
    checks = {
        "an empty pane": n["count"] < 1,
        "bins that do not add up to the count": within != n["count"],
        "a start that is no multiple of the length": n["start"] % pane_ms != 0,
        "times out of order": n["first_time"] > n["last_time"],
        "times outside of the pane": (n["first_time"] < n["start"])
        | (n["last_time"] >= n["start"] + pane_ms),
        "a value outside of the extremes": ~(
            (floats["min"] <= np.minimum(floats["first"], floats["last"]))
            & (np.maximum(floats["first"], floats["last"]) <= floats["max"])
        ),
        "squares out of range": (n["squares_low"] < 0)
        | (n["squares_low"] >= _LIMB)
        | (n["squares_high"] < 0),
    }
    for what, bad in checks.items():
        if bad.any():
            return what
    inside = (table.counts >= 1).all() and ((table.codes >= 0) & (table.codes < 1 << 16)).all()
    return None if inside else "a bin that cannot be"


def pane_row(
    event: EventType, labels: dict[str, str], table: PaneTable, i: int
) -> tuple[bytes | None, bytes]:
    """Return key and JSON of one pane, for late and dead letters."""
    pane: dict[str, object] = dict(labels)
    pane |= {name: int(table.integers[name][i]) for name in INTEGERS}
    pane |= {name: float(table.floats[name][i]) for name in FLOATS}
    _, codes, counts = table.bins(np.array([i]))
    pane["bins"], pane["counts"] = codes.tolist(), counts.tolist()
    return labels[event.key].encode(), msgspec.json.encode(pane)


def _dictionary(column: Coded, rows: NDArray[np.intp]) -> Any:
    found, codes = np.unique(column.codes[rows], return_inverse=True)
    texts = [column.values[code] for code in found.tolist()]
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), texts)
