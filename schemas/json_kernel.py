"""The compiled reader of flat JSON objects: one pass over a batch's bytes, straight to columns.

It takes only what it can read beyond doubt and marks every other record as unsure, valid or not; those go the exact way.
So nothing here decides whether a record is an event, only whether it plainly is one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled
from schemas.lexicon_kernel import code_of, part, same
from schemas.memory import byte_at, int64_at, put_int64, trailing_zeros, word_at
from schemas.packed import address_of

LABEL, NUMBER, TIME = 0, 1, 2
"""What a field holds."""

NAME, SIZE, KIND, PLACE, REQUIRED, FIELD = range(6)
"""What the plan says of a field, FIELD integers: address and size of its name, kind, place among its kind, must it be there."""

EXACT, INEXACT, DOUBTFUL = 0, 1, 2

ABSENT = np.int64(-(2**63))
"""A time that is not there."""

_QUOTE, _BACKSLASH, _COLON, _COMMA, _OPEN, _CLOSE = 34, 92, 58, 44, 123, 125
_MINUS, _PLUS, _POINT, _ZERO, _NINE, _LOWER_E, _UPPER_E = 45, 43, 46, 48, 57, 101, 69
_POWERS = np.array([float(10**i) for i in range(23)])
_UNSURE = -1
_ONES, _TOPS, _NO_TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080), np.uint64(0)
_U32, _U34, _U92 = np.uint64(32), np.uint64(_QUOTE), np.uint64(_BACKSLASH)
_UPPER, _ZEROS, _SIXES = _ONES * np.uint64(0xF0), _ONES * np.uint64(_ZERO), _ONES * np.uint64(6)
_U8, _U16, _TEN, _PAIRS = np.uint64(8), np.uint64(16), np.uint64(10), np.uint64(0x000000FF000000FF)
_HIGH_PAIRS, _LOW_PAIRS = np.uint64(0x000F424000000064), np.uint64(0x0000271000000001)
_TRUE, _FALSE, _NULL = (np.uint64(int.from_bytes(word, "little")) for word in (b"true", b"false", b"null"))
_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


@compiled
def _skip(at: int, end: int) -> int:
    """Return where white space ends."""
    while at < end:
        c = byte_at(at)
        if c > 32 or (c != 32 and c != 10 and c != 13 and c != 9):
            break
        at += 1
    return at


@compiled
def _text_end(at: int, end: int, high: Any) -> int:
    """Return the closing quote of a string that begins at ``at``, -1 if it has escapes or control characters.

    ``high`` marks the bits that no byte may have: the topmost of each, or none.
    """
    while end - at >= 8:
        word = word_at(at)
        quotes, escapes = word ^ (_ONES * _U34), word ^ (_ONES * _U92)
        # Of each byte the topmost bit: set where it was zero before one was taken away; exact up to the first such byte.
        stops = (
            ((quotes - _ONES) & ~quotes) | ((escapes - _ONES) & ~escapes) | ((word - _ONES * _U32) & ~word)
        )
        stops = (stops & _TOPS) | (word & high)
        if stops:
            at += trailing_zeros(stops) >> 3
            return at if byte_at(at) == _QUOTE else _UNSURE
        at += 8
    while at < end:
        c = byte_at(at)
        if c == _QUOTE:
            return at
        if c < 32 or c == _BACKSLASH or (c > 127 and high):
            return _UNSURE
        at += 1
    return _UNSURE


@compiled
def _all_digits(word: Any) -> bool:
    """Tell whether eight bytes are digits: the upper half of each is 3, also after six more."""
    return bool((word & _UPPER) == _ZEROS and ((word + _SIXES) & _UPPER) == _ZEROS)


@compiled
def _digits_end(at: int, end: int) -> int:
    """Return where digits end."""
    while end - at >= 8 and _all_digits(word_at(at)):
        at += 8
    while at < end and _ZERO <= byte_at(at) <= _NINE:
        at += 1
    return at


@compiled
def _number_end(at: int, end: int) -> int:
    """Return where a number by JSON's grammar ends."""
    if at < end and byte_at(at) == _MINUS:
        at += 1
    first = at
    at = _digits_end(at, end)
    if at == first or (byte_at(first) == _ZERO and at > first + 1):
        return _UNSURE
    if at < end and byte_at(at) == _POINT:
        at += 1
        first = at
        while at < end and _ZERO <= byte_at(at) <= _NINE:
            at += 1
        if at == first:
            return _UNSURE
    if at < end and (byte_at(at) == _LOWER_E or byte_at(at) == _UPPER_E):
        at += 1
        if at < end and (byte_at(at) == _MINUS or byte_at(at) == _PLUS):
            at += 1
        first = at
        while at < end and _ZERO <= byte_at(at) <= _NINE:
            at += 1
        if at == first:
            return _UNSURE
    return at


@compiled
def _number(at: int, end: int) -> tuple[float, int]:
    """Return a number's value and whether it is EXACT, the nearest double.

    It is where mantissa and power of ten are exact doubles, for then one operation rounds once (Clinger 1990).
    """
    negative = byte_at(at) == _MINUS
    if negative:
        at += 1
    mantissa, digits, scale, whole = np.int64(0), 0, 0, True
    while at < end:
        c = byte_at(at)
        if _ZERO <= c <= _NINE:
            if digits < 18:
                mantissa = mantissa * 10 + c - _ZERO
            digits += 1 if digits or c != _ZERO else 0
            if not whole:
                scale -= 1
        elif c == _POINT:
            whole = False
        else:
            break
        at += 1
    if at < end:
        whole = False
        at += 1
        minus = byte_at(at) == _MINUS
        if minus or byte_at(at) == _PLUS:
            at += 1
        power = 0
        while at < end:
            power = min(power * 10 + byte_at(at) - _ZERO, 9_999)
            at += 1
        scale += -power if minus else power
    if negative and not digits:
        return 0.0, DOUBTFUL  # readers differ in whether zero keeps its sign
    if digits > 15 or scale > 22 or scale < -22:
        return 0.0, INEXACT
    value = float(mantissa)
    value = value / _POWERS[-scale] if scale < 0 else value * _POWERS[scale]
    return (-value if negative else value), EXACT


@compiled
def _digits(at: int, n: int) -> int:
    value: Any = 0
    stop = at + n
    while stop - at >= 8:
        word = word_at(at)
        if not _all_digits(word):
            return _UNSURE
        # Neighbours are joined: eight digits to four pairs, to two fours, to one number.
        word = (word - _ZEROS) * _TEN + ((word - _ZEROS) >> _U8)
        pairs, others = word & _PAIRS, (word >> _U16) & _PAIRS
        value = value * 100_000_000 + np.int64((pairs * _HIGH_PAIRS + others * _LOW_PAIRS) >> _U32)
        at += 8
    for i in range(at, stop):
        if not _ZERO <= byte_at(i) <= _NINE:
            return _UNSURE
        value = value * 10 + byte_at(i) - _ZERO
    return int(value)


@compiled
def _moment(at: int, end: int) -> int:
    """Return RFC 3339 text such as 2026-01-31T06:00:00.5Z as milliseconds, rounded down, or -1 when unsure."""
    if end - at < 20 or byte_at(at + 4) != _MINUS or byte_at(at + 7) != _MINUS or byte_at(at + 10) != 84:
        return _UNSURE
    if byte_at(at + 13) != _COLON or byte_at(at + 16) != _COLON:
        return _UNSURE
    year, month, day = _digits(at, 4), _digits(at + 5, 2), _digits(at + 8, 2)
    hour, minute, second = _digits(at + 11, 2), _digits(at + 14, 2), _digits(at + 17, 2)
    if not (
        1971 <= year <= 2200
        and 1 <= month <= 12
        and 0 <= hour <= 23
        and 0 <= minute <= 59
        and 0 <= second <= 59
    ):
        return _UNSURE
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= _MONTH_DAYS[month - 1] + (1 if leap and month == 2 else 0):
        return _UNSURE
    at += 19
    micros, width = 0, 0
    if byte_at(at) == _POINT:
        at += 1
        while at < end and _ZERO <= byte_at(at) <= _NINE:
            micros = micros * 10 + byte_at(at) - _ZERO
            width += 1
            at += 1
        if not 1 <= width <= 6:
            return _UNSURE
        for _ in range(6 - width):
            micros *= 10
    shift = 0
    if end - at == 1 and byte_at(at) == 90:
        pass
    elif end - at == 6 and (byte_at(at) == _PLUS or byte_at(at) == _MINUS) and byte_at(at + 3) == _COLON:
        hours, minutes = _digits(at + 1, 2), _digits(at + 4, 2)
        if not (0 <= hours <= 23 and 0 <= minutes <= 59):
            return _UNSURE
        shift = (hours * 60 + minutes) * (1 if byte_at(at) == _PLUS else -1)
    else:
        return _UNSURE
    # Days since the epoch by the civil calendar, the year beginning in March.
    shifted = year - (1 if month <= 2 else 0)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + of_year - 719_468
    return ((days * 24 + hour) * 60 + minute - shift) * 60_000 + second * 1_000 + micros // 1_000


@compiled
def _other_value(at: int, end: int) -> int:
    """Return where the value of a field that nobody reads ends."""
    if at >= end:
        return _UNSURE
    c = byte_at(at)
    if c == _QUOTE:
        close = _text_end(at + 1, end, _TOPS)
        return close + 1 if close >= 0 else _UNSURE
    size = 5 if c == 102 else 4
    if c == 116 or c == 102 or c == 110:
        word = _FALSE if c == 102 else _TRUE if c == 116 else _NULL
        return at + size if at + size <= end and part(at, size) == word else _UNSURE
    return _number_end(at, end)


@compiled
def _of(fields: int, field: int, what: int) -> int:
    """Return what the plan says of a field."""
    return int64_at(fields + 8 * (FIELD * field + what))


@compiled
def _field(at: int, end: int, expected: int, fields: int, n: int) -> int:
    """Return the field whose name and closing quote begin at ``at``, trying the expected one first, else -1."""
    for step in range(n):
        field = expected + step
        if field >= n:
            field -= n
        size = _of(fields, field, SIZE)
        if at + size < end and byte_at(at + size) == _QUOTE and same(at, _of(fields, field, NAME), size):
            return field
    return _UNSURE


@compiled
def _value(at: int, end: int, kind: int) -> tuple[int, int, int]:
    """Return where the value of a field begins and ends and, of a time, its milliseconds; (-1, -1, 0) when unsure."""
    moment = 0
    if at < end and byte_at(at) == _QUOTE:
        at += 1
        stop = _text_end(at, end, _NO_TOPS) if kind != NUMBER else _UNSURE
        if kind == TIME and stop >= 0:
            moment = _moment(at, stop)
    else:
        stop = _number_end(at, end) if kind != LABEL else _UNSURE
        if kind == TIME and stop >= 0:
            moment = _digits(at, stop - at) if stop - at <= 18 else _UNSURE
    return (at, stop, moment) if stop >= 0 and moment >= 0 else (_UNSURE, _UNSURE, 0)


@compiled
def _find(at: int, end: int, fields: int, n: int, found: int) -> bool:
    """Find the fields' values in one record; return False unless it surely is one flat object that has those it must.

    ``fields`` is the address of the plan's ``n`` fields, ``found`` that of three integers for each: where its value begins, -1 if
    nowhere, where it ends, and of a time its milliseconds.
    """
    for field in range(n):
        put_int64(found + 24 * field, _UNSURE)
    at = _skip(at, end)
    if at >= end or byte_at(at) != _OPEN:
        return False
    at = _skip(at + 1, end)
    expected = 0
    more = at < end and byte_at(at) != _CLOSE
    while more:
        if at >= end or byte_at(at) != _QUOTE:
            return False
        field = _field(at + 1, end, expected, fields, n)
        close = _text_end(at + 1, end, _TOPS) if field < 0 else at + 1 + _of(fields, field, SIZE)
        if close < 0:
            return False
        at = _skip(close + 1, end)
        if at >= end or byte_at(at) != _COLON:
            return False
        at = _skip(at + 1, end)
        if field < 0:
            at = _other_value(at, end)
        elif int64_at(found + 24 * field) >= 0:
            return False
        else:
            quoted = at < end and byte_at(at) == _QUOTE
            begin, finish, moment = _value(at, end, _of(fields, field, KIND))
            put_int64(found + 24 * field, begin)
            put_int64(found + 24 * field + 8, finish)
            put_int64(found + 24 * field + 16, moment)
            at = finish + (1 if quoted else 0) if begin >= 0 else _UNSURE
            expected = field + 1
        if at < 0:
            return False
        at = _skip(at, end)
        more = at < end and byte_at(at) == _COMMA
        if more:
            at = _skip(at + 1, end)
    if at >= end or byte_at(at) != _CLOSE or _skip(at + 1, end) != end:
        return False
    for field in range(n):
        if int64_at(found + 24 * field) < 0 and _of(fields, field, REQUIRED):
            return False
    return True


def read(
    data: int, starts: Any, sizes: Any, records: Any, fields: Any, default: Any, codes: Any, numbers: Any, times: Any,
    sure: Any, fixes: Any, table: int,
) -> int:  # fmt: skip
    """Read records to columns and return how many numbers remain to be rounded exactly.

    ``data`` is the address of the batch's bytes, ``fields`` the plan, ``table`` the address of the lexicon's. Field f
    goes to row ``fields[f, PLACE]`` of the array for its kind. ``fixes`` gets (row, place, begin, end) of numbers that
    are valid but not surely rounded. ``sure`` says of each record whether it was read.
    """
    found = np.empty((len(fields), 3), np.int64)
    return int(
        _read(
            data, starts, sizes, records, address_of(fields), len(fields), address_of(found), default, codes, numbers, times,
            sure, fixes, table,
        )
    )  # fmt: skip


@compiled
def _read(
    data: int, starts: Any, sizes: Any, records: Any, fields: int, n: int, found: int, default: Any, codes: Any, numbers: Any,
    times: Any, sure: Any, fixes: Any, table: int,
) -> int:  # fmt: skip
    fixed = 0
    last, last_size, last_code = np.zeros(n, np.int64), np.full(n, -1, np.int64), np.zeros(n, np.int64)
    for row in range(len(records)):
        record = records[row]
        at = data + starts[record]
        good = _find(at, at + sizes[record], fields, n, found)
        sure[row] = good
        if not good:
            continue
        for field in range(n):
            kind, place = _of(fields, field, KIND), _of(fields, field, PLACE)
            first = int64_at(found + 24 * field)
            size = int64_at(found + 24 * field + 8) - first
            if kind == LABEL:
                if first < 0:
                    codes[place, row] = default[place]
                    continue
                if size != last_size[field] or not same(first, last[field], size):
                    last[field], last_size[field] = first, size
                    last_code[field] = code_of(first, size, place, table)
                codes[place, row] = last_code[field]
            elif kind == TIME:
                times[place, row] = int64_at(found + 24 * field + 16) if first >= 0 else ABSENT
            elif first < 0:
                numbers[place, row] = np.nan
            else:
                numbers[place, row], exact = _number(first, first + size)
                if exact == DOUBTFUL:
                    sure[row] = False
                elif exact == INEXACT:
                    fixes[fixed, 0], fixes[fixed, 1] = row, place
                    fixes[fixed, 2], fixes[fixed, 3] = first - data, first + size - data
                    fixed += 1
    return fixed
