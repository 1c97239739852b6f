"""From raw records to columns: one batch of bytes at a time, bad records set aside with a code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from schemas import wire_arrow, wire_json
from schemas.checks import LIMITS, Limits, check_finite, check_labels, check_routing, check_times
from schemas.columns import Columns, RawBatch, Rejected
from schemas.draft import Draft, Failure, compacted, merged
from schemas.errors import ErrorCode
from schemas.event_types import EventType

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"


def decode(
    batch: RawBatch, event: EventType, *, limits: Limits = LIMITS, partitions: int | None = None
) -> Columns:
    """Decode a batch to the columns of its valid rows; the others are in ``rejected``, nothing is raised.

    The content type of a record decides its form: none or ``application/json`` is one event in JSON,
    ``application/vnd.apache.arrow.stream`` an Arrow IPC stream whose rows are events. Given the topic's
    number of ``partitions``, Arrow rows whose key belongs to another one are rejected. The outcome for a
    record never depends on the others of its batch.
    """
    sorted_out = _sort_out(batch, limits)
    failures = sorted_out.failures
    json_draft = _json_rows(batch, sorted_out.json, event, failures)
    arrow = wire_arrow.decode_records(batch, sorted_out.arrow, event, failures)
    draft = merged([json_draft, *arrow.drafts])
    _check(draft, event, limits)
    if partitions is not None and arrow.drafts:
        from_arrow = np.isin(draft.record, np.array(sorted_out.arrow))
        check_routing(draft, from_arrow, event.key, batch.partition, partitions)
    return _columns(batch, draft, failures, _raw_of(batch, draft, arrow))


@dataclass(slots=True)
class _Sorted:
    """Indexes of records by wire form, and those of neither with the reason."""

    json: Sequence[int]
    arrow: list[int]
    failures: dict[int, Failure]


def _sort_out(batch: RawBatch, limits: Limits) -> _Sorted:
    n = len(batch)
    types = batch.content_types
    plain = types is None or set(types) <= {None, JSON}
    if plain and all(batch.values):
        sizes = np.fromiter(map(len, batch.values), np.int64, n)  # type: ignore[arg-type]
        if not (sizes > limits.max_bytes).any():
            return _Sorted(range(n), [], {})
    result = _Sorted([], [], {})
    json_records: list[int] = []
    for i, value in enumerate(batch.values):
        form = _media_type(types[i] if types is not None else None)
        failure = _unreadable(value, form, limits)
        if failure is not None:
            result.failures[i] = failure
        else:
            (json_records if form == JSON else result.arrow).append(i)
    result.json = json_records
    return result


def _media_type(content_type: str | None) -> str:
    """Return the media type without parameters such as ``charset``."""
    return JSON if content_type is None else content_type.partition(";")[0].strip().lower()


def _unreadable(value: bytes | None, form: str, limits: Limits) -> Failure | None:
    if not value:
        return Failure(ErrorCode.EMPTY, "the record has no value")
    if len(value) > limits.max_bytes:
        return Failure(ErrorCode.OVERSIZED, f"{len(value)} bytes, more than {limits.max_bytes}")
    if form not in {JSON, ARROW}:
        return Failure(ErrorCode.UNKNOWN_CONTENT_TYPE, f"content type {form!r}")
    return None


def _json_rows(
    batch: RawBatch, records: Sequence[int], event: EventType, failures: dict[int, Failure]
) -> Draft:
    whole = len(records) == len(batch)
    # None and empty values were sorted out before.
    values = cast(Sequence[bytes], batch.values if whole else [batch.values[i] for i in records])
    rows, bad = wire_json.decode_values(values, event) if records else ([], {})
    index = np.fromiter(records, np.int64, len(records))
    if bad:
        failures.update((int(index[i]), failure) for i, failure in bad.items())
        index = np.delete(index, list(bad))
    return wire_json.draft_of(rows, index, batch.log_times[index], event)


def _check(draft: Draft, event: EventType, limits: Limits) -> None:
    check_labels(draft, event.required, limits)
    check_finite(draft, event.required)
    check_times(draft, event.time, event.times, limits)
    for check in event.checks:
        check(draft)


Raw = Callable[[int], tuple[bytes | None, bytes]]


def _raw_of(batch: RawBatch, draft: Draft, arrow: wire_arrow.ArrowRows) -> Raw:
    """Return what gives key and JSON of a row of the draft."""
    record, row = draft.record, draft.row

    def raw(i: int) -> tuple[bytes | None, bytes]:
        r = int(record[i])
        if r in arrow.places:
            return arrow.raw(r, int(row[i]))
        return batch.keys[r], batch.values[r]  # type: ignore[return-value]

    return raw


def _columns(batch: RawBatch, draft: Draft, failures: dict[int, Failure], raw: Raw) -> Columns:
    rejected = [
        (i, 0, Rejected(int(batch.offsets[i]), 0, f.code, f.detail, batch.keys[i], batch.values[i]))
        for i, f in failures.items()
    ]
    for i, f in draft.failures.items():
        record, row = int(draft.record[i]), int(draft.row[i])
        rejected.append((record, row, Rejected(int(batch.offsets[record]), row, f.code, f.detail, *raw(i))))
    rejected.sort(key=lambda item: item[:2])
    everything = Columns(
        batch.topic,
        batch.partition,
        batch.start,
        batch.next,
        batch.offsets[draft.record],
        draft.row,
        draft.log_time,
        draft.event_time,
        draft.numbers,
        draft.labels,
        raw,
        tuple(item[2] for item in rejected),
    )
    return _valid(everything, draft) if draft.failures else everything


def _valid(everything: Columns, draft: Draft) -> Columns:
    good = np.ones(len(draft), bool)
    good[list(draft.failures)] = False
    kept = everything.take(np.flatnonzero(good), everything.start, everything.next, everything.rejected)
    labels = kept.labels
    for name, column in labels.items():
        labels[name] = compacted(column)  # type: ignore[index]
    return kept
