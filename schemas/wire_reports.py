"""Safety reports from JSON records to rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import msgspec
import numpy as np

from schemas.checks import LIMITS, Limits
from schemas.columns import Coded, Columns, RawBatch, Rejected
from schemas.draft import Failure
from schemas.errors import ErrorCode
from schemas.event_types import EventType
from schemas.safety import SafetyReport
from schemas.wire_json import decode_one, millis

SEPARATOR = "\x1f"
MAX_TERMS = 500
OLDEST = 130.0
"""Years of age that nobody exceeds."""

_EVENT = EventType(name="safety-report", struct=SafetyReport, key="population", time="time")


class ReportRow(msgspec.Struct, frozen=True, gc=False):
    """A report that can be counted, with its time and its onset (NaN if unknown) in milliseconds."""

    report: SafetyReport
    time: int
    onset: float


def decode_reports(batch: RawBatch, limits: Limits = LIMITS) -> Columns:
    """Decode a batch of safety reports; the records that are none are in ``rejected``, nothing is raised.

    The label ``report`` holds a ``ReportRow`` for each row. The outcome for a record never depends on the others of its batch.
    """
    good: list[int] = []
    rows: list[ReportRow] = []
    rejected: list[Rejected] = []
    for i, (value, log_time) in enumerate(zip(batch.values, batch.log_times.tolist(), strict=True)):
        found = read_report(value, log_time, limits)
        if isinstance(found, Failure):
            offset = int(batch.offsets[i])
            rejected.append(Rejected(offset, 0, found.code, found.detail, batch.keys[i], value))
        else:
            good.append(i)
            rows.append(found)
    which = np.array(good, dtype=np.int64)
    times = np.array([row.time for row in rows], dtype=np.int64)
    return Columns(
        batch.topic, batch.partition, batch.start, batch.next, batch.offsets[which], np.zeros(len(good), np.int32),
        batch.log_times[which], times, {}, {"report": Coded(np.arange(len(rows), dtype=np.int32), rows)},
        lambda i: (batch.keys[good[i]], batch.values[good[i]] or b""), tuple(rejected),
    )  # fmt: skip


def read_report(value: bytes | None, log_time: int = -1, limits: Limits = LIMITS) -> ReportRow | Failure:
    """Read one record to a row, or say why it is none."""
    if not value:
        return Failure(ErrorCode.EMPTY, "the record has no value")
    if len(value) > limits.max_bytes:
        return Failure(ErrorCode.OVERSIZED, f"{len(value)} bytes, more than {limits.max_bytes}")
    report = decode_one(value, _EVENT)
    if isinstance(report, Failure):
        return report
    assert isinstance(report, SafetyReport)
    time = millis(report.time)
    onset = nan if report.onset is None else float(millis(report.onset))
    return _fault(report, time, onset, log_time, limits) or ReportRow(report, time, onset)


def _fault(report: SafetyReport, time: int, onset: float, log_time: int, limits: Limits) -> Failure | None:
    if not limits.earliest <= time < limits.latest:
        return Failure(ErrorCode.TIME_OUT_OF_RANGE, f"time is {time} ms")
    if limits.max_future is not None and log_time >= 0 and time - log_time > limits.max_future:
        return Failure(ErrorCode.TIME_IN_FUTURE, f"time is after the log's {log_time} ms")
    if onset < -limits.latest or onset >= limits.latest:
        return Failure(ErrorCode.TIME_OUT_OF_RANGE, f"onset is {onset:.0f} ms")
    if report.age is not None and not 0 <= report.age <= OLDEST:
        return Failure(ErrorCode.VALUE_OUT_OF_RANGE, f"an age of {report.age} years is not plausible")
    if not 0 <= report.version < 2**31:
        return Failure(ErrorCode.VALUE_OUT_OF_RANGE, f"version is {report.version}")
    if not (report.id and report.source and report.population):
        return Failure(ErrorCode.INVALID_TEXT, "id, source and population must not be empty")
    if report.status == "active" and not (report.drugs and report.events):
        return Failure(ErrorCode.MISSING_FIELD, "a report needs at least one drug and one event")
    if len(report.drugs) > MAX_TERMS or len(report.events) > MAX_TERMS:
        return Failure(ErrorCode.OVERSIZED, f"more than {MAX_TERMS} drugs or events")
    texts = (report.id, report.source, report.population, report.patient, report.site)
    if _too_long(texts, whole := "".join(texts), limits) or "\0" in whole:
        return Failure(ErrorCode.INVALID_TEXT, f"a text is longer than {limits.max_label} or holds a NUL")
    terms = report.drugs + report.events
    whole = "".join(terms)
    if not all(terms) or _too_long(terms, whole, limits) or SEPARATOR in whole or "\0" in whole:
        return Failure(
            ErrorCode.INVALID_TEXT, "a drug or event is empty, too long or holds a control character"
        )
    return None


def _too_long(texts: Sequence[str], whole: str, limits: Limits) -> bool:
    """Return whether one of some texts, which ``whole`` joins, is too long."""
    return len(whole) > limits.max_label and max(map(len, texts)) > limits.max_label
