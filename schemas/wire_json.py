"""The JSON wire form, one event a record: a whole batch decoded by one typed call, or record by record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import cast

import msgspec
import numpy as np

from schemas.columns import Coded, Float64s, Int32s, Int64s, RawBatch
from schemas.draft import Draft, Failure, Vocabulary
from schemas.errors import ErrorCode
from schemas.event_types import EventType

MAX_DEPTH = 64
"""How deep ignored fields may nest: a fixed bound, as the interpreter's depends on the caller's stack."""

_SEPARATOR = b",\n"
# Structs of so many records fit the processor's cache, and one bad record slows down no others than these.
_CHUNK = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_FAR = 2**62
# An unterminated string runs to the end, else each of its escaped quotes would be tried in turn.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)

Structs = list[msgspec.Struct]


def decode_records(
    batch: RawBatch, records: Int64s, sizes: Int64s, event: EventType
) -> tuple[Draft, dict[int, Failure]]:
    """Decode the records at the given indexes to columns, and say by index why the others are no events.

    ``sizes`` are the lengths of all values of the batch, none of which is empty among ``records``. The result is
    that of decoding record by record.
    """
    builder = _Builder(event)
    failures: dict[int, Failure] = {}
    decoded: list[Int64s] = []
    for first in range(0, len(records), _CHUNK):
        chunk = records[first : first + _CHUNK]
        rows, bad = decode_values(_values(batch, chunk), sizes[chunk], event)
        failures.update((int(chunk[i]), failure) for i, failure in bad.items())
        decoded.append(np.delete(chunk, list(bad)) if bad else chunk)
        builder.add(rows)
    index = np.concatenate([*decoded, np.empty(0, np.int64)])
    return builder.draft(index, batch.log_times[index]), failures


def _values(batch: RawBatch, records: Int64s) -> Sequence[bytes]:
    first, last = int(records[0]), int(records[-1])
    if last - first + 1 == len(records):
        return cast(Sequence[bytes], batch.values[first : last + 1])
    return cast(Sequence[bytes], [batch.values[i] for i in records.tolist()])


def decode_values(
    values: Sequence[bytes], sizes: Int64s, event: EventType
) -> tuple[Structs, dict[int, Failure]]:
    """Decode values of the given lengths to structs, in order, and say by index why the others are none."""
    together = _decode_together(values, sizes, event)
    if together is not None:
        return together, {}
    return _decode_each(values, event)


def _decode_together(values: Sequence[bytes], sizes: Int64s, event: EventType) -> Structs | None:
    """Decode all records by one call, or return None unless that provably equals decoding each.

    Joined text can be valid where its parts are not: ``{"a":1`` and ``"b":2}`` make one object, and a record
    holding two objects would restore the count. It is safe when every record begins with ``{`` and ends with
    ``}``, and the text has no other ``{`` or ``[`` but the one that opens the array. For the separator holds a
    line feed, which JSON forbids inside strings, so each record's first ``{`` and last ``}`` are structure and
    no text. Valid text closes as many objects as it opens, so the n last braces are all that close any: the
    object that a record opens is closed by that record's own end, and each record is exactly one object.
    """
    text = b"[" + _SEPARATOR.join(values) + b"]"
    if not _flat(text, sizes):
        return None
    try:
        if not text.isascii():
            text.decode()
        return event.batch_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _flat(text: bytes, sizes: Int64s) -> bool:
    ends = np.cumsum(sizes + len(_SEPARATOR)) - len(_SEPARATOR)
    starts = np.concatenate(([0], ends[:-1] + len(_SEPARATOR)))
    # Offsets into the text count the opening bracket: a record covers [start + 1, end + 1).
    characters = np.frombuffer(text, np.uint8)
    if (characters[starts + 1] != ord("{")).any() or (characters[ends] != ord("}")).any():
        return False
    # Clearing bit 5 folds { onto [, so one comparison counts both.
    return bool(np.count_nonzero((characters & 0xDF) == ord("[")) == len(sizes) + 1)


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


class _Builder:
    """Turns structs into columns, chunk by chunk, over one list of values a label."""

    def __init__(self, event: EventType) -> None:
        self._event = event
        self._labels: dict[str, Vocabulary[str]] = {name: Vocabulary() for name in event.labels}
        self._codes: dict[str, list[Int32s]] = {name: [np.empty(0, np.int32)] for name in event.labels}
        numbers = (*event.numbers, *event.times)
        self._numbers: dict[str, list[Float64s]] = {name: [np.empty(0)] for name in numbers}
        self._times: list[Int64s] = [np.empty(0, np.int64)]

    def add(self, rows: Structs) -> None:
        n = len(rows)
        for name, vocabulary in self._labels.items():
            self._codes[name].append(vocabulary.codes(map(attrgetter(name), rows), n))
        for name in self._event.numbers:
            self._numbers[name].append(_floats(map(attrgetter(name), rows), n))
        for name in self._event.times:
            self._numbers[name].append(_optional_times(map(attrgetter(name), rows), n))
        self._times.append(_times(list(map(attrgetter(self._event.time), rows))))

    def draft(self, record: Int64s, log_time: Int64s) -> Draft:
        labels = {
            name: Coded(np.concatenate(self._codes[name]), vocabulary.values)
            for name, vocabulary in self._labels.items()
        }
        numbers = {name: np.concatenate(parts) for name, parts in self._numbers.items()}
        row = np.zeros(len(record), np.int32)
        return Draft(record, row, log_time, np.concatenate(self._times), numbers, labels)


def _floats(numbers: Iterable[float | None], n: int) -> Float64s:
    # None, where the field is optional, converts to NaN.
    return np.fromiter(numbers, np.float64, n)


def _times(times: list[int | datetime]) -> Int64s:
    try:
        return np.fromiter(times, np.int64, len(times))
    except (TypeError, OverflowError):
        return np.fromiter(map(_millis, times), np.int64, len(times))


def _optional_times(times: Iterable[int | datetime | None], n: int) -> Float64s:
    return np.fromiter((np.nan if time is None else _millis(time) for time in times), np.float64, n)


def _millis(time: int | datetime) -> int:
    """Return milliseconds since the epoch, rounded down; integers too large for a column become far times."""
    if isinstance(time, datetime):
        return (time - _EPOCH) // _MS
    return max(-_FAR, min(_FAR, time))
