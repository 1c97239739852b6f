"""Safety reports from JSON records to columns; their lists of drugs and events are joined to one text each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from schemas.checks import LIMITS, Limits
from schemas.columns import Coded, Columns, RawBatch, Rejected
from schemas.draft import Failure, encode
from schemas.errors import ErrorCode
from schemas.event_types import EventType
from schemas.safety import SafetyReport
from schemas.wire_json import decode_one, millis

SEPARATOR = "\x1f"
MAX_TERMS = 500
OLDEST = 130.0
"""Years of age that nobody exceeds."""

_EVENT = EventType(name="safety-report", struct=SafetyReport, key="population", time="time")
_TEXTS = ("id", "source", "population", "patient", "site")

Report = tuple[SafetyReport, int, float]


def split(joined: str) -> tuple[str, ...]:
    """Return the terms that a column holds as one text."""
    return tuple(joined.split(SEPARATOR)) if joined else ()


def decode_reports(batch: RawBatch, limits: Limits = LIMITS) -> Columns:
    """Decode a batch of safety reports; the records that are none are in ``rejected``, nothing is raised.

    Labels are id, source, population, patient, site, status, sex, serious, drugs and events; numbers are version, age and onset
    (NaN where absent). The outcome for a record never depends on the others of its batch.
    """
    good: list[int] = []
    reports: list[Report] = []
    rejected: list[Rejected] = []
    for i, value in enumerate(batch.values):
        found = read_report(value, int(batch.log_times[i]), limits)
        if isinstance(found, Failure):
            offset = int(batch.offsets[i])
            rejected.append(Rejected(offset, 0, found.code, found.detail, batch.keys[i], value))
        else:
            good.append(i)
            reports.append(found)
    return _columns(batch, good, reports, tuple(rejected))


def read_report(value: bytes | None, log_time: int = -1, limits: Limits = LIMITS) -> Report | Failure:
    """Read one record to a report, its time and its onset (NaN if unknown) in milliseconds, or say why it is none."""
    if not value:
        return Failure(ErrorCode.EMPTY, "the record has no value")
    if len(value) > limits.max_bytes:
        return Failure(ErrorCode.OVERSIZED, f"{len(value)} bytes, more than {limits.max_bytes}")
    report = decode_one(value, _EVENT)
    if isinstance(report, Failure):
        return report
    assert isinstance(report, SafetyReport)
    time = millis(report.time)
    onset = float("nan") if report.onset is None else float(millis(report.onset))
    return _fault(report, time, onset, log_time, limits) or (report, time, onset)


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
    if any(len(text) > limits.max_label or "\0" in text for text in texts):
        return Failure(ErrorCode.INVALID_TEXT, f"a text is longer than {limits.max_label} or holds a NUL")
    for term in (*report.drugs, *report.events):
        if not term or len(term) > limits.max_label or SEPARATOR in term or "\0" in term:
            return Failure(
                ErrorCode.INVALID_TEXT, "a drug or event is empty, too long or holds a control character"
            )
    return None


def _columns(
    batch: RawBatch, good: list[int], reports: list[Report], rejected: tuple[Rejected, ...]
) -> Columns:
    which = np.array(good, dtype=np.int64)
    structs = [report for report, _, _ in reports]
    labels = {name: _coded([getattr(report, name) for report in structs]) for name in _TEXTS}
    labels["status"] = _coded([report.status for report in structs])
    labels["sex"] = _coded([report.sex for report in structs])
    labels["serious"] = _coded(["yes" if report.serious else "no" for report in structs])
    labels["drugs"] = _coded(_joined(report.drugs for report in structs))
    labels["events"] = _coded(_joined(report.events for report in structs))
    numbers = {
        "version": np.array([report.version for report in structs], dtype=np.float64),
        "age": np.array([np.nan if r.age is None else r.age for r in structs], dtype=np.float64),
        "onset": np.array([onset for _, _, onset in reports], dtype=np.float64),
    }
    return Columns(
        batch.topic, batch.partition, batch.start, batch.next, batch.offsets[which],
        np.zeros(len(good), np.int32), batch.log_times[which],
        np.array([time for _, time, _ in reports], dtype=np.int64), numbers, labels, _raw(batch, good), rejected,
    )  # fmt: skip


def _raw(batch: RawBatch, good: list[int]) -> Callable[[int], tuple[bytes | None, bytes]]:
    return lambda i: (batch.keys[good[i]], batch.values[good[i]] or b"")


def _joined(lists: Iterable[list[str]]) -> list[str]:
    return [SEPARATOR.join(terms) for terms in lists]


def _coded(texts: list[str]) -> Coded:
    return Coded(*encode(texts))
