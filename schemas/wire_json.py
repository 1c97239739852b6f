"""The JSON wire form, one event a record: a whole batch decoded by one typed call, or record by record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from schemas.columns import Coded, Float64s, Int64s
from schemas.draft import Draft, Failure, coded
from schemas.errors import ErrorCode
from schemas.event_types import EventType

MAX_DEPTH = 64
"""How deep ignored fields may nest: a fixed bound, as the interpreter's depends on the caller's stack."""

_SEPARATOR = b",\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_FAR = 2**62
# An unterminated string runs to the end, else each of its escaped quotes would be tried in turn.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)

Structs = list[msgspec.Struct]


def decode_values(values: Sequence[bytes], event: EventType) -> tuple[Structs, dict[int, Failure]]:
    """Decode records to structs, in order, and say by index why the others are none.

    The result is that of decoding record by record, whichever way is taken.
    """
    together = _decode_together(values, event)
    if together is not None:
        return together, {}
    return _decode_each(values, event)


def _decode_together(values: Sequence[bytes], event: EventType) -> Structs | None:
    """Decode all records by one call, or return None unless that provably equals decoding each.

    Joined text can be valid where its parts are not: ``{"a":1`` and ``"b":2}`` make one object, and a
    record holding two objects would restore the count. It is safe when every record begins with ``{``, ends
    with ``}`` and the text has no other bracket or brace besides the enclosing array. For the separator
    holds a line feed, which JSON forbids inside strings, so each record's first ``{`` and last ``}`` are
    structure and no text; having no other bracket, what lies between must itself be balanced, so each
    record is exactly one object.
    """
    text = b"[" + _SEPARATOR.join(values) + b"]"
    if not _flat(text, values):
        return None
    try:
        if not text.isascii():
            text.decode()
        return event.batch_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _flat(text: bytes, values: Sequence[bytes]) -> bool:
    n = len(values)
    ends = np.cumsum(np.fromiter(map(len, values), np.int64, n) + len(_SEPARATOR)) - len(_SEPARATOR)
    starts = np.concatenate(([0], ends[:-1] + len(_SEPARATOR)))
    # Offsets into the text count the opening bracket: a record covers [start + 1, end + 1).
    characters = np.frombuffer(text, np.uint8)
    if (characters[starts + 1] != ord("{")).any() or (characters[ends] != ord("}")).any():
        return False
    # Clearing bit 5 folds { onto [ and } onto ], so one comparison counts both.
    folded = characters & 0xDF
    return bool(np.count_nonzero(folded == ord("[")) == n + 1 == np.count_nonzero(folded == ord("]")))


def _decode_each(values: Sequence[bytes], event: EventType) -> tuple[Structs, dict[int, Failure]]:
    rows: Structs = []
    failures: dict[int, Failure] = {}
    for index, value in enumerate(values):
        row = decode_one(value, event)
        if isinstance(row, Failure):
            failures[index] = row
        else:
            rows.append(row)
    return rows, failures


def decode_one(value: bytes, event: EventType) -> msgspec.Struct | Failure:
    """Decode one record, or say why it is no event."""
    if value.count(b"[") + value.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        return Failure(ErrorCode.MALFORMED, f"nested more than {MAX_DEPTH} deep")
    try:
        if not value.isascii():
            value.decode()
        return event.decoder.decode(value)
    except UnicodeDecodeError as error:
        return Failure(ErrorCode.INVALID_TEXT, str(error))
    except msgspec.ValidationError as error:
        return _mismatch(str(error))
    except msgspec.DecodeError as error:
        return _malformed(value, str(error))


def _depth(value: bytes) -> int:
    characters = np.frombuffer(_STRING.sub(b"", value), np.uint8) & 0xDF
    steps = (characters == ord("[")).astype(np.int64) - (characters == ord("]"))
    return int(np.cumsum(steps).max(initial=0))


def _mismatch(message: str) -> Failure:
    table = (
        ("missing required field", ErrorCode.MISSING_FIELD),
        ("Invalid enum value", ErrorCode.UNKNOWN_KIND),
        ("Number out of range", ErrorCode.NOT_FINITE),
        ("Integer value out of range", ErrorCode.TIME_OUT_OF_RANGE),
    )
    return Failure(next((code for words, code in table if words in message), ErrorCode.WRONG_TYPE), message)


def _malformed(value: bytes, message: str) -> Failure:
    """Tell two common lapses of JSON writers from plain garbage."""
    constants: list[str] = []
    try:
        json.loads(value.decode(), parse_constant=constants.append)
    except ValueError:
        return Failure(ErrorCode.MALFORMED, message)
    if constants:
        return Failure(ErrorCode.NOT_FINITE, f"{constants[0]} is no JSON number")
    return Failure(ErrorCode.INVALID_TEXT, f"not valid Unicode text: {message}")


def draft_of(rows: Structs, record: Int64s, log_time: Int64s, event: EventType) -> Draft:
    """Turn structs, with the index and log time of their records, into columns."""
    n = len(rows)

    def column(name: str) -> Any:
        return map(attrgetter(name), rows)

    labels: dict[str, Coded] = {name: coded(column(name), n) for name in event.labels}
    numbers = {name: _floats(column, name, n) for name in event.numbers}
    numbers |= {name: _optional_times(column(name), n) for name in event.times}
    return Draft(record, np.zeros(n, np.int32), log_time, _times(column, event.time, n), numbers, labels)


def _floats(column: Callable[[str], Any], name: str, n: int) -> Float64s:
    try:
        return np.fromiter(column(name), np.float64, n)
    except TypeError:
        return np.fromiter((np.nan if value is None else value for value in column(name)), np.float64, n)


def _times(column: Callable[[str], Any], name: str, n: int) -> Int64s:
    try:
        return np.fromiter(column(name), np.int64, n)
    except (TypeError, OverflowError):
        return np.fromiter(map(_millis, column(name)), np.int64, n)


def _optional_times(times: Any, n: int) -> Float64s:
    return np.fromiter((np.nan if time is None else _millis(time) for time in times), np.float64, n)


def _millis(time: int | datetime) -> int:
    """Return milliseconds since the epoch, rounded down; integers too large for a column become far times."""
    if isinstance(time, datetime):
        return (time - _EPOCH) // _MS
    return max(-_FAR, min(_FAR, time))
