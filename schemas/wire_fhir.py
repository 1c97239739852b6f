"""FHIR R4 records to columns of clinical facts: a resource a record, or a Bundle of several."""

from __future__ import annotations

import numpy as np

from schemas.checks import LIMITS, Limits
from schemas.clinical import ClinicalFact, facts_of
from schemas.columns import Coded, Columns, RawBatch, Rejected
from schemas.draft import Failure
from schemas.errors import ErrorCode


def decode_fhir(batch: RawBatch, source: str, limits: Limits = LIMITS) -> Columns:
    """Decode a batch of FHIR records to facts, one a row; records that are none are in ``rejected``, nothing is raised.

    A Bundle with one bad resource is rejected whole, so that what belongs together counts together or not at all.
    """
    facts: list[ClinicalFact] = []
    record: list[int] = []
    rows: list[int] = []
    rejected: list[Rejected] = []
    for i, (value, log_time) in enumerate(zip(batch.values, batch.log_times.tolist(), strict=True)):
        found = _facts(value, source, log_time, limits)
        if isinstance(found, Failure):
            offset = int(batch.offsets[i])
            rejected.append(Rejected(offset, 0, found.code, found.detail, batch.keys[i], value))
            continue
        facts += found
        if len(found) == 1:
            record.append(i)
            rows.append(0)
        else:
            record += [i] * len(found)
            rows += range(len(found))
    which = np.array(record, dtype=np.int64)
    log_times = batch.log_times[which]
    # A birth is no time that events are ordered by.
    times = np.array([fact.time for fact in facts], dtype=np.int64)
    persons = np.array([fact.kind == "person" for fact in facts], dtype=np.bool_)
    return Columns(
        batch.topic, batch.partition, batch.start, batch.next, batch.offsets[which],
        np.array(rows, dtype=np.int32), log_times, np.where(persons, log_times, times), {},
        {"fact": Coded(np.arange(len(facts), dtype=np.int32), facts)},
        lambda i: (batch.keys[record[i]], batch.values[record[i]] or b""), tuple(rejected),
    )  # fmt: skip


def _facts(value: bytes | None, source: str, log_time: int, limits: Limits) -> list[ClinicalFact] | Failure:
    if not value:
        return Failure(ErrorCode.EMPTY, "the record has no value")
    if len(value) > limits.max_bytes:
        return Failure(ErrorCode.OVERSIZED, f"{len(value)} bytes, more than {limits.max_bytes}")
    found = facts_of(value, source)
    if isinstance(found, Failure):
        return found
    for fact in found:
        if fault := _fault(fact, log_time, limits):
            return fault
    return found


def _fault(fact: ClinicalFact, log_time: int, limits: Limits) -> Failure | None:
    time = fact.time
    if not fact.retracted:
        if not limits.earliest <= time < limits.latest and fact.kind != "person":
            return Failure(ErrorCode.TIME_OUT_OF_RANGE, f"the {_kind(fact)} is of {time} ms")
        if limits.max_future is not None and 0 <= log_time < time - limits.max_future:
            return Failure(ErrorCode.TIME_IN_FUTURE, f"the {_kind(fact)} is after the log's {log_time} ms")
    if max(map(len, (fact.patient, *fact.codes))) > limits.max_label:
        return Failure(ErrorCode.INVALID_TEXT, f"a code or patient of the {_kind(fact)} is too long")
    return None


def _kind(fact: ClinicalFact) -> str:
    """Return the type of resource a fact comes from: its id is nobody's business who reads dead letters."""
    return fact.id.partition("/")[0]
