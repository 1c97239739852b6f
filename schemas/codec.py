"""From raw records to columns: one batch of bytes at a time, bad records set aside with a code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from schemas import wire_arrow, wire_json
from schemas.batch_ids import sent_batches
from schemas.checks import LIMITS, Limits, check_finite, check_labels, check_routing, check_times
from schemas.columns import Columns, Int64s, RawBatch, Rejected, Sent
from schemas.draft import Draft, Failure, compacted, encode, merged
from schemas.errors import ErrorCode
from schemas.event_types import EventType
from schemas.json_plan import lexicon_of
from schemas.lexicon import Lexicon
from schemas.packed import Packed

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"


def decode(
    batch: RawBatch,
    event: EventType,
    *,
    limits: Limits = LIMITS,
    partitions: int | None = None,
    lexicon: Lexicon | None = None,
) -> Columns:
    """Decode a batch to the columns of its valid rows; the others are in ``rejected``, nothing is raised.

    The content type of a record decides its form: none or ``application/json`` is one event in JSON,
    ``application/vnd.apache.arrow.stream`` an Arrow IPC stream whose rows are events. Given the topic's
    number of ``partitions``, Arrow rows whose key belongs to another one are rejected. The outcome for a
    record never depends on the others of its batch. Given a ``lexicon``, labels are coded by it.
    """
    sizes = _sizes(batch.values)
    failures = _unusable(sizes, limits)
    json, arrow_records = _by_form(batch, failures)
    words = lexicon_of(event) if lexicon is None else lexicon
    json_draft, bad = wire_json.decode_records(batch, json, sizes, event, words)
    failures |= bad
    arrow = wire_arrow.decode_records(batch, arrow_records, event, failures, words)
    draft = merged([json_draft, *arrow.drafts])
    _check(draft, event, limits)
    if partitions is not None and arrow.drafts:
        from_arrow = np.isin(draft.record, list(arrow.places))
        check_routing(draft, from_arrow, event.key, batch.partition, partitions)
    sent = sent_batches(batch, _maybe_numbered(draft, arrow_records, failures))
    everything = _columns(batch, draft, failures, _raw_of(batch, draft, arrow), sent)
    lingering = draft.failures or arrow.drafts
    return _compacted(everything) if lexicon is None and lingering else everything


class Decoder:
    """Decodes batch after batch of one event, remembering the labels it has met.

    Equal texts keep their codes from batch to batch, so that tasks need not look at them again. Each thread has a
    memory of its own; it is forgotten when it grows past ``max_texts``, as made-up labels would make it.
    """

    def __init__(
        self,
        event: EventType,
        *,
        limits: Limits = LIMITS,
        partitions: int | None = None,
        max_texts: int = 4_000_000,
    ) -> None:
        self._event, self._limits, self._max_texts = event, limits, max_texts
        self._partitions = partitions
        self._memory = threading.local()

    def __call__(self, batch: RawBatch) -> Columns:
        """Decode a batch as ``decode`` does; the labels' values may hold texts that no row of it has."""
        lexicon: Lexicon | None = getattr(self._memory, "lexicon", None)
        if lexicon is None or len(lexicon) > self._max_texts:
            lexicon = self._memory.lexicon = lexicon_of(self._event)
        return decode(batch, self._event, limits=self._limits, partitions=self._partitions, lexicon=lexicon)


def _sizes(values: Sequence[bytes | None]) -> Int64s:
    if isinstance(values, Packed):
        return np.maximum(values.size, 0)
    try:
        return np.fromiter(map(len, values), np.int64, len(values))  # type: ignore[arg-type]
    except TypeError:
        return np.fromiter((len(value or b"") for value in values), np.int64, len(values))


def _unusable(sizes: Int64s, limits: Limits) -> dict[int, Failure]:
    """Return the records without a value and those that are too large."""
    failures = {
        i: Failure(ErrorCode.EMPTY, "the record has no value") for i in np.flatnonzero(sizes == 0).tolist()
    }
    for i in np.flatnonzero(sizes > limits.max_bytes).tolist():
        failures[i] = Failure(ErrorCode.OVERSIZED, f"{sizes[i]} bytes, more than {limits.max_bytes}")
    return failures


def _by_form(batch: RawBatch, failures: dict[int, Failure]) -> tuple[Int64s, list[int]]:
    """Return the indexes of the usable records in JSON and in Arrow form; adds those in neither to ``failures``."""
    usable = np.ones(len(batch), bool)
    usable[list(failures)] = False
    types = batch.content_types
    if types is None or set(types) <= {None, JSON}:
        return np.flatnonzero(usable), []
    codes, distinct = encode(types)
    forms = [_media_type(content_type) for content_type in distinct]
    is_json = np.array([form == JSON for form in forms])[codes]
    is_arrow = np.array([form == ARROW for form in forms])[codes]
    for i in np.flatnonzero(usable & ~is_json & ~is_arrow).tolist():
        failures[i] = Failure(ErrorCode.UNKNOWN_CONTENT_TYPE, f"content type {types[i]!r}")
    return np.flatnonzero(usable & is_json), np.flatnonzero(usable & is_arrow).tolist()


def _media_type(content_type: str | None) -> str:
    """Return the media type without parameters such as ``charset``."""
    return JSON if content_type is None else content_type.partition(";")[0].strip().lower()


def _maybe_numbered(draft: Draft, arrow_records: list[int], failures: dict[int, Failure]) -> list[int]:
    """Return the records that may be a gateway's: those in Arrow form, and what was no event, which it passes on as it came."""
    if not failures and not draft.failures:
        return arrow_records
    return sorted({*arrow_records, *failures, *(int(draft.record[i]) for i in draft.failures)})


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


def _columns(
    batch: RawBatch, draft: Draft, failures: dict[int, Failure], raw: Raw, sent: tuple[Sent, ...]
) -> Columns:
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
        sent,
    )
    if not draft.failures:
        return everything
    good = np.ones(len(draft), bool)
    good[list(draft.failures)] = False
    return everything.take(np.flatnonzero(good), everything.start, everything.next, everything.rejected)


def _compacted(columns: Columns) -> Columns:
    """Leave out the labels that no row has."""
    return replace(columns, labels={name: compacted(column) for name, column in columns.labels.items()})
