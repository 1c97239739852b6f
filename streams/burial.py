"""The dead letters of rows that a task cannot use."""

from __future__ import annotations

from schemas.columns import Columns, Rejected
from schemas.deadletters import headers_for
from schemas.errors import ErrorCode
from streams.task import Output


def rejected(columns: Columns) -> list[Output]:
    """Return the dead letters of the rows that the decoder rejected, in order."""
    return [letter(bad, columns, "decode") for bad in columns.rejected]


def buried(columns: Columns, row: int, code: ErrorCode, detail: str, stage: str) -> Output:
    """Return the dead letter of a decoded row that ``stage`` refuses; its key and value are the original bytes."""
    key, value = columns.raw(row)
    bad = Rejected(int(columns.offset[row]), int(columns.row[row]), code, detail, key, value)
    return letter(bad, columns, stage)


def letter(bad: Rejected, columns: Columns, stage: str) -> Output:
    """Return the dead letter of one row."""
    return Output("dead", bad.key, bad.value, headers_for(bad, columns.topic, columns.partition, stage))
