"""From raw records to columns: one batch of bytes at a time, bad records set aside with a code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from schemas import wire_arrow, wire_json, wire_panes
from schemas.batch_ids import sent_batches
from schemas.checks import LIMITS, Limits, check_finite, check_labels, check_routing, check_times
from schemas.columns import Coded, Columns, Int64s, RawBatch, Rejected, Sent
from schemas.draft import Draft, Failure, compacted, encode, merged
from schemas.errors import ErrorCode
from schemas.event_types import EventType
from schemas.json_plan import lexicon_of
from schemas.lexicon import Lexicon
from schemas.packed import Packed
from schemas.panes import PaneRows, PaneSpec
from schemas.wire_panes import PANES

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"


def decode(
    batch: RawBatch,
    event: EventType,
    *,
    limits: Limits = LIMITS,
    partitions: int | None = None,
    lexicon: Lexicon | None = None,
    panes: PaneSpec | None = None,
) -> Columns:
    """Decode a batch to the columns of its valid rows; the others are in ``rejected``, nothing is raised.

    The content type of a record decides its form: none or ``application/json`` is one event in JSON,
    ``application/vnd.apache.arrow.stream`` an Arrow IPC stream whose rows are events,
    ``application/vnd.tidewatch.panes.v1`` one whose rows are panes, for those who take such as ``panes`` says. Given the topic's
    number of ``partitions``, Arrow rows whose key belongs to another one are rejected. The outcome for a
    record never depends on the others of its batch. Given a ``lexicon``, labels are coded by it.
    """
    sizes = _sizes(batch.values)
    failures = _unusable(sizes, limits)
    json, arrow_records, pane_records = _by_form(batch, failures)
    words = lexicon_of(event) if lexicon is None else lexicon
    json_draft, bad = wire_json.decode_records(batch, json, sizes, event, words)
    failures |= bad
    arrow = wire_arrow.decode_records(batch, arrow_records, event, failures, words)
    made = wire_panes.decode_panes(batch, pane_records, event, panes, failures, words)
    draft = merged([json_draft, *arrow.drafts, *made.drafts])
    pane_rows = made.rows_of(draft)
    _check(draft, event, limits, pane_rows)
    if partitions is not None and (arrow.drafts or made.drafts):
        from_gateways = np.isin(draft.record, [*arrow.places, *made.firsts])
        check_routing(draft, from_gateways, event.key, batch.partition, partitions)
    sent = sent_batches(batch, _maybe_numbered(draft, [*arrow_records, *pane_records], failures))
    raw = _raw_of(batch, draft, arrow, pane_rows, event)
    everything = _columns(batch, draft, failures, raw, sent, pane_rows)
    lingering = draft.failures or arrow.drafts or made.drafts
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
        panes: PaneSpec | None = None,
    ) -> None:
        self._event, self._limits, self._max_texts = event, limits, max_texts
        self._partitions, self._panes = partitions, panes
        self._memory = threading.local()

    def __call__(self, batch: RawBatch) -> Columns:
        """Decode a batch as ``decode`` does; the labels' values may hold texts that no row of it has."""
        lexicon: Lexicon | None = getattr(self._memory, "lexicon", None)
        if lexicon is None or len(lexicon) > self._max_texts:
            lexicon = self._memory.lexicon = lexicon_of(self._event)
        return decode(
            batch, self._event, limits=self._limits, partitions=self._partitions, lexicon=lexicon, panes=self._panes
        )  # fmt: skip


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


def _by_form(batch: RawBatch, failures: dict[int, Failure]) -> tuple[Int64s, list[int], list[int]]:
    """Return the indexes of the usable records in JSON, in Arrow form and of panes; adds others to ``failures``."""
    usable = np.ones(len(batch), bool)
    usable[list(failures)] = False
    types = batch.content_types
    if types is None or set(types) <= {None, JSON}:
        return np.flatnonzero(usable), [], []
    codes, distinct = encode(types)
    forms = [_media_type(content_type) for content_type in distinct]
    is_json = np.array([form == JSON for form in forms])[codes]
    is_arrow = np.array([form == ARROW for form in forms])[codes]
    is_panes = np.array([form == PANES for form in forms])[codes]
    for i in np.flatnonzero(usable & ~is_json & ~is_arrow & ~is_panes).tolist():
        failures[i] = Failure(ErrorCode.UNKNOWN_CONTENT_TYPE, f"content type {types[i]!r}")
    json, arrow, panes = (np.flatnonzero(usable & form) for form in (is_json, is_arrow, is_panes))
    return json, arrow.tolist(), panes.tolist()


def _media_type(content_type: str | None) -> str:
    """Return the media type without parameters such as ``charset``."""
    return JSON if content_type is None else content_type.partition(";")[0].strip().lower()


def _maybe_numbered(draft: Draft, batches: list[int], failures: dict[int, Failure]) -> list[int]:
    """Return the records that may be a gateway's: its batches, and what was no event, which it passes on as it came."""
    if not failures and not draft.failures:
        return sorted(batches)
    return sorted({*batches, *failures, *(int(draft.record[i]) for i in draft.failures)})


def _check(draft: Draft, event: EventType, limits: Limits, panes: PaneRows | None) -> None:
    check_labels(draft, event.required, limits)
    check_finite(draft, event.required)
    check_times(draft, event.time, event.times, limits)
    if panes is not None:
        _check_least(draft, event, panes)
    before = dict(draft.numbers)
    for check in event.checks:
        check(draft)
    if panes is not None:
        for name in event.numbers:
            converted = (panes.index >= 0) & (draft.numbers[name] != before[name])
            draft.reject(converted, ErrorCode.UNKNOWN_UNIT, lambda _: "panes are in canonical units")


def _check_least(draft: Draft, event: EventType, panes: PaneRows) -> None:
    """Reject panes whose smallest value no event could have; their largest is looked at with all other rows."""
    rows = np.flatnonzero(panes.index >= 0)
    least = panes.table.floats["min"][panes.index[rows]]
    numbers = {
        name: column[rows] if name in event.times else least.copy() for name, column in draft.numbers.items()
    }
    labels = {name: Coded(column.codes[rows], column.values) for name, column in draft.labels.items()}
    probe = Draft(
        draft.record[rows], draft.row[rows], draft.log_time[rows], draft.event_time[rows], numbers, labels
    )
    check_finite(probe, event.required)
    for check in event.checks:
        check(probe)
    for i, failure in probe.failures.items():
        draft.failures.setdefault(int(rows[i]), failure)


Raw = Callable[[int], tuple[bytes | None, bytes]]


def _raw_of(
    batch: RawBatch, draft: Draft, arrow: wire_arrow.ArrowRows, panes: PaneRows | None, event: EventType
) -> Raw:
    """Return what gives key and JSON of a row of the draft."""
    record, row = draft.record, draft.row

    def raw(i: int) -> tuple[bytes | None, bytes]:
        r = int(record[i])
        if r in arrow.places:
            return arrow.raw(r, int(row[i]))
        if panes is not None and panes.index[i] >= 0:
            labels = {name: draft.label(name, i) for name in event.labels}
            return wire_panes.pane_row(event, labels, panes.table, int(panes.index[i]))
        return batch.keys[r], batch.values[r]  # type: ignore[return-value]

    return raw


def _columns(
    batch: RawBatch,
    draft: Draft,
    failures: dict[int, Failure],
    raw: Raw,
    sent: tuple[Sent, ...],
    panes: PaneRows | None,
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
        panes,
    )
    if not draft.failures:
        return everything
    good = np.ones(len(draft), bool)
    good[list(draft.failures)] = False
    return everything.take(np.flatnonzero(good), everything.start, everything.next, everything.rejected)


def _compacted(columns: Columns) -> Columns:
    """Leave out the labels that no row has."""
    return replace(columns, labels={name: compacted(column) for name, column in columns.labels.items()})
