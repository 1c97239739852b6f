"""The JSON wire form, one event a record: read by the compiled reader, else by typed calls, together or one by one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas import json_kernel
from schemas.columns import Coded, Float64s, Int64s, RawBatch
from schemas.draft import Draft, Failure
from schemas.errors import ErrorCode
from schemas.event_types import EventType
from schemas.json_plan import lexicon_of, plan_of
from schemas.lexicon import Lexicon
from schemas.packed import Packed

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
    batch: RawBatch, records: Int64s, sizes: Int64s, event: EventType, lexicon: Lexicon | None = None
) -> tuple[Draft, dict[int, Failure]]:
    """Decode the records at the given indexes to columns, and say by index why the others are no events.

    ``sizes`` are the lengths of all values of the batch, none of which is empty among ``records``. The result is
    that of decoding record by record; with a ``lexicon`` the labels get its codes.
    """
    table = _Table(event, len(records), lexicon)
    sure = _read_flat(batch, records, event, table)
    failures: dict[int, Failure] = {}
    unsure = np.flatnonzero(~sure)
    for first in range(0, len(unsure), _CHUNK):
        at = unsure[first : first + _CHUNK]
        chunk = records[at]
        rows, bad = decode_values([cast(bytes, batch.values[i]) for i in chunk.tolist()], sizes[chunk], event)
        failures.update((int(chunk[i]), failure) for i, failure in bad.items())
        table.put(np.delete(at, list(bad)) if bad else at, rows)
        sure[at] = True
        sure[at[list(bad)]] = False
    kept = None if sure.all() else np.flatnonzero(sure)
    index = records if kept is None else records[kept]
    return table.draft(index, batch.log_times[index], kept), failures


def _read_flat(batch: RawBatch, records: Int64s, event: EventType, table: _Table) -> NDArray[np.bool_]:
    """Read what the compiled reader is sure of, and return which records those are."""
    sure = np.zeros(len(records), bool)
    plan = plan_of(event)
    if plan is None or not len(records):
        return sure
    packed = Packed.of(batch.values)
    lexicon, numbers = table.lexicon, len(event.numbers)
    defaults = np.array(
        [0 if text is None else lexicon.codes(i, [text])[0] for i, text in enumerate(plan.defaults)], np.int32
    )
    lexicon.reserve(len(records) * len(event.labels), len(packed.data))
    fixes = np.empty((len(records) * numbers, 4), np.int64)
    fixed = json_kernel.read(
        packed.address, packed.start, packed.size, records, plan.fields, defaults, table.codes, table.floats,
        table.times, sure, fixes, lexicon.table,
    )  # fmt: skip
    lexicon.learn()
    for row, place, begin, end in fixes[:fixed].tolist():
        value = float(packed.data[begin:end].tobytes())
        table.floats[place, row] = value
        sure[row] &= not math.isinf(value)
    if lexicon.any_bad:
        for i in range(len(event.labels)):
            bad = lexicon.bad_codes(i)
            sure[sure] = ~bad[table.codes[i, sure]]
    return sure


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


class _Table:
    """Columns of ``n`` rows to be filled in any order, labels as codes of a lexicon."""

    def __init__(self, event: EventType, n: int, lexicon: Lexicon | None) -> None:
        self._event = event
        self.lexicon = lexicon_of(event) if lexicon is None else lexicon
        self.codes = np.zeros((len(event.labels), n), np.int32)
        self.floats = np.full((len(event.numbers), n), np.nan)
        self.times = np.zeros((1 + len(event.times), n), np.int64)

    def put(self, at: Int64s, rows: Structs) -> None:
        """Fill the rows ``at`` from structs."""
        n, event = len(rows), self._event
        for i, name in enumerate(event.labels):
            self.codes[i, at] = self.lexicon.codes(i, list(map(attrgetter(name), rows)))
        for i, name in enumerate(event.numbers):
            self.floats[i, at] = _floats(map(attrgetter(name), rows), n)
        self.times[0, at] = _times(list(map(attrgetter(event.time), rows)))
        for i, name in enumerate(event.times):
            moments = _optional_times(map(attrgetter(name), rows), n)
            self.times[1 + i, at] = np.where(np.isnan(moments), json_kernel.ABSENT, moments)

    def draft(self, record: Int64s, log_time: Int64s, kept: Int64s | None) -> Draft:
        """Return the rows, or those ``kept``."""
        event = self._event
        rows: Int64s | slice = slice(None) if kept is None else kept
        labels = {
            name: Coded(self.codes[i, rows], self.lexicon.texts[i]) for i, name in enumerate(event.labels)
        }
        numbers = {name: self.floats[i, rows] for i, name in enumerate(event.numbers)}
        for i, name in enumerate(event.times):
            moments = self.times[1 + i, rows]
            numbers[name] = np.where(moments == json_kernel.ABSENT, np.nan, moments)
        return Draft(record, np.zeros(len(record), np.int32), log_time, self.times[0, rows], numbers, labels)


def _floats(numbers: Iterable[float | None], n: int) -> Float64s:
    # None, where the field is optional, converts to NaN.
    return np.fromiter(numbers, np.float64, n)


def _times(times: list[int | datetime]) -> Int64s:
    try:
        return np.fromiter(times, np.int64, len(times))
    except (TypeError, OverflowError):
        return np.fromiter(map(millis, times), np.int64, len(times))


def _optional_times(times: Iterable[int | datetime | None], n: int) -> Float64s:
    return np.fromiter((np.nan if time is None else millis(time) for time in times), np.float64, n)


def millis(time: int | datetime) -> int:
    """Return milliseconds since the epoch, rounded down; integers too large for a column become far times."""
    if isinstance(time, datetime):
        return (time - _EPOCH) // _MS
    return max(-_FAR, min(_FAR, time))
